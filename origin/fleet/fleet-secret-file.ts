/**
 * Keeps the fleet secret (node/secret/fleet-secret.ts) in one file next to the tokens,
 * `dataDir/secrets/fleet-secret.json`, readable only by its owner. The first start creates it. If the file was deleted,
 * the next start makes a new secret: that counts as a rotation, so edges learn of it and the audit log records it.
 *
 * The file is written before the event, so that an edge which learns of a new secret always finds it here. If the
 * process dies between the two, edges find the secret when they reconnect to the feed.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { writeAtomic } from "#base/atomic-file.ts";
import { NearcastError } from "#base/errors.ts";
import { check } from "#base/schema.ts";
import { fleetSecretBytes, type FleetSecrets, fleetSecretsSchema, secretId } from "#secret/fleet-secret.ts";
import type { Actor } from "../catalogue/audit-entry.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import { originSecret, readSecretFile, secretFileMode } from "#base/secret-file.ts";

export interface FleetSecretKeeper {
  readonly secrets: () => FleetSecrets;
  /**
   * A new secret becomes current, the current one previous; the previous one is forgotten. The event that informs edges
   * is in the log; the caller wakes the feed.
   * @returns the ids of both, and the number of the event
   * @throws NearcastError DISK_FAILED. Calling again then completes the rotation: no secret is skipped.
   */
  readonly rotate: (actor: Actor) => Promise<{ id: string; previousId: string; seq: number }>;
}

/** The actor for a deleted file: no HTTP request caused it. */
const ownMachine: Actor = { token: undefined, author: "origin", address: undefined };

/** @throws NearcastError INTERNAL for a file that others can read, or that contains no secret */
export async function openFleetSecret(
  secretsDir: string,
  catalogue: Pick<Catalogue, "announceSecret" | "tokens">,
): Promise<FleetSecretKeeper> {
  const file = join(secretsDir, "fleet-secret.json");
  const loaded = await load(file);
  let secrets = loaded.secrets;
  // A catalogue with tokens belongs to an origin that has run before, and had a secret.
  const isReplaced = loaded.isMade && (await catalogue.tokens()).length > 0;
  if (isReplaced) await catalogue.announceSecret(secretId(secrets.current), ownMachine);
  /** A secret that is in the file but not in the log: the log's disk refused the event. */
  let isUnannounced = false;
  // Two concurrent rotations would both use the same secret as `previous`.
  let turn: Promise<unknown> = Promise.resolve();

  const rotate: FleetSecretKeeper["rotate"] = async (actor) => {
    if (!isUnannounced) {
      const next: FleetSecrets = { current: newSecret(), previous: secrets.current };
      await store(file, next);
      secrets = next;
      isUnannounced = true;
    }
    const id = secretId(secrets.current);
    const seq = await catalogue.announceSecret(id, actor);
    isUnannounced = false;
    return { id, previousId: secretId(secrets.previous ?? ""), seq };
  };
  return {
    secrets: () => secrets,
    rotate: async (actor) => {
      const mine = turn.then(
        async () => await rotate(actor),
        async () => await rotate(actor),
      );
      turn = mine;
      return await mine;
    },
  };
}

async function load(file: string): Promise<{ secrets: FleetSecrets; isMade: boolean }> {
  const text = await readSecretFile(file, originSecret("fleet secret"));
  if (text === undefined) {
    const secrets: FleetSecrets = { current: newSecret() };
    await store(file, secrets);
    return { secrets, isMade: true };
  }
  const secrets = parse(text);
  if (secrets !== undefined) return { secrets, isMade: false };
  throw new NearcastError("INTERNAL", `${file} holds no fleet secret: delete it, and the origin makes a new one`);
}

function parse(text: string): FleetSecrets | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const checked = check(fleetSecretsSchema, value);
  return checked.ok ? checked.value : undefined;
}

async function store(file: string, secrets: FleetSecrets): Promise<void> {
  try {
    await writeAtomic(file, `${JSON.stringify(secrets)}\n`, { mode: secretFileMode, durable: true });
  } catch (error) {
    throw new NearcastError("DISK_FAILED", `can't write the fleet secret: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function newSecret(): string {
  return randomBytes(fleetSecretBytes).toString("base64url");
}
