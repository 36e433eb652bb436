/**
 * One request to the HTTP origin behind an `assets` host: headers now, body as it comes.
 *
 * Only headers of an allow-list travel there, so that no client can make the origin say something special that the
 * cache would then tell everyone. Connections are kept per origin.
 */
import { Agent, type Dispatcher } from "undici";
import type { Clock } from "#base/clock.ts";
import { fewInterimResponses } from "#base/interim-responses.ts";
import type { Random } from "#base/random.ts";
import { LRUCache } from "lru-cache";
import { attempt, connectTimeoutMs } from "./attempt.ts";
import { type Breaker, createBreaker } from "./breaker.ts";

/** What a client may say to the origin through the cache. `authorization` travels only on requests that bypass it. */
export const forwardedFields: readonly string[] = ["accept", "accept-encoding", "accept-language", "user-agent"];
/** Origins in all; a breaker that is forgotten starts closed. */
const breakersMax = 10_000;
const connectionsPerOrigin = 64;

export type RequestFields = Readonly<Record<string, string | string[] | undefined>>;

export interface AssetFetcher {
  /**
   * @param target path and query as the client wrote them
   * @param extra fields beside the allow-list, such as conditions
   * @throws NearcastError ORIGIN_UNREACHABLE, ORIGIN_TIMEOUT; reading the body fails when it is silent for `timeoutMs`
   */
  fetch: (order: {
    origin: string;
    method: "GET" | "HEAD";
    target: string;
    clientFields: RequestFields;
    extra: Readonly<Record<string, string>>;
    timeoutMs: number;
  }) => Promise<Dispatcher.ResponseData>;
  counts: () => { fetches: number; failures: number };
  close: () => Promise<void>;
}

export function openAssetFetcher(options: { node: string; clock: Clock; random: Random }): AssetFetcher {
  const agent = new Agent({
    connections: connectionsPerOrigin,
    connect: { timeout: connectTimeoutMs },
    headersTimeout: 0, // attempt.ts has the one deadline until then
  });
  const breakers = new LRUCache<string, Breaker>({ max: breakersMax });
  const counts = { fetches: 0, failures: 0 };
  return {
    async fetch({ origin, method, target, clientFields, extra, timeoutMs }) {
      let breaker = breakers.get(origin);
      if (breaker === undefined) {
        breaker = createBreaker(options.clock);
        breakers.set(origin, breaker);
      }
      const headers: Record<string, string> = { via: `1.1 ${options.node}`, "cdn-loop": "nearcast" };
      for (const name of forwardedFields) {
        const value = fieldOf(clientFields, name);
        // Without the field an origin may choose any coding, and the answer is shared with those who accept none.
        if (name === "accept-encoding") headers[name] = codingsOf(value ?? "");
        else if (value !== undefined) headers[name] = value;
      }
      const loop = fieldOf(clientFields, "cdn-loop");
      if (loop !== undefined) headers["cdn-loop"] = `${loop}, nearcast`; // RFC 8586
      const url = new URL(origin);
      counts.fetches += 1;
      try {
        return await attempt({ breaker, clock: options.clock, random: options.random, timeoutMs }, async (signal) => {
          // The deadline ends with the headers; a body that is silent for as long is cut, a long one goes on.
          const untilHeaders = new AbortController();
          const abort = (): void => {
            untilHeaders.abort(signal.reason);
          };
          signal.addEventListener("abort", abort, { once: true });
          try {
            return await agent.request({
              origin: url.origin,
              path: url.pathname.replace(/\/$/, "") + target,
              method,
              headers: { ...headers, ...extra },
              bodyTimeout: timeoutMs,
              signal: untilHeaders.signal,
              onInfo: fewInterimResponses(),
            });
          } finally {
            signal.removeEventListener("abort", abort);
          }
        });
      } catch (error) {
        counts.failures += 1;
        throw error;
      }
    },
    counts: () => ({ ...counts }),
    close: () => agent.destroy(),
  };
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
