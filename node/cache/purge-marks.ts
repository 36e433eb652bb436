/**
 * Purges as marks, which tell whether an object is purged without a search for it. Pure.
 *
 *   purge 71 of tag "news", hard          object, fetched at event 64 of the feed, with tags "host:…", "tag:news"
 *   ──▶ mark: news ▸ hard 71              ──▶ 64 < 71: purged, so a lookup does not find it
 *
 * A mark applies to a tag, to all tags with a prefix (the sources below a folder, the URLs below a path) or to
 * everything. Its value is the number of the purge in the feed. An object is purged if its fetch began before a mark
 * that covers it. So one entry here purges a million objects, and a fetch that began before the purge is purged, too,
 * whenever it ends. A hard mark makes an object absent. A soft mark makes it stale.
 *
 * Called by the tiers and records at each lookup and store, by the purger, by the sweep (purge-sweep.ts), which removes
 * purged objects later, and by the journal (purge-journal.ts), through which marks survive a restart.
 *
 * Invariants
 * - A mark stays as long as it may cover an object. The sweep calls `forgetMarks` when there is none.
 * - A fill that began before a mark may end after the mark was forgotten. So nothing that is older than the newest
 *   forgotten mark is stored (`isStorable`).
 * - Past `marksMax`, wider marks replace the marks: more is purged than was requested, never less. A soft mark becomes
 *   a wider soft mark, a hard mark a wider hard mark.
 */
import { hostOfUrlTag, hostTag, isSourceTag, sourceTag } from "#purge/entry-tags.ts";
import type { ObjectFacts } from "./object.ts";
import type { Purge } from "./purge.ts";

export type Verdict = "current" | "soft" | "hard";

/** Numbers of purges in the feed; 0: none. */
export interface Mark {
  hard: number;
  soft: number;
}

interface PrefixMark extends Mark {
  readonly prefix: string;
}

export interface PurgeMarks {
  /** Beyond this number, marks are widened. */
  readonly max: number;
  readonly all: Mark;
  readonly tags: Map<string, Mark>;
  readonly prefixes: Map<string, PrefixMark>;
  /** The same, by the hash of the prefix. */
  readonly prefixesByHash: Map<number, PrefixMark[]>;
  /** Number of prefixes of each length. */
  readonly lengths: Uint32Array;
  /** The largest number of all marks, and of those for prefixes; 0: there are none. */
  newest: number;
  newestPrefix: number;
  /** The largest number of a mark that was forgotten. */
  forgotten: number;
  /** How often marks were widened. */
  widenings: number;
}

/** Some 20 MB. A site that purges more than that between two walks of the sweep wants everything revalidated. */
export const marksMax = 100_000;
/** A longer prefix is cut, and then concerns more. The longest selector that an event may have is shorter. */
const prefixLengthMax = 1023;

/** @param max for tests */
export function createPurgeMarks(max: number = marksMax): PurgeMarks {
  return {
    max,
    all: { hard: 0, soft: 0 },
    tags: new Map(),
    prefixes: new Map(),
    prefixesByHash: new Map(),
    lengths: new Uint32Array(prefixLengthMax + 1),
    newest: 0,
    newestPrefix: 0,
    forgotten: 0,
    widenings: 0,
  };
}

/** In force when it returns. Takes time in proportion to the selectors of the purge, not to the objects. */
export function addPurge(marks: PurgeMarks, purge: Purge): void {
  const mark = purge.isSoft ? { hard: 0, soft: purge.seq } : { hard: purge.seq, soft: 0 };
  if (purge.isAll) {
    raise(marks.all, mark);
    marks.newest = Math.max(marks.newest, purge.seq);
  }
  for (const tag of purge.tags) addTag(marks, tag, mark);
  for (const prefix of purge.tagPrefixes) addPrefix(marks, prefix, mark);
  if (markCount(marks) > marks.max) widen(marks);
}

export function markCount({ tags, prefixes }: PurgeMarks): number {
  return tags.size + prefixes.size;
}

function addTag(marks: PurgeMarks, tag: string, mark: Mark): void {
  const present = marks.tags.get(tag);
  if (present === undefined) marks.tags.set(tag, { hard: mark.hard, soft: mark.soft });
  else raise(present, mark);
  marks.newest = Math.max(marks.newest, mark.hard, mark.soft);
}

