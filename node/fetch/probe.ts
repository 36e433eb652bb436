/** One health probe over HTTP. It never throws: whatever goes wrong is a failed probe with its reason. */
import { Agent } from "undici";
import type { ProbeResult } from "#fleet/health.ts";
import { readBody } from "./origin.ts";

/** A node's health is a line of JSON. */
const answerBytesMax = 4096;

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
        const text = (await readBody(answer, answerBytesMax)).toString();
        if (answer.statusCode === 200) return { outcome: "ready" };
        if (answer.statusCode === 503 && text.includes('"draining"')) return { outcome: "draining" };
        return { outcome: "failed", reason: `status ${answer.statusCode}` };
      } catch (error) {
        const { code, name, message } = error as { code?: string; name: string; message: string };
        return { outcome: "failed", reason: name === "TimeoutError" ? "timeout" : (code ?? message) };
      }
    },
    close: () => agent.destroy(),
  };
}
