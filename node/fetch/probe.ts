/**
 * One health probe over HTTP. It never throws: whatever goes wrong is a failed probe with its reason.
 *
 *   200                            ready      503 {"state":"draining", …}   draining      anything else   failed
 *
 * The status alone says ready: a node of a later release may word its answer otherwise. The node's word is believed
 * when the answer proves that it knows the fleet secret and is the node that was asked (proof.ts); an answer without
 * proof, as from a release before it, counts by its status; one with a wrong proof is somebody else's, and a failed
 * probe.
 *
 * Attempts overlap while a node does not answer (fleet/consensus.ts). Each goes over a connection of its own, so that
 * one which is stuck holds up no other; they are kept for a while, so that a probe measures the node and not the
 * handshake.
 */
import { Agent } from "undici";
import type { SiteNode } from "#fleet/document.ts";
import type { ProbeResult } from "#fleet/health.ts";
import { probePath } from "#fleet/probe.ts";
import { askField, createProofs, proofField } from "#fleet/proof.ts";
import { answerBytesMax, readHealthAnswer } from "#fleet/word.ts";
import { readBody } from "./origin.ts";

/** As many attempts as may be under way at once, and some on their way out. */
const connectionsMax = 16;

export interface ProbeClient {
  probe: (node: Pick<SiteNode, "name" | "http">, timeoutMs: number) => Promise<ProbeResult>;
  close: () => Promise<void>;
}

/** @param secrets the fleet secrets, the current one first; none: no word is asked for */
export function openProbeClient({ secrets }: { secrets: () => readonly Uint8Array[] }): ProbeClient {
  const proofs = createProofs(secrets);
  const agent = new Agent({
    connections: connectionsMax,
    pipelining: 1,
    // A handshake whose packets were lost is not waited for; the next one is a fresh chance.
    connect: { timeout: 1000 },
    keepAliveTimeout: 10_000,
  });
  return {
    async probe({ name, http }, timeoutMs) {
      try {
        const { origin, pathname } = new URL(probePath, http);
        const ask = proofs.ask();
        const answer = await agent.request({
          origin,
          path: pathname,
          method: "GET",
          ...(ask === undefined ? {} : { headers: { [askField]: ask.field } }),
          signal: AbortSignal.timeout(timeoutMs),
        });
        const { statusCode, headers } = answer;
        const body = await readBody(answer, answerBytesMax);
        const proof = headers[proofField];
        const isSigned = ask !== undefined && proof !== undefined;
        if (isSigned && !(typeof proof === "string" && proofs.isProven(ask, statusCode, body, proof))) {
          return { outcome: "failed", reason: "its proof is wrong" };
        }
        const said = readHealthAnswer(body.toString());
        const word = isSigned && said.node === name && said.word !== undefined ? { word: said.word } : {};
        if (statusCode === 200) return { outcome: "ready", ...word };
        if (statusCode === 503 && said.state === "draining") return { outcome: "draining", ...word };
        return { outcome: "failed", reason: `status ${statusCode}` };
      } catch (error) {
        const { code, name: kind, message } = error as { code?: string; name: string; message: string };
        return { outcome: "failed", reason: kind === "TimeoutError" ? "timeout" : (code ?? message) };
      }
    },
    close: () => agent.destroy(),
  };
}
