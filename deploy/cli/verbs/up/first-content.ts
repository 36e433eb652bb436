/** What `nearcast up` stores in an empty origin: a fleet document and a picture. */
import { command } from "#base/command-name.ts";
import type { Fleet } from "#document/document.ts";
import { parseFleet } from "#document/read-document.ts";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import type { OriginClient } from "../../origin-client.ts";
import { hasImage, publishFleet, putImage, readFleet } from "../../origin-answers.ts";
import { firstFleet } from "./first-fleet.ts";
import { localHost, ports } from "./process-plan.ts";
import { samplePicture } from "./sample-picture.ts";
import { digestOf, type Setup } from "./folder.ts";

export const sampleName = "sample.jpg";
/** The key in `written` of the digest of the fleet document that `up` published last. */
const fleetKey = "fleet";

export interface ProvidedFleet {
  version: number;
  isNew: boolean;
  /** The images host of the example URL: the first one of the document. */
  host: string;
  /** All hosts of the document. */
  hosts: readonly string[];
}

/**
 * Publishes the first fleet document, or the next one if the existing document is still `up`'s own but has other sites.
 * A document that somebody else wrote stays, and must contain the nodes that are about to run.
 */
export async function provideFleet(client: OriginClient, setup: Setup): Promise<ProvidedFleet> {
  const text = firstFleet(
    setup.edges.map(({ planned, config }) => ({ ...planned, httpPort: config.http[0]?.port ?? ports.http })),
  );
  const newest = await readFleet(client);
  if (newest?.text === text) return { version: newest.version, isNew: false, host: localHost, hosts: [localHost] };
  if (newest !== undefined && digestOf(newest.text) !== setup.state.written[fleetKey]) {
    const parsed = parseFleet(newest.text);
    if (parsed.ok) refuseStrangers(newest.version, parsed.value, setup);
    const hosts = parsed.ok ? parsed.value.hosts : [];
    const host = hosts.find(({ kind }) => kind === "images")?.name ?? localHost;
    return { version: newest.version, isNew: false, host, hosts: hosts.map(({ name }) => name) };
  }
  // The document is `up`'s own and no edge runs yet, so publishing takes nothing out of service.
  const { version } = await publishFleet(client, { text }, { force: true });
  setup.state.written[fleetKey] = digestOf(text);
  return { version, isNew: true, host: localHost, hosts: [localHost] };
}

function refuseStrangers(version: number, fleet: Fleet, setup: Setup): void {
  const known = new Set(fleet.sites.flatMap((site) => site.nodes.map((node) => `${site.name}/${node.name}`)));
  const strangers = setup.edges.filter(({ config }) => !known.has(`${config.site}/${config.node}`));
  if (strangers.length === 0) return;
  const names = strangers.map(({ config }) => `${config.node} (site ${config.site})`).join(", ");
  throw new CommandFailure(
    exitCodes.usage,
    `version ${version} of the fleet document, which \`up\` did not write, does not contain ${names}`,
    {
      lines: [
        `Its nodes: ${[...known].join(", ")}`,
        `Add them and publish the document (${command} fleet apply FILE), start other --sites, or use another --data.`,
      ],
    },
  );
}

/** Stores the picture unless its name is taken. Returns whether it was stored. */
export async function provideSample(client: OriginClient, dataDir: string): Promise<boolean> {
  if (await hasImage(client, sampleName)) return false;
  const bytes = await samplePicture();
  const file = join(dataDir, sampleName);
  await writeFile(file, bytes);
  await putImage(client, sampleName, { file, sizeBytes: bytes.length, onBytes: () => {} });
  return true;
}
