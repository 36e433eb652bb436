/** A purge as ordered from the origin, and its selectors as stored in the event log. */
import { type Static, Type } from "typebox";
import { NearcastError } from "#base/errors.ts";
import { kindFields, type PurgeKindName, purgeKindNames, purgeKinds } from "./kinds.ts";
import type { SelectorValue } from "./purge-kind.ts";

export const purgeRequestSchema = Type.Object(
  {
    ...kindFields("inRequest"),
    soft: Type.Optional(Type.Boolean({ description: "mark as stale instead of dropping" })),
  },
  { additionalProperties: false },
);
export type PurgeRequest = Static<typeof purgeRequestSchema>;

/** What is purged, by kind. Several kinds add up. */
export type PurgeSelectors = Readonly<Omit<PurgeRequest, "soft">>;

/** @throws NearcastError BAD_PARAMETER, BAD_PATH */
export function canonicalSelectors(request: PurgeSelectors): PurgeSelectors {
  const given = purgeKindNames.filter((name) => request[name] !== undefined);
  if (given.length === 0) throw new NearcastError("BAD_PARAMETER", `select something: ${purgeKindNames.join(", ")}`);
  return Object.fromEntries(given.map((name) => [name, canonicalValue(name, request[name])]));
}

function canonicalValue(name: PurgeKindName, value: SelectorValue): SelectorValue {
  const { canonical } = purgeKinds[name];
  if (typeof value === "string") return canonical(value, name);
  if (typeof value === "object") return value?.map((one, place) => canonical(one, `${name}[${place}]`));
  return value;
}
