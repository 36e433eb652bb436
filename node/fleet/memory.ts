/**
 * What an edge remembers of the fleet across restarts, so that it can start while the origin is away: the last good
 * fleet document, the roster, its position in the feed, and the fleet secret (which only the owner may read).
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Static, type TSchema, Type } from "typebox";
import { readJson, writeAtomic } from "#base/atomic-file.ts";
import { check } from "#base/schema.ts";
import { type Fleet } from "./document.ts";
import { readFleet } from "./reading.ts";
import type { FeedPosition } from "./feed.ts";
import { type Roster, rosterSchema } from "./roster.ts";
import { type FleetSecrets, fleetSecretsSchema } from "./secret.ts";

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

/** A file that is missing or damaged is as if nothing were remembered. */
export async function openFleetMemory(directory: string): Promise<FleetMemory> {
  await mkdir(directory, { recursive: true });
  const fleetPath = join(directory, "fleet.json");
  const positionPath = join(directory, "feed.json");
  const rosterPath = join(directory, "roster.json");
  const secretPath = join(directory, "secret.json");
  // The feed and the start may both bring a fleet document: one file, so one after the other.
  let storing: Promise<void> = Promise.resolve();
  return {
    async loadFleet() {
      const stored = await readChecked(storedFleet, fleetPath);
      if (stored === undefined) return null;
      const read = await readFleet(stored.text);
      return read.ok ? { version: stored.version, document: read.value } : null;
    },
    storeFleet(version, text) {
      const write = (): Promise<void> => writeAtomic(fleetPath, JSON.stringify({ version, text }), { durable: true });
      storing = storing.then(write, write);
      return storing;
    },
    loadPosition: async () => (await readChecked(storedPosition, positionPath)) ?? null,
    storePosition: (position) => writeAtomic(positionPath, JSON.stringify(position)),
    loadRoster: async () => (await readChecked(rosterSchema, rosterPath)) ?? null,
    storeRoster: (roster) => writeAtomic(rosterPath, JSON.stringify(roster), { durable: true }),
    loadSecrets: async () => (await readChecked(fleetSecretsSchema, secretPath)) ?? null,
    storeSecrets: (secrets) => writeAtomic(secretPath, JSON.stringify(secrets), { mode: 0o600, durable: true }),
  };
}

async function readChecked<Schema extends TSchema>(schema: Schema, path: string): Promise<Static<Schema> | undefined> {
  const value = await readJson(path);
  if (value === undefined) return undefined;
  const checked = check(schema, value);
  return checked.ok ? checked.value : undefined;
}
