/**
 * Stored fleet versions as Fleet values, without the records of their zones, which nobody here needs. A version never
 * changes, and a long one takes a second to read: it is read in a thread at the start, and is known from its judgement
 * when it was published here.
 */
import type { Fleet } from "#document/document.ts";
import { parseFleet } from "#document/read-document.ts";
import { readFleet } from "#document/read-in-thread.ts";
import type { FleetText } from "../catalogue/catalogue.ts";

type Stored = Pick<FleetText, "version" | "text">;

export interface FleetReader {
  /**
   * In place: inside a transaction nothing can be waited for.
   * @returns null: none is stored, or it was written for an older schema that this origin can't read any more
   */
  readonly read: (stored: Stored | undefined) => Fleet | null;
  /** So that read() of this version takes no time. */
  readonly prepare: (stored: Stored) => Promise<void>;
  /** A version that was read elsewhere. */
  readonly remember: (version: number, fleet: Fleet) => void;
}

/** Keeps the version that was read last, which is nearly always the newest one. */
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
