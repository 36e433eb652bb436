/**
 * The URL at which a node is probed, which is where it serves clients. A node that serves HTTPS names that URL in its
 * health answer, since the fleet document has only the URL for HTTP.
 *
 *   no other URL known ─▶ `http` of the document ─ answer names no other URL ─▶ that is the result
 *                                                └ it names one ─▶ remembered, and probed at once
 *   one is known ─▶ that one ─ answers ─▶ the result
 *                              └ fails ─▶ failed; the next probe begins with `http`, so that a node whose HTTPS was
 *                                         moved or turned off is found again
 *
 * So a node whose HTTPS is dead is down, even if its HTTP answers. Nodes of earlier releases name no URL.
 */
import { LRUCache } from "lru-cache";
import type { Clock } from "#base/clock.ts";
import type { SiteNode } from "#document/schema/sites.ts";
import type { Held, ProbeResult } from "#health/health.ts";

/** As many as a fleet has nodes. */
const nodesMax = 20_000;

type Probed = Pick<SiteNode, "name" | "http">;

/** @param probeAt probes a node at a base URL */
export function openProbeUrls(
  probeAt: (url: string, name: string, timeoutMs: number) => Promise<ProbeResult | Held>,
  clock: Clock,
): (node: Probed, timeoutMs: number) => Promise<ProbeResult | Held> {
  const named = new LRUCache<string, { url: string; hasFailed: boolean }>({ max: nodesMax });

  async function probeNamed(name: string, url: string, timeoutMs: number): Promise<ProbeResult | Held> {
    const result = await probeAt(url, name, timeoutMs);
    if (result.outcome === "held") return result;
    const hasFailed = result.outcome === "failed";
    named.set(name, { url, hasFailed });
    return hasFailed ? { ...result, reason: `${url}: ${result.reason}` } : result;
  }

  return async ({ name, http }, timeoutMs) => {
    const known = named.get(name);
    if (known !== undefined && !known.hasFailed) return await probeNamed(name, known.url, timeoutMs);
    const beganMs = clock.monotonicMs();
    const result = await probeAt(http, name, timeoutMs);
    if (result.outcome === "held" || result.outcome === "failed") return result;
    const url = result.answer?.probe;
    if (url === undefined) {
      named.delete(name);
      return result;
    }
    const leftMs = timeoutMs - (clock.monotonicMs() - beganMs);
    return await probeNamed(name, url, Math.max(1, Math.ceil(leftMs)));
  };
}
