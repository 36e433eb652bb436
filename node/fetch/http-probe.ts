/**
 * One health probe over HTTP. It never throws: whatever goes wrong is a failed probe with its reason.
 *
 *   200                            ready      503 {"state":"draining", …}   draining      anything else   failed
 *
 * Once the asker knows a fleet secret, an answer counts only with a proof (health-proof.ts): of this probe, of this
 * status and body, and of the node that was asked. Anything else could come from any web server, from someone who took
 * over the node's address, or from a relay to another node: it is a failed probe, which says so. Before there is a
 * secret, the status alone counts.
 *
 * Attempts overlap while a node does not answer (node/health/consensus.ts). Each uses a connection of its own, so that
 * a stuck one holds up no other; connections are kept for a while, so that a probe measures the node and not the
 * handshake. An attempt at an address that already gets enough probes is held, which says nothing about the node
 * (probe-budget.ts). A node that answered with a flood is not probed for a while: it failed, and reading more of the
 * same would take this thread from everybody else.
 *
 * A node that serves HTTPS is probed there, too (probe-urls.ts). Each listener gets a new connection every few seconds:
 * one that was accepted before says nothing about it.
 */
import { isIP, type LookupFunction } from "node:net";
import { TLSSocket } from "node:tls";
import { LRUCache } from "lru-cache";
import { Agent, buildConnector } from "undici";
import type { Clock } from "#base/clock.ts";
import { systemReason } from "#base/system-reason.ts";
import type { SiteNode } from "#document/schema/sites.ts";
import type { Held, ProbeResult } from "#health/health.ts";
import { probePath } from "#health/prober.ts";
import { askField, createProofs, proofField } from "#health/health-proof.ts";
import { answerBytesMax, type HealthBody, readHealthBody } from "#health/health-answer.ts";
import { cutFlood } from "./cut-flood.ts";
import { openProbeAddresses } from "./probe-addresses.ts";
import { createProbeBudget } from "./probe-budget.ts";
import { openProbeUrls } from "./probe-urls.ts";
import { askSmall } from "./small-answer.ts";

/** The number of concurrent attempts at one node, and some that are about to end. */
const connectionsMax = 16;

/** The head of a node's answer has a few hundred. */
const headBytesMax = 4096;
/** A connection brings a few answers a second; this is more than any node sends. */
const floodBytes = 512 * 1024;

/** Between two connections to a node. */
const connectEveryMs = 10_000;
/** Without sessions: a resumed one has the certificate of the first handshake, also after its renewal. */
const probeTls = { rejectUnauthorized: false, allowH2: false, maxCachedSessions: 0 };
const certificatesMax = 20_000;

const floodRestMs = 30_000;
const floodsMax = 10_000;
/** More than asked for: of the body or anything else, or of the head. */
const floodCodes: ReadonlySet<string> = new Set(["BODY_TOO_LARGE", "UND_ERR_HEADERS_OVERFLOW"]);

export interface ProbeClient {
  probe: (node: Pick<SiteNode, "name" | "http">, timeoutMs: number) => Promise<ProbeResult | Held>;
  /** When the certificate expires that the node has shown; undefined: it was not probed over HTTPS. */
  certificateExpiryMs: (node: string) => number | undefined;
  close: () => Promise<void>;
}

/**
 * @param secrets the fleet secrets, the current one first; none: no proof is asked for
 * @param servername a name that clients use, for probes of HTTPS at an address
 */
