/** The edge.yaml of a node that joined: `join` writes it once, and the owner may then change it. */
import { command } from "#base/command-name.ts";
import { isDeepStrictEqual } from "node:util";
import type { EdgeConfig } from "../../../../node/config.ts";
import type { Room } from "./own-machine.ts";

/** The values that the command line and the origin decide; the owner may change all others. */
export interface Decided {
  site: string;
  origin: EdgeConfig["origin"];
  http: EdgeConfig["http"];
  admin: EdgeConfig["admin"];
  dns: EdgeConfig["dns"]["addresses"];
  peer: NonNullable<EdgeConfig["peer"]>;
}

/** The text of a new file. JSON is valid YAML, and quotes everything that needs quotes. */
export function edgeText(node: string, dataDir: string, decided: Decided, room: Room): string {
  const { site, origin, http, admin, dns, peer } = decided;
  const endpoints = (list: readonly object[]): string => list.map((one) => `\n  - ${flow(one)}`).join("");
  return `# The edge node ${node}, written by \`${command} join\`. You can edit it: \`join\`
# does not overwrite it.
# All settings with their ranges: deploy/docs/configuration.md (installed below /opt/nearcast/current).
#
#   ${command} edge --config edge.yaml --check-config

# As registered with the origin.
node: ${JSON.stringify(node)}
site: ${JSON.stringify(site)}

# Cache, last fleet document, roster, feed position. Losing it costs only a warm cache.
dataDir: ${JSON.stringify(dataDir)}

origin:
  url: ${JSON.stringify(origin.url)}
  # The edges' token; mode 0600.
  tokenFile: ${JSON.stringify(origin.tokenFile)}

# Where pictures are served.
http:${endpoints(http)}

# Health, metrics, explain. It asks for no password: keep it on loopback or on a private network.
admin: ${flow(admin)}

# Where names are answered, UDP and TCP.
dns:
  addresses:${endpoints(dns).replaceAll("\n", "\n  ")}

# Where the other nodes of the fleet reach this one; TLS with the fleet secret as the key of both sides.
peer: ${flow(peer)}

# A quarter of this machine's memory, and half of what was free on its disk.
cache:
  memoryBytes: ${room.memoryBytes}
  diskBytes: ${room.diskBytes}

# Pictures rendered at the same time: one for each core.
decoders:
  processes: ${room.decoders}
`;
}

function flow(value: object): string {
  const pairs = Object.entries(value).map(([key, one]) => `${key}: ${JSON.stringify(one)}`);
  return `{ ${pairs.join(", ")} }`;
}

/**
 * The points in which an existing file belongs to another node, or contradicts its registration; one line each. The
 * file may have more addresses, and any other settings.
 */
export function disagreements(there: EdgeConfig, decided: Decided, name: string | undefined): string[] {
  const missing = decided.http.filter((wanted) => !there.http.some((one) => isDeepStrictEqual(one, wanted)));
  const found: [key: string, there: unknown, wanted: unknown][] = [
    ["node", there.node, name ?? there.node],
    ["site", there.site, decided.site],
    ["origin.url", new URL(there.origin.url).href, new URL(decided.origin.url).href],
    ["http", there.http, missing.length === 0 ? there.http : missing],
    ["peer", there.peer ?? null, decided.peer],
  ];
  return found
    .filter(([, one, wanted]) => !isDeepStrictEqual(one, wanted))
    .map(
      ([key, one, wanted]) =>
        `${key} is ${JSON.stringify(one)} in the file, but ${JSON.stringify(wanted)} was asked for`,
    );
}