function addPrefix(marks: PurgeMarks, text: string, mark: Mark): void {
  const prefix = text.slice(0, prefixLengthMax);
  let present = marks.prefixes.get(prefix);
  if (present === undefined) {
    present = { prefix, hard: mark.hard, soft: mark.soft };
    marks.prefixes.set(prefix, present);
    const hash = hashOf(prefix);
    const others = marks.prefixesByHash.get(hash);
    if (others === undefined) marks.prefixesByHash.set(hash, [present]);
    else others.push(present);
    marks.lengths[prefix.length] = (marks.lengths[prefix.length] ?? 0) + 1;
  } else raise(present, mark);
  marks.newest = Math.max(marks.newest, mark.hard, mark.soft);
  marks.newestPrefix = Math.max(marks.newestPrefix, mark.hard, mark.soft);
}

function removePrefix(marks: PurgeMarks, { prefix }: PrefixMark): void {
  marks.prefixes.delete(prefix);
  const hash = hashOf(prefix);
  const others = (marks.prefixesByHash.get(hash) ?? []).filter((other) => other.prefix !== prefix);
  if (others.length === 0) marks.prefixesByHash.delete(hash);
  else marks.prefixesByHash.set(hash, others);
  marks.lengths[prefix.length] = (marks.lengths[prefix.length] ?? 0) - 1;
}

function raise(mark: Mark, { hard, soft }: Mark): void {
  mark.hard = Math.max(mark.hard, hard);
  mark.soft = Math.max(mark.soft, soft);
}

/**
 * What the marks say of an object. Without a mark that is newer than the object, one comparison.
 *
 * @param facts `feedSeq`: the feed's position when the fetch of the object began
 */
export function verdictOf(marks: PurgeMarks, { tags, feedSeq }: Pick<ObjectFacts, "tags" | "feedSeq">): Verdict {
  if (feedSeq >= marks.newest) return "current";
  if (marks.all.hard > feedSeq) return "hard";
  let isSoft = marks.all.soft > feedSeq;
  for (const tag of tags) {
    const mark = marks.tags.get(tag);
    if (mark === undefined) continue;
    if (mark.hard > feedSeq) return "hard";
    isSoft ||= mark.soft > feedSeq;
  }
  if (feedSeq < marks.newestPrefix) {
    for (const tag of tags) {
      for (const mark of prefixMarksOf(marks, tag)) {
        if (mark.hard > feedSeq) return "hard";
        isSoft ||= mark.soft > feedSeq;
      }
    }
  }
  return isSoft ? "soft" : "current";
}

/** Adds the soft marks that concern an object to `found`. */
export function collectSoft(
  marks: PurgeMarks,
  { tags, feedSeq }: Pick<ObjectFacts, "tags" | "feedSeq">,
  found: Set<Mark>,
): void {
  if (feedSeq >= marks.newest) return;
  const concerning = [
    marks.all,
    ...tags.flatMap((tag) => [marks.tags.get(tag) ?? [], prefixMarksOf(marks, tag)].flat()),
  ];
  for (const mark of concerning) if (mark.soft > feedSeq) found.add(mark);
}

const noMarks: readonly PrefixMark[] = [];

/** In time linear in the tag: the hash of each prefix follows from that of the one before. */
function prefixMarksOf({ prefixesByHash, lengths }: PurgeMarks, tag: string): readonly PrefixMark[] {
  let found = noMarks;
  let hash = emptyHash;
  const end = Math.min(tag.length, prefixLengthMax);
  for (let length = 1; length <= end; length += 1) {
    hash = Math.imul(hash ^ tag.charCodeAt(length - 1), hashPrime);
    if (lengths[length] === 0) continue;
    const concerning = (prefixesByHash.get(hash) ?? noMarks).filter(
      ({ prefix }) => prefix.length === length && tag.startsWith(prefix),
    );
    if (concerning.length > 0) found = [...found, ...concerning];
  }
  return found;
}

/** FNV-1a. */
const emptyHash = 0x811c_9dc5 | 0;
const hashPrime = 0x0100_0193;

function hashOf(text: string): number {
  let hash = emptyHash;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), hashPrime);
  return hash;
}

/** Whether what a fill brought may be stored: no purge came since it began, as far as anybody still knows. */
export function isStorable(marks: PurgeMarks, facts: Pick<ObjectFacts, "tags" | "feedSeq">): boolean {
  return facts.feedSeq >= marks.forgotten && verdictOf(marks, facts) === "current";
}

/**
 * Forgets marks after a walk over all objects: hard ones, since what they concern was removed, and those soft ones that
 * concern nothing that is left.
 *
 * @param upTo the newest mark when the walk began
 * @param softInUse the soft marks that concerned an object; null: nobody knows
 * @returns whether something was forgotten
 */
