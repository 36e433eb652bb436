/** An origin behind an asset fetcher, and requests of many client networks. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { NearcastError } from "#base/errors.ts";
import { seededRandom } from "#base/random.ts";
import { type AssetFetcher, type AssetRequest, openAssetFetcher } from "../../../../node/fetch/asset.ts";
import { type LoopbackOrigin, type Script, startLoopbackOrigin } from "../../../support/loopback-origin.ts";
import { type ShiftedClock, shiftedClock } from "../../../support/shifted-clock.ts";

export const networkOf = (index: number): string => `10.${Math.floor(index / 256)}.${index % 256}.0/24`;

export interface Bench {
  origin: LoopbackOrigin;
  clock: ShiftedClock;
  fetcher: AssetFetcher;
  order: AssetRequest;
}

export async function open(t: TestContext, script: Script): Promise<Bench> {
  const origin = await startLoopbackOrigin(t, script);
  const { fetcher, clock } = openFetcher(t);
  return { origin, clock, fetcher, order: orderFor(origin.url) };
}

export function openFetcher(t: TestContext, privateNetworks = ["127.0.0.0/8", "::1/128"]) {
  const clock = shiftedClock();
  const fetcher = openAssetFetcher({ node: "fra1", privateNetworks, clock, random: seededRandom(1) });
  t.after(() => fetcher.close());
  // The clock's timers do not keep the process alive.
  const alive = setInterval(() => undefined, 1000);
  t.after(() => {
    clearInterval(alive);
  });
  return { fetcher, clock };
}

export function orderFor(origin: string): AssetRequest {
  return { origin, method: "GET", target: "/", clientFields: {}, extra: {}, timeoutMs: 5000, client: networkOf(1) };
}

/** Fetches the whole body. @returns status and duration; or the code of the failure */
export async function get(
  fetcher: AssetFetcher,
  order: AssetRequest,
): Promise<{ status: number | string; tookMs: number }> {
  const startMs = performance.now();
  try {
    const { statusCode, body } = await fetcher.fetch(order);
    await body.dump();
    return { status: statusCode, tookMs: performance.now() - startMs };
  } catch (error) {
    const status = error instanceof NearcastError ? error.code : String(error);
    return { status, tookMs: performance.now() - startMs };
  }
}

export function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))] ?? 0;
}

/** Misses of ordinary URLs, ten at a time, for some networks. */
export async function ordinary(
  { fetcher, order }: Bench,
  count: number,
): Promise<{ status: number | string; tookMs: number }[]> {
  const results: { status: number | string; tookMs: number }[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      results.push(await get(fetcher, { ...order, target: `/good/${index}`, client: networkOf(200 + (index % 5)) }));
    }
  };
  await Promise.all(Array.from({ length: 10 }, worker));
  return results;
}

/** Nobody else notices: none fails, and the slow ones are no slower than a generous ceiling. */
export async function othersAreServed(bench: Bench, what: string): Promise<void> {
  const results = await ordinary(bench, 300);
  assert.deepEqual([...new Set(results.map(({ status }) => status))], [200], what);
  const p99Ms = quantile(
    results.map(({ tookMs }) => tookMs),
    0.99,
  );
  assert.ok(p99Ms < 500, `${what}: p99 is ${p99Ms.toFixed()} ms`);
}

export const goodOrHangs: Script = ({ target }, response) => {
  if (target.startsWith("/good")) setTimeout(() => response.end("good"), 2);
};
