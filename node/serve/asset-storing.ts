/**
 * What a fetch for an assets host leaves in the cache: the whole body of a fill, or a new head after a 304. Also
 * removes entries that the fetch proves out of date. Used by asset-fetch.ts.
 */
import type { LRUCache } from "lru-cache";
import type { Clock } from "#base/clock.ts";
import type { BodyWriter } from "../cache/disk/body-writer.ts";
import type { Fill } from "../cache/fill.ts";
import type { Stored, Tiers } from "../cache/tiers.ts";
import type { AssetHead } from "./asset-response.ts";
import type { Way } from "./asset-way.ts";
import type { AssetOrder } from "./order.ts";

/** Where it is stored, and what is known as uncacheable (Varnish: hit-for-miss). */
export interface Stores {
  readonly tiers: Tiers;
  readonly uncacheableUntil: LRUCache<string, { untilMs: number; reason: string }>;
  readonly clock: Clock;
}

/** What was asked for. */
interface Asked {
  readonly order: AssetOrder;
  /** The key by which the URL is looked up now. */
  readonly key: string;
  /** The stale entry, if there is one. */
  readonly before: Stored | undefined;
}

interface Fetch {
  /** A purge came since it began. */
  readonly isOvertaken: boolean;
  readonly startedMs: number;
}

/** How long a key stays known as uncacheable. */
export const uncacheableMs = 60_000;

/** Stores a fill at its end; requests for the key meanwhile join the fill. Never rejects. */
export async function storeWhole(
  stores: Stores,
  asked: Asked,
  fetch: Fetch,
  { head, fill, way }: { head: AssetHead; fill: Pick<Fill<BodyWriter>, "ended">; way: Way },
  clearsBefore: number,
): Promise<void> {
  const ended = await fill.ended;
  if (ended.end === "too-large") notForTheCache(stores, asked, fetch, "too-large");
  if (ended.end !== "whole") return;
  if (!mayStore(stores, way, clearsBefore, head)) {
    ended.place?.abort();
    return;
  }
  storeMarker(stores, asked, way, head);
  const { key, headerBlock } = head;
  const facts = { ...head.facts, costMs: Math.round(stores.clock.monotonicMs() - fetch.startedMs) };
  const put = way.keep === "all" ? stores.tiers.store : stores.tiers.storeInMemory;
  if (ended.bytes !== null) put({ key, facts, headerBlock, body: ended.bytes });
  else if (ended.place !== null) await ended.place.commit(facts, headerBlock);
  // No tier has room for it, and what it replaces is no longer valid.
  else removeStored(stores, asked.before, fetch);
}

export function mayStore({ tiers }: Stores, way: Way, clearsBefore: number, { facts }: AssetHead): boolean {
  return way.keep !== "none" && tiers.clears() === clearsBefore && tiers.isStorable(facts);
}

/**
 * Gives the stored object a new head. Under another key, for example after a change of Vary, the body stays in place.
 */
export async function renew(stores: Stores, asked: Asked, way: Way, head: AssetHead, before: Stored): Promise<boolean> {
  if (head.key !== before.key) return false;
  storeMarker(stores, asked, way, head);
  const isStored = await stores.tiers.replaceHead(before, head.facts, head.headerBlock);
  return isStored;
}

/** The fields that select among the URL's responses are stored under the URL's own key. */
function storeMarker(stores: Stores, { order }: Asked, way: Way, head: AssetHead): void {
  if (head.varyFields.length === 0) return;
  const put = way.keep === "all" ? stores.tiers.store : stores.tiers.storeInMemory;
  const facts = { ...head.facts, status: 0, notes: { vary: head.varyFields } };
  put({ key: order.primaryKey, facts, headerBlock: Buffer.alloc(0), body: Buffer.alloc(0) });
}

/** The origin has answered: its earlier response is no longer valid, and must not be stored again (RFC 9111 §4.3.3). */
export function notForTheCache(stores: Stores, { key, before }: Asked, fetch: Fetch, reason: string): void {
  stores.uncacheableUntil.set(key, { untilMs: stores.clock.monotonicMs() + uncacheableMs, reason });
  removeStored(stores, before, fetch);
}

export function removeStored(stores: Stores, before: Stored | undefined, fetch: Fetch): void {
  if (before !== undefined && !fetch.isOvertaken) void stores.tiers.remove(before.key);
}
