/** What an assets host delivers: a stored response, a fetched one, one that passes through, or a failure. Pure. */
import type { Body } from "#base/body.ts";
import { NearcastError } from "#base/errors.ts";
import { judgeUse } from "../cache/freshness.ts";
import { headerBlockOf, type HeaderPairs, type ObjectFacts } from "../cache/object.ts";
import type { Stored } from "../cache/tiers.ts";
import type { Delivery, MissReason, Outcome, Timings } from "../deliver/outcome.ts";
import type { Fetched } from "./asset-fetch.ts";
import { notesOf } from "./asset-key.ts";
import type { Because, Found } from "./machine.ts";
import { ofAnotherLog } from "./wire.ts";

/** A delivery, with what another node has to know about it. */
export interface AssetDelivery extends Delivery {
  /** The event of the feed that it is valid for. */
  readonly feedSeq: number;
  readonly isSoftPurged: boolean;
}

export function storedDelivery({ entry, use }: Found<Stored>, because: Because): AssetDelivery {
  const { tier } = entry;
  const { ttlSeconds, ageSeconds } = use;
  const outcome: Outcome =
    because === "fresh" ? { word: "hit", tier, ttlSeconds } : { word: "stale", tier, reason: because, ttlSeconds };
  return delivery(entry, entry, { outcome, ageSeconds, isSoftPurged: entry.isSoftPurged });
}

function delivery(
  { facts, headerBlock }: { facts: ObjectFacts; headerBlock: Buffer },
  { body, lengthBytes }: Pick<Delivery, "body" | "lengthBytes">,
  about: Pick<AssetDelivery, "outcome" | "ageSeconds" | "isSoftPurged"> & Partial<AssetDelivery>,
): AssetDelivery {
  const { etag, lastModified } = notesOf({ facts });
  const { status, feedSeq } = facts;
  return { status, headerBlock, headers: [], body, lengthBytes, etag, lastModified, timings: {}, feedSeq, ...about };
}

export function fetchedDelivery(
  fetched: Extract<Fetched, { outcome: "fetched" | "renewed" }>,
  about: { reason: MissReason; isCollapsed: boolean; tookMs: number; wallMs: number },
): AssetDelivery {
  const { reason, isCollapsed, tookMs, wallMs } = about;
  const { head } = fetched;
  const { of, status, mark } = fetched.way;
  const isRenewed = fetched.outcome === "renewed";
  const what = isRenewed ? "revalidated" : "fetched";
  const { ageSeconds, ttlSeconds } = judgeUse(notesOf(head).freshness, wallMs);
  const outcome: Outcome = {
    word: "miss",
    reason,
    isStored: isRenewed ? fetched.isStored : fetched.isStorable,
    isCollapsed,
    detail: of === null ? what : of === "shield" ? `shield-${what}` : of,
    ttlSeconds,
  };
  const body = isRenewed
    ? fetched.before
    : { body: { kind: "ranges", open: fetched.open } as Body, lengthBytes: fetched.fill.lengthBytes };
  return delivery(head, body, {
    outcome,
    // An origin that is itself a cache may have sent a response that is already old.
    ageSeconds: ageSeconds === 0 ? null : ageSeconds,
    isSoftPurged: mark !== null,
    timings: of === null ? { fetchMs: tookMs } : { peerMs: tookMs },
    statusBefore: status,
  });
}

/** A delivery that nobody may keep: it is valid for no event of the feed. */
function unkept(
  { status, pairs, statusBefore }: { status: number; pairs: HeaderPairs; statusBefore: string | null },
  { reason, isCollapsed }: { reason: string; isCollapsed: boolean },
  timings: Timings,
): Omit<AssetDelivery, "body" | "lengthBytes"> {
  return {
    outcome: { word: "bypass", reason, isCollapsed },
    status,
    headerBlock: headerBlockOf(pairs),
    headers: [],
    etag: null,
    lastModified: null,
    ageSeconds: null,
    timings,
    statusBefore,
    feedSeq: ofAnotherLog,
    isSoftPurged: false,
  };
}

export function passedDelivery(fetched: Extract<Fetched, { outcome: "passed" }>, timings: Timings): AssetDelivery {
  const { body, lengthBytes, reason } = fetched;
  return {
    ...unkept(fetched, { reason, isCollapsed: false }, timings),
    body: { kind: "stream", stream: body },
    lengthBytes,
  };
}

/** @throws NearcastError ORIGIN_BAD_ANSWER for a client that waited for a failure that is not for everyone */
export function failedDelivery(
  fetched: Extract<Fetched, { outcome: "failed" }>,
  isCollapsed: boolean,
  timings: Timings,
): AssetDelivery {
  if (isCollapsed && !fetched.isShareable)
    throw new NearcastError("ORIGIN_BAD_ANSWER", `the origin answered with status ${fetched.status}`);
  const { body } = fetched;
  return {
    ...unkept(fetched, { reason: "status", isCollapsed }, timings),
    body: { kind: "bytes", bytes: body },
    lengthBytes: body.length,
  };
}
