/** By name: these pictures, in all variants. */
import { Type } from "typebox";
import { NearcastError } from "#base/errors.ts";
import { parseName } from "#base/source-name.ts";
import { sourceTag } from "../entry-tags.ts";
import { listShape, nothing, type PurgeKind } from "../purge-kind.ts";

export const names = {
  noun: "name",
  ...listShape(Type.String({ maxLength: 500 }), { selectorsMax: 1000, eventLengthMax: 600 }),
  canonical(name, where) {
    const parsed = parseName(name);
    if (parsed.ok) return parsed.name;
    throw new NearcastError("BAD_PATH", `${where}: ${parsed.reason}`);
  },
  targetOf: (name) => ({ ...nothing, tags: [sourceTag(name)] }),
  audited: (selectors) => ({ targets: selectors }),
} as const satisfies PurgeKind;
