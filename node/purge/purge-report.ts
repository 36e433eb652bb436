/**
 * The selectors of a purge for which something was held: as an edge reports them and as the origin adds the reports up;
 * and those for which no node held anything. A selector is identified by its position among those of its kind.
 */
import { type Static, Type } from "typebox";
import { kindFields, type KindFields, type PurgeKindName, purgeKinds } from "./kinds.ts";
import type { PurgeTargets } from "./purge-event.ts";
import { type PurgeTarget, selectorsOf } from "./purge-kind.ts";
import type { PurgeSelectors } from "./purge-request.ts";

export const heldSchema = Type.Object(kindFields("inReport"));
export type Held = Static<typeof heldSchema>;

export const unheldSchema = Type.Object(kindFields("inUnheld"), {
  description: "targets for which no node that reported held anything; empty while none has reported",
});
export type Unheld = Static<typeof unheldSchema>;

type ReportedKind = keyof KindFields<"inReport"> & PurgeKindName;
const reportedKinds = Object.keys(kindFields("inReport")) as ReportedKind[];

export function heldOf(targets: PurgeTargets, isHeld: (target: PurgeTarget) => boolean): Held {
  return Object.fromEntries(
    reportedKinds.map((name) => {
      const places = (targets.get(name) ?? []).flatMap((target, place) => (isHeld(target) ? [place] : []));
      return [name, purgeKinds[name].shape === "list" ? places : places.length > 0];
    }),
  ) as Held;
}

/** The positions for which some node held something. */
export type HeldPlaces = ReadonlyMap<ReportedKind, Set<number>>;

export function noPlaces(): HeldPlaces {
  return new Map(reportedKinds.map((name) => [name, new Set<number>()]));
}

/** Adds a report to the previous ones. */
export function addHeld(places: HeldPlaces, held: Held): void {
  for (const [name, known] of places) {
    const value = held[name];
    if (typeof value === "object") for (const place of value) known.add(place);
    else if (value) known.add(0);
  }
}

export function unheldOf(selectors: PurgeSelectors, places: HeldPlaces): Unheld {
  return Object.fromEntries(
    [...places].map(([name, held]) => {
      const rest = selectorsOf(selectors[name]).filter((_selector, place) => !held.has(place));
      return [name, purgeKinds[name].shape === "list" ? rest : rest[0]];
    }),
  ) as Unheld;
}

export interface UnheldSelector {
  readonly kind: PurgeKindName;
  readonly selector: string;
}

export function unheldSelectors(unheld: Unheld): UnheldSelector[] {
  return reportedKinds.flatMap((kind) => selectorsOf(unheld[kind]).map((selector) => ({ kind, selector })));
}
