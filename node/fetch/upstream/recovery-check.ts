/**
 * One small request to an origin that may be broken: one that got a response before, not whatever a client wants now.
 * It is a HEAD, so that no body comes; any response at all is a sign of life.
 *
 * For an origin that has never answered, it requests the root.
 */
import { dropBody } from "../body.ts";
import { probed, verified } from "./breaker.ts";
import { beginExchange } from "./exchange.ts";
import { headTimeQuantileMs } from "./head-times.ts";
import type { GoodRequest, Upstream } from "./upstream.ts";

/** An origin that takes longer than this has not recovered yet; it is asked again after the breaker's wait anyway. */
const probeTimeoutMs = 5000;
const goodMax = 4;

/** A request that brought a response. @param headers without anything that belongs to one client */
export function rememberGood({ good }: Upstream, request: GoodRequest): void {
  const index = good.findIndex(({ path }) => path === request.path);
  if (index >= 0) good.splice(index, 1);
  good.push(request);
  if (good.length > goodMax) good.shift();
}

/** Half open: sends the request, and tells the breaker. @param done called when the breaker has been told */
export async function checkRecovery(upstream: Upstream, done: (isAlive: boolean) => void): Promise<void> {
  const isAlive = await isAnswering(upstream);
  const usualHeadMs = headTimeQuantileMs(upstream.headTimes, 0.5) ?? 0;
  probed(upstream.breaker, isAlive, upstream.clock.monotonicMs(), usualHeadMs);
  done(isAlive);
}

/** Many URLs failed: requests one that worked, and tells the breaker. @param opened called if the breaker opened */
export async function verify(upstream: Upstream, opened: () => void): Promise<void> {
  const isAlive = await isAnswering(upstream);
  if (verified(upstream.breaker, isAlive, upstream.clock.monotonicMs())) opened();
}

async function isAnswering(upstream: Upstream): Promise<boolean> {
  const { connections, clock, good, random, url, counts } = upstream;
  counts.probes += 1;
  // Any of them: the latest may have been removed.
  const request = good[Math.floor(random() * good.length)] ?? { path: url.pathname, headers: {} };
  const exchange = beginExchange(connections, { method: "HEAD", ...request, bodyTimeoutMs: probeTimeoutMs });
  const cancel = clock.after(probeTimeoutMs, () => {
    exchange.cancel(new Error(`no response within ${probeTimeoutMs} ms`));
  });
  try {
    dropBody(await exchange.head);
    return true;
  } catch {
    return false; // the next one comes after the breaker's wait
  } finally {
    cancel();
  }
}
