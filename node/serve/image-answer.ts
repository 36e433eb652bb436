/** Responses of images hosts: their outcomes, and the deliveries that clients get. */
import { inertFields } from "#base/inert-fields.ts";
import { headerBlockOf, type Tier } from "../cache/object.ts";
import type { SourceRecord } from "../cache/records.ts";
import type { Stored } from "../cache/tiers.ts";
import type { ImageOrder } from "./order.ts";
import type { Asked } from "./meaning.ts";
import type { Delivery, MissReason, Outcome, StaleReason, StoredResponse, Timings } from "../deliver/outcome.ts";

/** What a name means, and its variant: the same for nodes and clients. */
export interface Answer {
  record: SourceRecord;
  /** Null: there is nothing under this name. */
  object: Stored | null;
  outcome: Outcome;
  /** Null: made or validated for this request. */
  ageSeconds: number | null;
  timings: Timings;
  /** Cache-Status of the nodes that were asked. */
  status: string | null;
}

export function missReason(before: SourceRecord | undefined): MissReason {
  return before === undefined || "absentStatus" in before.meaning ? "uri-miss" : "stale";
}

/** What an outcome is about: an object of a tier, or one that had to be made. */
export type Found = { from: Tier } | { from: "render"; isStored: boolean; isCollapsed: boolean; status: string | null };

/** The outcome for a variant whose name's meaning is fresh. */
export function freshOutcome(ttlSeconds: number) {
  return (found: Found): Outcome =>
    found.from === "render"
      ? {
          word: "miss",
          reason: "uri-miss",
          isStored: found.isStored,
          isCollapsed: found.isCollapsed,
          detail: found.status === null ? "rendered" : "shield-rendered",
          ttlSeconds,
        }
      : { word: "hit", tier: found.from, ttlSeconds };
}

export function staleOutcome(reason: StaleReason, ttlSeconds: number) {
  return (found: Found): Outcome => ({
    word: "stale",
    reason,
    tier: found.from === "render" ? "disk" : found.from,
    ttlSeconds,
  });
}

/** The outcome for a variant whose name's meaning had to be requested first. */
export function missOutcome(reason: MissReason, asked: Asked, isAskCollapsed: boolean, lifetimeSeconds: number) {
  return (found: Found): Outcome => {
    const isOfShield = asked.status !== null || (found.from === "render" && found.status !== null);
    const what = found.from === "render" ? "rendered" : `${found.from}-validated`;
    return {
      word: "miss",
      reason,
      isStored: found.from !== "render" || found.isStored,
      isCollapsed: isAskCollapsed || (found.from === "render" && found.isCollapsed),
      detail: isOfShield ? `shield-${what}` : what,
      ttlSeconds: lifetimeSeconds - asked.ageSeconds,
    };
  };
}

export const noTimings: Timings = {};

/** What a delivery says about where it came from. */
type Told = Pick<Answer, "outcome" | "ageSeconds" | "timings" | "status">;

/** Not in the stored block, unlike nosniff: objects stored by an earlier release lack it. */
const contentSecurityPolicy: [string, string] = ["Content-Security-Policy", inertFields["Content-Security-Policy"]];

function hostHeaders(order: ImageOrder): [string, string][] {
  const headers: [string, string][] = [["Cache-Control", order.host.cacheControl], contentSecurityPolicy];
  if (order.varies) headers.push(["Vary", "Accept"]);
  return headers;
}

/** @param stored of a hit */
export function delivery(order: ImageOrder, object: Stored, answered: Told, stored?: StoredResponse): Delivery {
  return {
    outcome: answered.outcome,
    status: 200,
    headerBlock: object.headerBlock,
    headers: hostHeaders(order),
    body: object.body,
    lengthBytes: object.lengthBytes,
    etag: object.facts.notes["etag"] as string,
    lastModified: null,
    ageSeconds: answered.ageSeconds,
    timings: answered.timings,
    statusBefore: answered.status,
    ...(stored === undefined ? {} : { stored }),
  };
}

const absentBlock = headerBlockOf([["Content-Type", "application/problem+json"], ...Object.entries(inertFields)]);

export function absent(order: ImageOrder, answered: Told): Delivery {
  const problem = {
    type: "urn:nearcast:error:NOT_FOUND",
    title: "There is nothing under this name",
    status: 404,
    code: "NOT_FOUND",
  };
  const body = Buffer.from(`${JSON.stringify(problem)}\n`);
  return {
    outcome: answered.outcome,
    status: 404,
    headerBlock: absentBlock,
    headers: [["Cache-Control", `public, max-age=${order.host.negativeSeconds}`]],
    body: { kind: "bytes", bytes: body },
    lengthBytes: body.length,
    etag: null,
    lastModified: null,
    ageSeconds: answered.ageSeconds,
    timings: answered.timings,
    statusBefore: answered.status,
  };
}
