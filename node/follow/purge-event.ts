/**
 * The feed's `purge` event: its shape, checked, since an edge trusts no bytes that it did not write.
 *
 *   put, rollback   the name means other bytes now        delete   it means none
 *   purge           somebody ordered it, for names, a prefix, hosts, tags or all
 */
import { type Static, Type } from "typebox";
import { check, problemLines } from "#base/schema.ts";

const list = (maxLength: number) => Type.Array(Type.String({ maxLength }), { maxItems: 10_000, default: [] });

const purgeEvent = Type.Object({
  reason: Type.Unsafe<"put" | "rollback" | "delete" | "purge">({
    type: "string",
    enum: ["put", "rollback", "delete", "purge"],
  }),
  names: list(600),
  prefix: Type.Optional(Type.Union([Type.String({ maxLength: 600 }), Type.Null()])),
  hosts: list(253),
  tags: list(600),
  all: Type.Boolean({ default: false }),
  soft: Type.Boolean({ default: false }),
});
export type PurgeEvent = Static<typeof purgeEvent>;

/** @throws Error with all problems; the follower then breaks off, loudly, instead of skipping a purge */
export function readPurgeEvent(data: unknown): PurgeEvent {
  const checked = check(purgeEvent, data);
  if (checked.ok) return checked.value;
  throw new Error(`a purge event of the feed is malformed: ${problemLines(checked.problems).join("; ")}`);
}
