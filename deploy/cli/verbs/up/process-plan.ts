/**
 * Assigns addresses when one machine runs the whole CDN; pure.
 *
 *   one edge       origin 127.0.0.1:7070   edge 127.0.0.1   HTTP 8080, HTTPS 8443, admin 8081, peers 8082, DNS 5300
 *   --sites a,b,c  origin 127.0.0.1:7070   edges 127.0.1.1, 127.0.2.1, 127.0.3.1, the same ports each
 *   --nodes 2      of each site also 127.0.1.2, 127.0.2.2, 127.0.3.2
 *
 * The origin has the base address (127.0.0.1 unless `--address` sets another); each further site adds one to the third
 * number, each further node to the last, so that several such CDNs can share one loopback network.
 */
import { command } from "#base/command-name.ts";
import { isIPv4 } from "node:net";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import { cities, type City, localPlace, localSite } from "./cities.ts";

export const ports = { origin: 7070, http: 8080, admin: 8081, peer: 8082, dns: 5300, https: 8443 } as const;
export const localZone = "cdn.test";
export const localHost = `img.${localZone}`;
export const defaultAddress = "127.0.0.1";

/** An address for another `up`, next to the one at this address. */
export function otherAddress(address: string = defaultAddress): string {
  return address === "127.0.101.1" ? "127.0.201.1" : "127.0.101.1";
}

/** Every edge is a Node process with decoder processes: more than this is no longer a trial on one machine. */
const sitesMax = 16;
const edgesMax = 24;
export const nodesPerSiteMax = 8;

export interface PlannedEdge {
  node: string;
  site: string;
  place: City;
  address: string;
}

/** @param text such as `fra,nyc,tyo`; throws a CommandFailure that lists the known codes */
export function parseSites(text: string): string[] {
  const codes = text
    .split(",")
    .map((code) => code.trim().toLowerCase())
    .filter((code) => code !== "");
  const unknown = codes.filter((code) => !cities.has(code) && code !== localSite);
  if (unknown.length > 0) {
    throw new CommandFailure(
      exitCodes.usage,
      `--sites: unknown site ${unknown.map((code) => `"${code}"`).join(", ")}`,
      {
        lines: [
          "Known sites:",
          ...knownCities(),
          `For other locations, write a fleet document and publish it: ${command} fleet apply FILE`,
        ],
      },
    );
  }
  if (codes.length === 0)
    throw new CommandFailure(exitCodes.usage, "--sites: the list is empty; try --sites fra,nyc,tyo");
  const twice = codes.find((code, index) => codes.indexOf(code) !== index);
  if (twice !== undefined) throw new CommandFailure(exitCodes.usage, `--sites: "${twice}" appears twice`);
  if (codes.length > sitesMax) {
    throw new CommandFailure(
      exitCodes.usage,
      `--sites: ${codes.length} sites; at most ${sitesMax} can run on one machine`,
    );
  }
  return codes;
}

function knownCities(): string[] {
  const texts = [...cities].map(([code, { city }]) => `${code} ${city}`.padEnd(20));
  return Array.from({ length: Math.ceil(texts.length / 4) }, (_none, row) =>
    texts
      .slice(row * 4, row * 4 + 4)
      .join("")
      .trimEnd(),
  );
}

/** @param base an address of the loopback network 127.0.0.0/8 */
export function parseBaseAddress(base: string): string {
  if (isIPv4(base) && base.startsWith("127.")) return base;
  throw new CommandFailure(
    exitCodes.usage,
    `--address: "${base}" is not an address in 127.0.0.0/8, such as 127.0.9.1`,
    {
      lines: [
        `\`${command} up\` is for a trial on one machine; for a server, write configuration files (see deploy/config).`,
      ],
    },
  );
}

/** @param sites known codes; the single `local` shares the base address with the origin */
export function planEdges(sites: readonly string[], base: string, nodesPerSite = 1): PlannedEdge[] {
  const [first = 127, second = 0, third = 0, fourth = 1] = base.split(".").map(Number);
  const isAlone = sites.length === 1 && sites[0] === localSite;
  if (!isAlone && third + sites.length > 255) {
    throw new CommandFailure(exitCodes.usage, `--address: ${base} leaves no room for ${sites.length} sites after it`);
  }
  if (fourth + nodesPerSite > 255) {
    throw new CommandFailure(exitCodes.usage, `--address: ${base} leaves no room for ${nodesPerSite} nodes in a site`);
  }
  if (sites.length * nodesPerSite > edgesMax) {
    throw new CommandFailure(
      exitCodes.usage,
      `--nodes: ${sites.length} × ${nodesPerSite} edges; at most ${edgesMax} can run on one machine`,
    );
  }
  return sites.flatMap((site, index) =>
    Array.from({ length: nodesPerSite }, (_, node) => ({
      node: `${site}${node + 1}`,
      site,
      place: cities.get(site) ?? localPlace,
      address: [first, second, isAlone ? third : third + index + 1, fourth + node].join("."),
    })),
  );
}
