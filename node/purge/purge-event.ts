/**
 * The feed's `purge` event: its shape, which is validated, since an edge trusts no bytes that it did not write, and the
 * cached objects that it selects.
 *
 *   put, rollback   the name has other bytes now          delete   it has none
 *   purge           somebody ordered it
 */
import { type Static, Type } from "typebox";
import { check, problemLines } from "#base/schema.ts";
import type { Host } from "#document/schema/hosts.ts";
import { kindFields, type PurgeKindName, purgeKindNames, purgeKinds } from "./kinds.ts";
import { type PurgeTarget, selectorsOf } from "./purge-kind.ts";

const purgeEvent = Type.Object({
  reason: Type.Unsafe<"put" | "rollback" | "delete" | "purge">({
    type: "string",
    enum: ["put", "rollback", "delete", "purge"],
  }),
  ...kindFields("inEvent"),
  soft: Type.Boolean({ default: false }),
});
export type PurgeEvent = Static<typeof purgeEvent>;

/** @throws Error with all problems; the follower then stops with an error instead of skipping a purge */
export function readPurgeEvent(data: unknown): PurgeEvent {
  const checked = check(purgeEvent, data);
  if (checked.ok) return checked.value;
  throw new Error(`a purge event of the feed is malformed: ${problemLines(checked.problems).join("; ")}`);
}

/** The targets of each kind, in the order of the event's selectors. */
export type PurgeTargets = ReadonlyMap<PurgeKindName, readonly PurgeTarget[]>;

/** @param hosts of the fleet document; none while none is known */
export function targetsOf(event: PurgeEvent, hosts: readonly Host[]): PurgeTargets {
  return new Map(
    purgeKindNames.map((name) => [
      name,
      selectorsOf(event[name]).map((selector) => purgeKinds[name].targetOf(selector, hosts)),
    ]),
  );
}