export function forgetMarks(marks: PurgeMarks, upTo: number, softInUse: ReadonlySet<Mark> | null): boolean {
  let hasForgotten = false;
  const lower = (mark: Mark): void => {
    const forgotten = {
      hard: mark.hard <= upTo ? mark.hard : 0,
      soft: mark.soft <= upTo && softInUse?.has(mark) === false ? mark.soft : 0,
    };
    if (isEmpty(forgotten)) return;
    hasForgotten = true;
    marks.forgotten = Math.max(marks.forgotten, forgotten.hard, forgotten.soft);
    mark.hard -= forgotten.hard;
    mark.soft -= forgotten.soft;
  };
  lower(marks.all);
  for (const [tag, mark] of marks.tags) {
    lower(mark);
    if (isEmpty(mark)) marks.tags.delete(tag);
  }
  for (const mark of marks.prefixes.values()) {
    lower(mark);
    if (isEmpty(mark)) removePrefix(marks, mark);
  }
  findNewest(marks);
  return hasForgotten;
}

/**
 * Forgets everything, because everything that was stored is gone.
 *
 * @param position of the feed from now on; a fill that began before it is not stored
 */
export function resetMarks(marks: PurgeMarks, position: number): void {
  marks.tags.clear();
  for (const mark of marks.prefixes.values()) removePrefix(marks, mark);
  marks.all.hard = 0;
  marks.all.soft = 0;
  marks.forgotten = position;
  findNewest(marks);
}

function isEmpty(mark: Mark): boolean {
  return mark.hard === 0 && mark.soft === 0;
}

function findNewest(marks: PurgeMarks): void {
  marks.newestPrefix = newestOf(marks.prefixes.values());
  marks.newest = Math.max(newestOf([marks.all]), newestOf(marks.tags.values()), marks.newestPrefix);
}

function newestOf(some: Iterable<Mark>): number {
  let newest = 0;
  for (const { hard, soft } of some) newest = Math.max(newest, hard, soft);
  return newest;
}

/**
 * Replaces marks by fewer, wider ones until half of the room is free: those of URLs by marks for their hosts, those of
 * sources by one for all sources, and the rest by one for everything.
 */
function widen(marks: PurgeMarks): void {
  marks.widenings += 1;
  widenUrls(marks);
  if (markCount(marks) > marks.max / 2) widenSources(marks);
  if (markCount(marks) > marks.max / 2) {
    for (const mark of [...marks.tags.values(), ...marks.prefixes.values()]) raise(marks.all, mark);
    marks.tags.clear();
    for (const mark of marks.prefixes.values()) removePrefix(marks, mark);
  }
  findNewest(marks);
}

function widenUrls(marks: PurgeMarks): void {
  for (const [tag, mark] of marks.tags) {
    const host = hostOfUrlTag(tag);
    if (host === undefined) continue;
    marks.tags.delete(tag);
    addTag(marks, hostTag(host), mark);
  }
  for (const mark of marks.prefixes.values()) {
    const host = hostOfUrlTag(mark.prefix);
    if (host === undefined) continue;
    removePrefix(marks, mark);
    addTag(marks, hostTag(host), mark);
  }
}

function widenSources(marks: PurgeMarks): void {
  const allSources = sourceTag("");
  for (const [tag, mark] of marks.tags) {
    if (!isSourceTag(tag)) continue;
    marks.tags.delete(tag);
    addPrefix(marks, allSources, mark);
  }
  for (const mark of marks.prefixes.values()) {
    if (mark.prefix === allSources || !isSourceTag(mark.prefix)) continue;
    removePrefix(marks, mark);
    addPrefix(marks, allSources, mark);
  }
}

/** The marks as the fewest purges that would make them again: one for each number. */
export function purgesOf(marks: PurgeMarks): Purge[] {
  const purges = new Map<
    string,
    { seq: number; isSoft: boolean; isAll: boolean; tags: Set<string>; tagPrefixes: string[] }
  >();
  const purgeFor = (seq: number, isSoft: boolean) => {
    const key = `${seq} ${isSoft}`;
    const purge = purges.get(key) ?? { seq, isSoft, isAll: false, tags: new Set<string>(), tagPrefixes: [] };
    purges.set(key, purge);
    return purge;
  };
  const each = (mark: Mark, put: (purge: ReturnType<typeof purgeFor>) => void): void => {
    if (mark.hard > 0) put(purgeFor(mark.hard, false));
    if (mark.soft > 0) put(purgeFor(mark.soft, true));
  };
  each(marks.all, (purge) => {
    purge.isAll = true;
  });
  for (const [tag, mark] of marks.tags) each(mark, (purge) => purge.tags.add(tag));
  for (const [prefix, mark] of marks.prefixes) each(mark, (purge) => purge.tagPrefixes.push(prefix));
  return [...purges.values()];
}
