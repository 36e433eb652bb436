/**
 * Stored fleet versions as Fleet values, without the records of their zones, which are not needed here. A version never
 * changes, and parsing a long one takes a second: it is parsed in a thread at the start; a version published here is
 * already known from its judgement.
 */
import type { Fleet } from "#document/document.ts";
import { parseFleet } from "#document/read-document.ts";
import { readFleet } from "#document/read-in-thread.ts";
import type { FleetText } from "../catalogue/catalogue.ts";

type Stored = Pick<FleetText, "version" | "text">;

export interface FleetReader {
  /**
   * Synchronous: a transaction can't wait.
   * @returns null: none is stored, or it was written for an older schema that this origin can no longer read
   */
  readonly read: (stored: Stored | undefined) => Fleet | null;
  /** Makes read() of this version instant. */
  readonly prepare: (stored: Stored) => Promise<void>;
  /** Stores a version that was parsed elsewhere. */
  readonly remember: (version: number, fleet: Fleet) => void;
}

/** Keeps the version that was read last, nearly always the newest one. */
export function openFleetReader(): FleetReader {
  let last: { version: number; fleet: Fleet | null } | undefined;
  return {
    read(stored) {
      if (stored === undefined) return null;
      if (last?.version !== stored.version) {
        const parsed = parseFleet(stored.text);
        last = { version: stored.version, fleet: parsed.ok ? parsed.value : null };
      }
      return last.fleet;
    },
    async prepare({ version, text }) {
      if (last?.version === version) return;
      const parsed = await readFleet(text);
      last = { version, fleet: parsed.ok ? parsed.value : null };
    },
    remember(version, fleet) {
      last = { version, fleet };
    },
  };
}