export function openProbeClient(options: {
  secrets: () => readonly Uint8Array[];
  servername?: () => string | undefined;
  clock: Clock;
}): ProbeClient {
  const { secrets, servername = () => undefined, clock } = options;
  const proofs = createProofs(secrets);
  const addresses = openProbeAddresses(clock);
  const budget = createProbeBudget();
  /** Until when each node is not probed, and why it failed. */
  const floods = new LRUCache<string, { untilMs: number; reason: string }>({ max: floodsMax });
  /** Connects to the address that was counted. */
  const lookup: LookupFunction = (hostname, { all }, callback) => {
    const address = addresses.last(hostname);
    if (address === undefined) callback(new Error(`${hostname} has no address`), "");
    else if (all === true) callback(null, [{ address, family: isIP(address) }]);
    else callback(null, address, isIP(address));
  };
  // No wait for a handshake whose packets were lost; the next one is a fresh chance. The proof tells who answers: the
  // certificate is not verified: it may be for names that only clients use.
  const connect = buildConnector({ timeout: 1000, lookup, ...probeTls });
  /** Of each origin: the last connection, and when the certificate expires that it showed. */
  const connects = new LRUCache<string, { atMs: number; expiresMs: number }>({ max: certificatesMax });
  const expiries = new LRUCache<string, number>({ max: certificatesMax });
  const noteConnect = (origin: string, socket: object): void => {
    // Absent if the certificate can't be read.
    const { valid_to: text } = (socket instanceof TLSSocket ? socket.getPeerCertificate() : {}) as {
      valid_to?: string;
    };
    connects.set(origin, { atMs: clock.monotonicMs(), expiresMs: Date.parse(text ?? "") });
  };
  const noteExpiry = (name: string, origin: string): void => {
    const expiresMs = connects.get(origin)?.expiresMs;
    if (expiresMs !== undefined && Number.isFinite(expiresMs)) expiries.set(name, expiresMs);
    else expiries.delete(name);
  };
  /** An address has no server name (RFC 6066 §3): a name of the fleet gets the certificate that clients get. */
  const servernameFor = (hostname: string): { servername?: string } => {
    const name = isIP(hostname.replace(/^\[|\]$/g, "")) === 0 ? undefined : servername();
    return name === undefined ? {} : { servername: name };
  };
  const isConnectDue = (origin: string): boolean =>
    clock.monotonicMs() - (connects.get(origin)?.atMs ?? Infinity) >= connectEveryMs;
  const agent = new Agent({
    connections: connectionsMax,
    pipelining: 1,
    connect(place, callback) {
      connect(place, (...connected) => {
        const [error, socket] = connected;
        if (error === null && socket !== null) {
          cutFlood(socket, floodBytes, clock);
          noteConnect(`${place.protocol}//${place.host}`, socket);
        }
        callback(...connected);
      });
    },
    maxHeaderSize: headBytesMax,
    keepAliveTimeout: 10_000,
  });
  return {
    probe: openProbeUrls(probeAt, clock),
    certificateExpiryMs: (node) => expiries.get(node),
    close: () => agent.destroy(),
  };

  async function probeAt(http: string, name: string, timeoutMs: number): Promise<ProbeResult | Held> {
    let ended = (): void => undefined;
    const flood = floods.get(http);
    if (flood !== undefined && clock.monotonicMs() < flood.untilMs) return { outcome: "failed", reason: flood.reason };
    try {
      const { origin, pathname, hostname, protocol } = new URL(probePath, http);
      const isSecure = protocol === "https:";
      const admission = budget.admit(await addresses.of(hostname, timeoutMs), name, clock.monotonicMs());
      if (admission.outcome === "held") return admission;
      ({ ended } = admission);
      const ask = proofs.ask();
      const { statusCode, headers, body } = await askSmall(
        agent,
        {
          origin,
          path: pathname,
          ...(isSecure ? servernameFor(hostname) : {}),
          ...(ask === undefined ? {} : { headers: { [askField]: ask.field } }),
          reset: admission.isCrowded || isConnectDue(origin),
        },
        answerBytesMax,
        AbortSignal.timeout(timeoutMs),
      );
      if (statusCode !== 200 && statusCode !== 503) return { outcome: "failed", reason: `status ${statusCode}` };
      if (ask === undefined) {
        const { state } = readHealthBody(body.toString());
        return resultOf(statusCode, { state });
      }
      const proof = headers[proofField];
      if (proof === undefined) return unproven("answers without proof");
      // Nothing of an answer is read before it is known to be from a node of the fleet.
      if (!(typeof proof === "string" && proofs.isProven(ask, statusCode, body, proof))) {
        return unproven("answers with a wrong proof");
      }
      if (isSecure) noteExpiry(name, origin);
      const said = readHealthBody(body.toString());
      if (said.node !== name) {
        return unproven(`answers with the proof of another node, ${String(said.node)}`);
      }
      return resultOf(statusCode, said);
    } catch (error) {
      const { code = "", name: kind } = error as { code?: string; name: string };
      const isFlood = floodCodes.has(code);
      const reason = isFlood
        ? "sends far more than an answer"
        : kind === "TimeoutError"
          ? `no answer within ${timeoutMs} ms`
          : systemReason(error);
      if (isFlood) floods.set(http, { untilMs: clock.monotonicMs() + floodRestMs, reason });
      return { outcome: "failed", reason };
    } finally {
      ended();
    }
  }
}

function resultOf(status: 200 | 503, { state, answer }: Partial<HealthBody>): ProbeResult {
  const said = answer === undefined ? {} : { answer };
  if (status === 200) return { outcome: "ready", ...said };
  if (state === "draining") return { outcome: "draining", ...said };
  return { outcome: "failed", reason: state === "starting" ? "starting" : `status ${status}` };
}

function unproven(reason: string): ProbeResult {
  return { outcome: "failed", reason, isUnproven: true };
}
