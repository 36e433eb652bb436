/** The outcome of policies whose candidates have the same order for all clients: the first that keeps its clients. */
import type { Override } from "#document/schema/steering.ts";
import type { GeoTables } from "../geo/tables.ts";
import type { ChainBuilder } from "./chains.ts";
import type { Plan } from "./plan.ts";

export function orderedOutcome(
  plan: Plan,
  _overrides: readonly Override[],
  _geo: GeoTables,
  builder: ChainBuilder,
): number {
  builder.begin();
  for (const position of plan.candidates.keys()) if (builder.add([position], 1)) break;
  return builder.finish();
}
