/** Stored fleet versions as Fleet values. A version never changes, and a long one takes half a second to parse. */
import type { Fleet } from "#fleet/document.ts";
import { parseFleet } from "#fleet/read-document.ts";
import type { FleetText } from "./catalogue/catalogue.ts";

/** Null: none is stored, or it was written for an older schema that this origin can't read any more. */
export type ReadStoredFleet = (stored: Pick<FleetText, "version" | "text"> | undefined) => Fleet | null;

/** Keeps the version that was read last, which is nearly always the newest one. */
export function openFleetReader(): ReadStoredFleet {
  let last: { version: number; fleet: Fleet | null } | undefined;
  return (stored) => {
    if (stored === undefined) return null;
    if (last?.version !== stored.version) {
      const parsed = parseFleet(stored.text);
      last = { version: stored.version, fleet: parsed.ok ? parsed.value : null };
    }
    return last.fleet;
  };
}
