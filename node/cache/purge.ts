/**
 * What a purge says, and whether an object is meant by it; pure.
 *
 * A purge names tags, a prefix of source names, or all. It concerns an object whose bytes were asked for before the
 * purge was published (`feedSeq` below the purge's), so a fill that began earlier and ends later is caught too.
 */
import { sourceTag } from "#purge/entry-tags.ts";
import type { ObjectFacts } from "./object.ts";

export interface Purge {
  /** Position in the feed; 0 for a purge that came from elsewhere and concerns everything present. */
  readonly seq: number;
  readonly tags: ReadonlySet<string>;
  /** Sources whose name begins with one of these. */
  readonly sourcePrefixes: readonly string[];
  readonly isAll: boolean;
  /** Soft: may still be served while it is revalidated, or while the origin fails. */
  readonly isSoft: boolean;
}

export function isPurgedBy(facts: Pick<ObjectFacts, "tags" | "feedSeq">, purge: Purge): boolean {
  if (purge.seq !== 0 && facts.feedSeq >= purge.seq) return false;
  return purge.isAll || facts.tags.some((tag) => namesTag(purge, tag));
}

function namesTag(purge: Purge, tag: string): boolean {
  return purge.tags.has(tag) || purge.sourcePrefixes.some((prefix) => tag.startsWith(sourceTag(prefix)));
}

/** Told of each object that a purge concerns; `bytes` is what the object takes in its tier. */
export type Found = (facts: ObjectFacts, bytes: number) => void;

/** tag → keys of the objects that carry it. Holds what its tier holds, so the tier's bound bounds it. */
export interface TagIndex {
  add: (key: string, tags: readonly string[]) => void;
  remove: (key: string, tags: readonly string[]) => void;
  /** The keys that a purge may concern, by tag alone. */
  keysOf: (purge: Purge) => Set<string>;
}

export function createTagIndex(): TagIndex {
  const keysByTag = new Map<string, Set<string>>();
  return {
    add(key, tags) {
      for (const tag of tags) {
        const keys = keysByTag.get(tag);
        if (keys === undefined) keysByTag.set(tag, new Set([key]));
        else keys.add(key);
      }
    },
    remove(key, tags) {
      for (const tag of tags) {
        const keys = keysByTag.get(tag);
        if (keys?.delete(key) && keys.size === 0) keysByTag.delete(tag);
      }
    },
    keysOf(purge) {
      const found = new Set<string>();
      const take = (keys: Iterable<string> | undefined): void => {
        for (const key of keys ?? []) found.add(key);
      };
      if (!purge.isAll && purge.sourcePrefixes.length === 0) {
        for (const tag of purge.tags) take(keysByTag.get(tag));
      } else {
        for (const [tag, keys] of keysByTag) if (purge.isAll || namesTag(purge, tag)) take(keys);
      }
      return found;
    },
  };
}
