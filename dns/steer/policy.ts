/**
 * The parts of a steering policy: the order of its candidates, the outcome that is compiled for all clients, and the
 * groups that explain one client's answer. policies.ts has the table of policies.
 */
import type { Override } from "#document/schema/steering.ts";
import type { GeoTables } from "../geo/tables.ts";
import type { IpAddress } from "../wire/address.ts";
import type { ChainBuilder } from "./chains.ts";
import type { SweptRanges } from "./outcome-table.ts";
import type { OverrideKind } from "./overrides.ts";
import type { Plan } from "./plan.ts";

/**
 * The same outcome for every client (a code), the shared addresses, no address at all, or an outcome per client
 * address.
 */
export type Outcome = number | "shared" | "nothing" | { readonly v4: SweptRanges; readonly v6: SweptRanges };

/** The reason for a group's position. `order`: the document's order, because the client's location is unknown. */
export type Rule = OverrideKind | "distance" | "order" | "weight" | "self";

/** The input from which the groups of one client are derived. */
export interface ClientView {
  readonly plan: Plan;
  readonly overrides: readonly Override[];
  readonly geo: GeoTables;
  readonly client: IpAddress;
  /** Name of the answering site. */
  readonly self: string;
  /** By position in Plan.candidates: 1 if the site is already in a group. */
  readonly isUsed: Uint8Array;
  /** Adds a group of positions. Those already used are left out. */
  readonly add: (rule: Rule, overrideIndex: number, members: readonly number[]) => void;
}

export interface Policy {
  /** Whether `sites` is an order of preference. */
  readonly isOrderOfSites?: true;
  /** Whether candidates are ordered by distance from the answering site. */
  readonly isOrderFromSelf?: true;
  /**
   * The plan has at least one candidate, unless the policy gives shared addresses (`isShared` in
   * node/document/policies.ts).
   */
  readonly outcomeOf: (plan: Plan, overrides: readonly Override[], geo: GeoTables, builder: ChainBuilder) => Outcome;
  readonly addGroups: (view: ClientView) => void;
}
