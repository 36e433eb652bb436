/**
 * One health probe over HTTP. It never throws: whatever goes wrong is a failed probe with its reason.
 *
 *   200                            ready      503 {"state":"draining", …}   draining      anything else   failed
 *   … {"requestsPerSecond": 12.3}  its load; left out when it is no number in 0 … loadMax
 *   … {"keptShare": 0.8}           its site's share; left out when it is no number in 0.05 … 1
 *
 * The status alone says ready: a node of a later version may word its answer otherwise.
 */
import { Agent } from "undici";
import { loadMax, type NodeWord, type ProbeResult } from "#fleet/health.ts";
import { keptLeast } from "#fleet/load.ts";
import { readBody } from "./origin.ts";

/** A node's health is a line of JSON. */
const answerBytesMax = 4096;

/** What a node says of itself, as far as it is well said. */
function readHealth(text: string): { state: unknown; word: NodeWord } {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch {
    // No JSON says nothing; the status is what counts.
  }
  const {
    state,
    requestsPerSecond: load,
    keptShare,
  }: Record<string, unknown> = typeof said === "object" && said !== null ? { ...said } : {};
  return {
    state,
    word: {
      ...(isWithin(load, 0, loadMax) ? { load } : {}),
      ...(isWithin(keptShare, keptLeast, 1) ? { keptShare } : {}),
    },
  };
}

function isWithin(value: unknown, least: number, most: number): value is number {
  return typeof value === "number" && value >= least && value <= most;
}

export interface ProbeClient {
  probe: (url: string, timeoutMs: number) => Promise<ProbeResult>;
  close: () => Promise<void>;
}

export function openProbeClient(): ProbeClient {
  // One connection per node; it is kept, so that a probe measures the node and not the handshake.
  const agent = new Agent({ connections: 1, pipelining: 1, connect: { timeout: 2000 }, keepAliveTimeout: 10_000 });
  return {
    async probe(url, timeoutMs) {
      const { origin, pathname } = new URL(url);
      try {
        const answer = await agent.request({
          origin,
          path: pathname,
          method: "GET",
          signal: AbortSignal.timeout(timeoutMs),
        });
        const { state, word } = readHealth((await readBody(answer, answerBytesMax)).toString());
        if (answer.statusCode === 200) return { outcome: "ready", ...word };
        if (answer.statusCode === 503 && state === "draining") return { outcome: "draining", ...word };
        return { outcome: "failed", reason: `status ${answer.statusCode}` };
      } catch (error) {
        const { code, name, message } = error as { code?: string; name: string; message: string };
        return { outcome: "failed", reason: name === "TimeoutError" ? "timeout" : (code ?? message) };
      }
    },
    close: () => agent.destroy(),
  };
}
