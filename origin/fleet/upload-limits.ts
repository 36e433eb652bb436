/** The limits for uploads: those of the newest fleet version, or the document's own defaults while there is none. */
import type { Log } from "#base/log.ts";
import type { Limits } from "#document/schema/limits.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import type { FleetReader } from "./stored-fleets.ts";

export type UploadLimitsOfFleet = Pick<Limits, "sourceBytesMax" | "sourcePixelsMax">;

/**
 * The defaults of node/document/schema/limits.ts for a document that sets none; a test checks that they are equal.
 */
export const defaultLimits: UploadLimitsOfFleet = { sourceBytesMax: 104_857_600, sourcePixelsMax: 100_000_000 };

export interface FleetLimits {
  readonly current: () => UploadLimitsOfFleet;
  /** Reads the newest fleet version again; call this after one was published. */
  readonly refresh: () => Promise<void>;
}

export async function openFleetLimits(
  catalogue: Catalogue,
  reader: Pick<FleetReader, "read" | "prepare">,
  log: Log,
): Promise<FleetLimits> {
  let limits = defaultLimits;
  const refresh = async (): Promise<void> => {
    const stored = await catalogue.fleet();
    if (stored === undefined) return;
    await reader.prepare(stored);
    const fleet = reader.read(stored);
    if (fleet !== null) limits = fleet.limits;
    else
      log.warn(
        { version: stored.version },
        "the stored fleet document is no longer valid; the limits of uploads stay as they are",
      );
  };
  await refresh();
  return { current: () => limits, refresh };
}
