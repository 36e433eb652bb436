/** By tag: the files of assets hosts that carry it in Cache-Tag; `url:HOST/PATH` is the file at that address. */
import { Type } from "typebox";
import { cacheTag, isUrlTag } from "../entry-tags.ts";
import { listShape, nothing, type PurgeKind } from "../purge-kind.ts";

export const tags = {
  noun: "tag",
  option: { name: "tag", value: "tag", help: "purge everything with this Cache-Tag; repeatable" },
  ...listShape(Type.String({ pattern: "^[\\x21-\\x7e]{1,256}$" }), { selectorsMax: 1000, eventLengthMax: 600 }),
  canonical: (tag) => tag,
  targetOf: (tag) => ({ ...nothing, tags: [isUrlTag(tag) ? tag : cacheTag(tag)] }),
  audited: (selectors) => (selectors.length === 0 ? {} : { targets: selectors, fact: selectors }),
} as const satisfies PurgeKind;
