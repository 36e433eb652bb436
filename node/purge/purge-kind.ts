/**
 * A purge kind is one way to select what is purged: by name, by tag and so on. One value contains everything that
 * origin, edge and command know about a kind. kinds.ts has the table of all kinds.
 *
 *   nearcast purge ──option──▶ request ──inRequest, canonical──▶ event ──inEvent──▶ edge ──targetOf──▶ cached objects
 *                                                                                    │
 *   "no node held tag x" ◀──noun── origin ◀──inUnheld── report of what was held ◀──inReport
 */
import { type TSchema, Type } from "typebox";
import type { Host } from "#document/schema/hosts.ts";

/** The cached objects that one selector stands for. */
export interface PurgeTarget {
  /** Objects that carry one of these tags (entry-tags.ts). */
  readonly tags: readonly string[];
  /** Objects that carry a tag that begins with one of these. */
  readonly tagPrefixes: readonly string[];
  readonly isAll: boolean;
}

export const nothing: PurgeTarget = { tags: [], tagPrefixes: [], isAll: false };

/** How the audit log finds a purge, and which selectors it shows. */
export interface AuditedSelectors {
  readonly targets?: readonly string[];
  /** Prefixes of the picture names that are covered; the empty one covers every name. */
  readonly targetPrefixes?: readonly string[];
  readonly fact?: string | true | readonly string[];
}

export interface PurgeKind {
  /** One selector, for people: `tag "news"`. */
  readonly noun: string;
  /** The option of `nearcast purge`; absent: the arguments of the verb. */
  readonly option?: { readonly name: string; readonly value?: string; readonly help: string };
  /** How many selectors an order has: any number, one, or none because the kind needs no value. */
  readonly shape: "list" | "one" | "flag";
  /** The selectors in a request to the origin. */
  readonly inRequest: TSchema;
  /** The same in the feed's event: no stricter than the request of any release. */
  readonly inEvent: TSchema;
  /** In an edge's report: the selectors for which it held something. Absent: the kind is not reported. */
  readonly inReport?: TSchema;
  /** In the origin's answer: the selectors for which no node held anything. */
  readonly inUnheld?: TSchema;
  /**
   * The form in which a selector is stored, sent and compared.
   * @param where the position of the selector in the request
   * @throws NearcastError BAD_PARAMETER, BAD_PATH
   */
  readonly canonical: (selector: string, where: string) => string;
  /** @param hosts of the fleet document; none while none is known */
  readonly targetOf: (selector: string, hosts: readonly Host[]) => PurgeTarget;
  readonly audited: (selectors: readonly string[]) => AuditedSelectors;
}

/** The value of a kind in a request or an event. */
export type SelectorValue = readonly string[] | string | boolean | null | undefined;

/** The schemas for kinds that take any number of selectors. */
export function listShape<Selector extends TSchema>(
  selector: Selector,
  { selectorsMax, eventLengthMax }: { selectorsMax: number; eventLengthMax: number },
) {
  return {
    shape: "list" as const,
    inRequest: Type.Optional(Type.Array(selector, { minItems: 1, maxItems: selectorsMax })),
    inEvent: Type.Array(Type.String({ maxLength: eventLengthMax }), { maxItems: 10_000, default: [] }),
    /** Positions in the event's list. */
    inReport: Type.Array(Type.Integer({ minimum: 0, maximum: selectorsMax - 1 }), { maxItems: selectorsMax }),
    inUnheld: Type.Array(Type.String()),
  };
}

/** The schemas for kinds that take one selector. */
export function oneShape<Selector extends TSchema>(selector: Selector, { eventLengthMax }: { eventLengthMax: number }) {
  return {
    shape: "one" as const,
    inRequest: Type.Optional(selector),
    inEvent: Type.Optional(Type.Union([Type.String({ maxLength: eventLengthMax }), Type.Null()])),
    inReport: Type.Boolean(),
    inUnheld: Type.Optional(Type.String()),
  };
}

/**
 * The schemas for kinds without selectors. They select everything, so a list of what a node did not hold is useless.
 */
export function flagShape() {
  return {
    shape: "flag" as const,
    inRequest: Type.Optional(Type.Literal(true)),
    inEvent: Type.Boolean({ default: false }),
  };
}

/** A flag has one empty selector. */
export function selectorsOf(value: SelectorValue): readonly string[] {
  if (typeof value === "string") return [value];
  if (typeof value === "boolean") return value ? [""] : [];
  return value ?? [];
}
