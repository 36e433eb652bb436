/**
 * What a steering policy does: the order of its candidates, the outcome that is compiled for all clients, and the
 * groups by which one client is explained. policies.ts has the table of them.
 */
import type { Override } from "#document/schema/steering.ts";
import type { GeoTables } from "../geo/tables.ts";
import type { IpAddress } from "../wire/address.ts";
import type { ChainBuilder } from "./chains.ts";
import type { SweptRanges } from "./outcome-table.ts";
import type { OverrideKind } from "./overrides.ts";
import type { Plan } from "./plan.ts";

/** The same outcome for every client (a code), the shared addresses, nothing to answer with, or by address. */
export type Outcome = number | "shared" | "nothing" | { readonly v4: SweptRanges; readonly v6: SweptRanges };

/** Why a group stands where it does. `order`: by the document's, where the client's place is not known. */
export type Rule = OverrideKind | "distance" | "order" | "weight" | "self";

/** What the groups of one client are found by. */
export interface ClientView {
  readonly plan: Plan;
  readonly overrides: readonly Override[];
  readonly geo: GeoTables;
  readonly client: IpAddress;
  /** Name of the answering site. */
  readonly self: string;
  /** By position in Plan.candidates: 1 where the site is in a group already. */
  readonly isUsed: Uint8Array;
  /** Adds a group of positions; those that are used already are left out. */
  readonly add: (rule: Rule, overrideIndex: number, members: readonly number[]) => void;
}

export interface Policy {
  /** Whether `sites` is an order of preference. */
  readonly isOrderOfSites?: true;
  /** Whether candidates go by the distance from the answering site. */
  readonly isOrderFromSelf?: true;
  /** The plan has a candidate, unless the policy gives shared addresses (`isShared` in node/document/policies.ts). */
  readonly outcomeOf: (plan: Plan, overrides: readonly Override[], geo: GeoTables, builder: ChainBuilder) => Outcome;
  readonly addGroups: (view: ClientView) => void;
}
