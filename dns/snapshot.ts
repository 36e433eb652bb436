/**
 * All that an answer depends on besides the query and the client: one immutable value, swapped whole.
 *
 *   fleet document + version ──compileZones──▶ zones      names, records, delegations
 *   … + site states + kept shares + geo ──compileSteering──▶ steering      client network → site
 *
 * It holds numbers, text and typed arrays over shared memory only, so the thread that compiles it hands it to those
 * that answer without a copy, and an old one is gone when the last of them has let go of it. One thing in it moves:
 * steering.ttlSeconds, which the owner of the clock rewrites in place as the next possible change comes nearer.
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
