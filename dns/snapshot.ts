/**
 * Everything that an answer depends on besides the query and the client: one immutable value, replaced as a whole.
 *
 *   fleet document + version ──compileZones──▶ zones      names, records, delegations
 *   … + site states + kept shares + geo ──compileSteering──▶ steering      client network → site
 *
 * It contains only numbers, text and typed arrays over shared memory. So the compiler thread passes it to the answering
 * threads without a copy, and an old snapshot is freed when the last of them drops it. One part is mutable:
 * steering.ttlSeconds, which the owner of the clock rewrites in place as the next possible change approaches.
 */
import type { GeoTables } from "./geo/tables.ts";
import type { Steering } from "./steer/steering.ts";
import type { CompiledZones } from "./zone/compiled-zones.ts";

export interface Snapshot {
  /** The fleet document's version: the serial of each zone. */
  readonly version: number;
  readonly zones: CompiledZones;
  readonly steering: Steering;
  readonly geo: GeoTables;
}
