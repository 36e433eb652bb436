/**
 * The state of the fleet that an edge keeps across restarts, so that it can start while the origin is down: the last
 * good fleet document, the roster, its position in the feed, and the fleet secret (which only the owner may read).
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Static, type TSchema, Type } from "typebox";
import { readJson, writeAtomic } from "#base/atomic-file.ts";
import { NearcastError } from "#base/errors.ts";
import { codeReason } from "#base/system-reason.ts";
import { check, problemLines } from "#base/schema.ts";
import type { Fleet } from "#document/document.ts";
import { readFleet } from "#document/read-in-thread.ts";
import type { FeedPosition } from "./feed.ts";
import { type Roster, rosterSchema } from "#document/roster.ts";
import { type FleetSecrets, fleetSecretsSchema } from "#secret/fleet-secret.ts";

export interface FleetVersion {
  version: number;
  document: Fleet;
}

const storedFleet = Type.Object({ version: Type.Integer({ minimum: 0 }), text: Type.String() });
const storedPosition = Type.Object({ originId: Type.String(), seq: Type.Integer({ minimum: 0 }) });

export interface FleetMemory {
  loadFleet: () => Promise<FleetVersion | null>;
  storeFleet: (version: number, text: string) => Promise<void>;
  loadPosition: () => Promise<FeedPosition | null>;
  storePosition: (position: FeedPosition) => Promise<void>;
  loadRoster: () => Promise<Roster | null>;
  /** One call at a time. */
  storeRoster: (roster: Roster) => Promise<void>;
  loadSecrets: () => Promise<FleetSecrets | null>;
  /** One call at a time. */
  storeSecrets: (secrets: FleetSecrets) => Promise<void>;
}

/** A file with invalid content. The edge continues without it, since the origin has all of it. */
export interface Damage {
  what: string;
  file: string;
  problem: string;
  /** The consequence for this node, and what to do about it. */
  consequence: string;
}

const consequences = {
  "fleet document":
    "it is requested from the origin, and nothing is served before the origin answers; while the origin is down, " +
    "copy the file from another node of the fleet and restart",
  "position in the feed":
    "it is unknown which purges were missed, so everything cached is dropped as soon as the origin is reached",
  roster: "nodes that joined are unknown until the origin answers",
  "fleet secret": "peers and probes have no proof until the origin answers",
} as const;

/**
 * A missing or damaged file counts as if nothing had been stored.
 * @param report called for each damaged file when it is read
 */
export async function openFleetMemory(
  directory: string,
  report: (damage: Damage) => void = () => undefined,
): Promise<FleetMemory> {
  await mkdir(directory, { recursive: true });
  const fleetPath = join(directory, "fleet.json");
  const positionPath = join(directory, "feed.json");
  const rosterPath = join(directory, "roster.json");
  const secretPath = join(directory, "secret.json");

  function damage(file: string, what: keyof typeof consequences, problem: string): void {
    report({ what, file, problem, consequence: consequences[what] });
  }

  async function load<Schema extends TSchema>(
    schema: Schema,
    file: string,
    what: keyof typeof consequences,
  ): Promise<Static<Schema> | null> {
    let value: unknown;
    try {
      value = await readJson(file);
    } catch (error) {
      // The parser's own message quotes the content, which may be a secret.
      if (error instanceof SyntaxError) damage(file, what, "it holds no JSON: cut off, or overwritten");
      else throw unreadable(file, what, error);
      return null;
    }
    if (value === undefined) return null;
    const checked = check(schema, value);
    if (checked.ok) return checked.value;
    const paths = checked.problems.map(({ path }) => (path === "" ? "the whole" : path));
    damage(file, what, `not what this release writes: ${paths.slice(0, 5).join(", ")}`);
    return null;
  }

  // The feed and the start may both store a fleet document in the same file, so stores run one after the other.
  let storing: Promise<void> = Promise.resolve();
  return {
    async loadFleet() {
      const stored = await load(storedFleet, fleetPath, "fleet document");
      if (stored === null) return null;
      const read = await readFleet(stored.text);
      if (read.ok) return { version: stored.version, document: read.value };
      // Also the case for a file that a later release wrote before this node was downgraded.
      const [line = ""] = problemLines(read.problems);
      damage(fleetPath, "fleet document", `its document has problems, the first: ${line}`);
      return null;
    },
    storeFleet(version, text) {
      const write = (): Promise<void> => writeAtomic(fleetPath, JSON.stringify({ version, text }), { durable: true });
      storing = storing.then(write, write);
      return storing;
    },
    loadPosition: () => load(storedPosition, positionPath, "position in the feed"),
    storePosition: (position) => writeAtomic(positionPath, JSON.stringify(position), { durable: true }),
    loadRoster: () => load(rosterSchema, rosterPath, "roster"),
    storeRoster: (roster) => writeAtomic(rosterPath, JSON.stringify(roster), { durable: true }),
    loadSecrets: () => load(fleetSecretsSchema, secretPath, "fleet secret"),
    storeSecrets: (secrets) => writeAtomic(secretPath, JSON.stringify(secrets), { mode: 0o600, durable: true }),
  };
}

/** A file that can't be read can't be replaced either, so the edge stops. */
function unreadable(file: string, what: string, cause: unknown): NearcastError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const advice = code === "EACCES" ? "give it to the user that the edge runs as" : "check the file and its disk";
  return new NearcastError(
    "DISK_FAILED",
    `can't read the ${what} in ${file} (${code === undefined ? message : codeReason(code)}): ${advice}`,
    {
      cause,
    },
  );
}
