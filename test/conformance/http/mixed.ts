/** Traffic for an edge in the system's time: popular requests that come again, others of the corpus, uncommon ones. */
import assert from "node:assert/strict";
import type { Random } from "#base/random.ts";
import { randomRequest, type Request } from "./corpus.ts";
import { eventually, type RunningEdge } from "./running-edge.ts";
import { uncommonRequest } from "./uncommon.ts";

/**
 * The tests can't stop the time: the lifetimes of the first two end meanwhile, and what an origin's failures lead to
 * depends on the moment.
 */
const timed = ["/a", "/short", "/failing"];

/** Most requests come again and again: others would never be ready. */
const popularMax = 40;

/** @param popular grows until it is full */
export function randomMixed(random: Random, popular: Request[]): Request {
  if (popular.length === popularMax && random() < 0.75) return popular[Math.floor(random() * popularMax)] as Request;
  for (;;) {
    const common = randomRequest(random);
    if (timed.includes(common.target)) continue;
    if (popular.length < popularMax) {
      popular.push(common);
      return common;
    }
    return random() < 0.5 ? uncommonRequest(random, common) : common;
  }
}

/** What both edges have told their metrics so far. */
export function toldCounts(edges: readonly RunningEdge[]): number[] {
  return edges.map(({ served }) => served.length);
}

/** Compares what both told their metrics since then. They tell of a response when it has left, or a little later. */
export async function compareTold(
  edges: readonly RunningEdge[],
  before: readonly number[],
  where: string,
): Promise<void> {
  await Promise.all(edges.map((edge) => edge.flushed()));
  const counts = (): number[] => toldCounts(edges).map((count, index) => count - (before[index] ?? 0));
  await eventually(`both tell of as many responses: ${where}`, () => new Set(counts()).size === 1);
  const [mine, theirs] = edges.map(({ served }, index) =>
    served
      .slice(before[index])
      .map(({ host, kind, outcome, status, bodyBytes }) => `${host} ${kind} ${outcome} ${status} ${bodyBytes}`)
      .toSorted(),
  );
  assert.deepEqual(mine, theirs, where);
}
