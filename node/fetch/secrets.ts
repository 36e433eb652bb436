/** Follows the fleet secret (followed.ts): the octets that all keys are derived from. */
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import { type FleetSecrets, secretId, secretsInOrder } from "#secret/fleet-secret.ts";
import { follow, type Follower } from "./followed.ts";

export interface SecretFollower extends Pick<Follower<FleetSecrets>, "take" | "refresh" | "close"> {
  /** Octets, the current one first; none before the first is known. */
  secrets: () => readonly Uint8Array[];
  /** Names the current secret; null before the first is known. */
  id: () => string | null;
}

export function followSecrets(options: {
  /** What the disk remembers. */
  known: FleetSecrets | null;
  ask: () => Promise<FleetSecrets | null>;
  store: (secrets: FleetSecrets) => Promise<void>;
  changed: (secrets: readonly Uint8Array[]) => void;
  clock: Clock;
  log: Log;
}): SecretFollower {
  const { log } = options;
  const { take, refresh, value, close } = follow({
    ...options,
    what: "fleet secret",
    isSame: (one, other) => one.current === other.current && one.previous === other.previous,
    changed(fresh) {
      options.changed(secretsInOrder(fresh));
      log.info({ id: secretId(fresh.current) }, "new fleet secret in force");
    },
  });
  return {
    take,
    refresh,
    secrets() {
      const known = value();
      return known === null ? [] : secretsInOrder(known);
    },
    id() {
      const known = value();
      return known === null ? null : secretId(known.current);
    },
    close,
  };
}
