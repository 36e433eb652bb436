/** By prefix: all pictures whose names start with it. */
import { Type } from "typebox";
import { NearcastError } from "#base/errors.ts";
import { parsePrefix } from "#base/source-name.ts";
import { sourceTag } from "../entry-tags.ts";
import { nothing, oneShape, type PurgeKind } from "../purge-kind.ts";

export const prefix = {
  noun: "prefix",
  option: { name: "prefix", value: "prefix", help: "purge all pictures whose names start with this" },
  ...oneShape(Type.String({ minLength: 1, maxLength: 500 }), { eventLengthMax: 600 }),
  canonical(text, where) {
    const parsed = parsePrefix(text);
    if (parsed.ok) return parsed.name;
    throw new NearcastError("BAD_PARAMETER", `${where}: ${parsed.reason}`);
  },
  targetOf: (text) => ({ ...nothing, tagPrefixes: [sourceTag(text)] }),
  audited: ([text]) => (text === undefined ? {} : { targetPrefixes: [text], fact: text }),
} as const satisfies PurgeKind;
