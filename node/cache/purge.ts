/**
 * A purge, and whether it covers an object. Pure.
 *
 * A purge names tags, prefixes of tags, or everything. It covers objects whose fetch began before the purge was
 * published (`feedSeq` below that of the purge), including a fill that began earlier and ends later.
 */
import { sourceTag } from "#purge/entry-tags.ts";
import type { ObjectFacts } from "./object.ts";

export interface Purge {
  /** Position in the feed. */
  readonly seq: number;
  readonly tags: ReadonlySet<string>;
  /** Concerns each object with a tag that begins with one of these: `source:shop/`, `url:static.example.com/css/`. */
  readonly tagPrefixes: readonly string[];
  readonly isAll: boolean;
  /** Soft: may still be served while it is revalidated, or while the origin fails. */
  readonly isSoft: boolean;
}

export function isPurgedBy({ tags, feedSeq }: Pick<ObjectFacts, "tags" | "feedSeq">, purge: Purge): boolean {
  return feedSeq < purge.seq && (purge.isAll || tags.some((tag) => namesTag(purge, tag)));
}

/** Whether a purge concerns the source of this name. */
export function purgesSource(purge: Purge, name: string): boolean {
  return purge.isAll || namesTag(purge, sourceTag(name));
}

function namesTag(purge: Purge, tag: string): boolean {
  return purge.tags.has(tag) || purge.tagPrefixes.some((prefix) => tag.startsWith(prefix));
}
