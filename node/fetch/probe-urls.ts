/**
 * At which URL a node is probed: where its clients are served. A node that serves HTTPS names that URL in its health
 * answer, since the fleet document has only the URL of HTTP. Its clients use both, so both are probed, in turn.
 *
 *   no other URL known ─▶ `http` of the document ─ answer names no other URL ─▶ that is the result
 *                                                └ it names one ─▶ remembered, and probed at once
 *   one is known ─▶ that one and `http` in turn ─ answers ─▶ the result
 *                              └ fails ─▶ failed; each probe goes to the one that failed, until it answers. If that
 *                                         is the named one, a probe begins with `http`, so that a node whose HTTPS
 *                                         was moved or turned off is found again
 *
 * So a node of which either is dead is not up, although the other answers, and probes are no more than with one URL.
 * Nodes of earlier releases name no URL.
 */
import { LRUCache } from "lru-cache";
import type { Clock } from "#base/clock.ts";
import type { SiteNode } from "#document/schema/sites.ts";
import type { Held, ProbeResult } from "#health/health.ts";

/** As many as a fleet has nodes. */
const nodesMax = 20_000;

type Probed = Pick<SiteNode, "name" | "http">;

interface Named {
  readonly url: string;
  /** Which of the two the next probe goes to: the other one, or the one that has failed. */
  readonly next: "named" | "http" | "http and then named";
}

/** @param probeAt probes a node at a base URL */
export function openProbeUrls(
  probeAt: (url: string, name: string, timeoutMs: number) => Promise<ProbeResult | Held>,
  clock: Clock,
): (node: Probed, timeoutMs: number) => Promise<ProbeResult | Held> {
  const named = new LRUCache<string, Named>({ max: nodesMax });

  async function probeNamed(name: string, url: string, timeoutMs: number): Promise<ProbeResult | Held> {
    const result = await probeAt(url, name, timeoutMs);
    if (result.outcome === "held") return result;
    const hasFailed = result.outcome === "failed";
    named.set(name, { url, next: hasFailed ? "http and then named" : "http" });
    return hasFailed ? { ...result, reason: `${url}: ${result.reason}` } : result;
  }

  return async ({ name, http }, timeoutMs) => {
    const known = named.get(name);
    if (known?.next === "named") return await probeNamed(name, known.url, timeoutMs);
    const beganMs = clock.monotonicMs();
    const result = await probeAt(http, name, timeoutMs);
    if (result.outcome === "held") return result;
    // Without another URL, the reason needs no URL.
    if (result.outcome === "failed")
      return known === undefined ? result : { ...result, reason: `${http}: ${result.reason}` };
    const url = result.answer?.probe;
    if (url === undefined) {
      named.delete(name);
      return result;
    }
    if (known?.next === "http" && known.url === url) {
      named.set(name, { url, next: "named" });
      return result;
    }
    const leftMs = timeoutMs - (clock.monotonicMs() - beganMs);
    return await probeNamed(name, url, Math.max(1, Math.ceil(leftMs)));
  };
}
