/**
 * Requests to the HTTP origins behind `assets` hosts: headers now, body as it arrives. Each origin has its own
 * connections, limits and breaker (upstream/).
 *
 * Only headers on an allow-list are sent, so that no client can make the origin send a special response that the cache
 * would then serve to everyone.
 */
import { LRUCache } from "lru-cache";
import type { Dispatcher } from "undici";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { dropBody } from "./body.ts";
import { createFailingUrls, failureMsDefault, rememberFailure } from "./failing-urls.ts";
import { faultOf } from "./response-faults.ts";
import { publicExcept } from "./upstream/addresses.ts";
import { createReadTurns } from "./upstream/read-turns.ts";
import { refuseFailing, request } from "./upstream/request.ts";
import { closeUpstream, openUpstream, statsOf, type Upstream, type UpstreamStats } from "./upstream/upstream.ts";

/** What a client may tell the origin through the cache. `authorization` is sent only with requests that bypass it. */
export const forwardedFields: readonly string[] = ["accept", "accept-encoding", "accept-language", "user-agent"];
/** Request fields that a probe of the origin repeats: none of them is a client's. */
const probeFields = ["via", "cdn-loop", "x-forwarded-host"] as const;
/** Origins whose connections and breakers are kept; more than a fleet document has hosts. */
const upstreamsMax = 10_000;

export type RequestFields = Readonly<Record<string, string | string[] | undefined>>;

export interface AssetRequest {
  origin: string;
  method: "GET" | "HEAD";
  /** Path and query as the client wrote them. */
  target: string;
  clientFields: RequestFields;
  /** Fields in addition to the allow-list, such as conditions, Range and If-Range. */
  extra: Readonly<Record<string, string>>;
  /** The time until the head has arrived; also for each silence of the origin in the body. */
  timeoutMs: number;
  /** The network of the client that the request is for (base/client-network.ts). */
  client: string;
  /** How long a failure of the URL is given to all who ask for it, instead of asking again (default: 1 s). */
  failureMs?: number;
  /** False: never send a second request when the first is late (default: true). */
  isHedged?: boolean;
  /** Aborted when nobody needs the response any more: frees its place and connection at once. */
  signal?: AbortSignal;
}

export interface AssetFetcher {
  /**
   * One request; redirects are not followed.
   * @returns the head; the body holds a connection until it is read or given up (body.ts)
   * @throws NearcastError ORIGIN_*, or the reason of `signal`; reading the body fails when the origin is silent for
   *   `timeoutMs`
   */
  fetch: (order: AssetRequest) => Promise<Dispatcher.ResponseData>;
  counts: () => { fetches: number; failures: number };
  /** Figures for each origin that has had a request. */
  upstreams: () => UpstreamStats[];
  close: () => Promise<void>;
}

/** @param options `privateNetworks`: prefixes of non-public addresses that origins may have */
export function openAssetFetcher(options: {
  node: string;
  privateNetworks: readonly string[];
  clock: Clock;
  random: Random;
}): AssetFetcher {
  const { node, clock, random } = options;
  const policy = publicExcept(options.privateNetworks);
  const failing = createFailingUrls<NearcastError>();
  const turns = createReadTurns(clock);
  const upstreams = new LRUCache<string, Upstream>({ max: upstreamsMax, dispose: closeUpstream });
  const counts = { fetches: 0, failures: 0 };

  function upstreamOf(origin: string): Upstream {
    const known = upstreams.get(origin);
    if (known !== undefined) return known;
    const upstream = openUpstream(origin, { policy, clock, random, failing, turns });
    upstreams.set(origin, upstream);
    return upstream;
  }

  return {
    async fetch(order) {
      const { origin, method, target, clientFields, extra, timeoutMs, client, signal } = order;
      const { pathname, origin: base } = new URL(origin);
      const headers = { ...headersOf(clientFields, node), ...extra };
      const url = `${method} ${headers["x-forwarded-host"] ?? ""} ${target}`;
      const failureMs = order.failureMs ?? failureMsDefault;
      const upstream = upstreamOf(base);
      refuseFailing(upstream, url);
      counts.fetches += 1;
      try {
        const head = await request(upstream, {
          method,
          url,
          path: pathname.replace(/\/$/, "") + target,
          headers,
          probeHeaders: Object.fromEntries(
            probeFields.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])),
          ),
          network: client,
          timeoutMs,
          bodyTimeoutMs: timeoutMs,
          failureMs,
          isHedged: order.isHedged ?? true,
          signal,
        });
        const fault = faultOf(head.statusCode, head.headers, { isRange: extra["range"] !== undefined });
        if (fault === undefined) return head;
        dropBody(head);
        const error = new NearcastError("ORIGIN_BAD_ANSWER", `${base} answered with ${fault}`);
        if (failureMs > 0) rememberFailure(failing, base, url, error, clock.monotonicMs() + failureMs);
        throw error;
      } catch (error) {
        counts.failures += 1;
        throw error;
      }
    },
    counts: () => ({ ...counts }),
    upstreams: () => [...upstreams.values()].map(statsOf),
    async close() {
      upstreams.clear();
    },
  };
}

/** The client's fields that the origin gets, and those that every request has. */
function headersOf(clientFields: RequestFields, node: string): Record<string, string> {
  const headers: Record<string, string> = { via: `1.1 ${node}`, "cdn-loop": "nearcast" };
  for (const name of forwardedFields) {
    const value = fieldOf(clientFields, name);
    // Without the field, an origin may choose any coding, but the response is shared with clients that accept none.
    if (name === "accept-encoding") headers[name] = codingsOf(value ?? "");
    else if (value !== undefined) headers[name] = value;
  }
  const loop = fieldOf(clientFields, "cdn-loop");
  if (loop !== undefined) headers["cdn-loop"] = `${loop}, nearcast`; // RFC 8586
  return headers;
}

/** A field's value as one line; several are joined as RFC 9110 §5.3 allows. */
export function fieldOf(fields: RequestFields, name: string): string | undefined {
  const value = fields[name];
  return Array.isArray(value) ? value.join(", ") : value;
}

/**
 * Accept-Encoding reduced to the codings that matter, in one order: an origin that varies by it then makes at most
 * eight variants, whatever clients write.
 */
export function codingsOf(acceptEncoding: string): string {
  const accepted = new Set(
    acceptEncoding
      .toLowerCase()
      .split(",", 32)
      .filter((member) => !/;\s*q\s*=\s*0(?:\.0*)?\s*$/.test(member))
      .map((member) => member.split(";", 1)[0]?.trim()),
  );
  const known = ["br", "gzip", "zstd"].filter((coding) => accepted.has(coding));
  return known.length === 0 ? "identity" : known.join(", ");
}
