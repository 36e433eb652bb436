/**
 * The edge's side of the origin's API: sources, the fleet document, the fleet secret, the roster, the feed, the token.
 *
 * Sources are for clients: they are many and large, and go through upstream/ with its limits per client network. All
 * else is small and has connections of its own, so that it never waits behind sources.
 *
 * What comes back is checked before anyone uses it: a source's bytes must have the SHA-256 that its ETag names.
 */
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import { type Dispatcher, Pool } from "undici";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { parseForeignJson } from "#base/foreign-json.ts";
import { fewInterimResponses } from "#base/interim-responses.ts";
import type { Random } from "#base/random.ts";
import { check } from "#base/schema.ts";
import { type EdgeTokenAnswer, edgeTokenSchema } from "#secret/edge-token.ts";
import { fleetBytesMax } from "#document/read-document.ts";
import { type Roster, rosterNodesMax, rosterSchema } from "#document/roster.ts";
import { type FleetSecrets, fleetSecretsSchema } from "#secret/fleet-secret.ts";
import { attempt } from "./attempt.ts";
import { dropBody } from "./body.ts";
import { failureMsDefault, rememberFailure } from "./failing-urls.ts";
import { originFailure } from "./origin-failure.ts";
import type { PictureFacts } from "#base/picture-facts.ts";
import { readPictureFields } from "#base/picture-facts.ts";
import { connectTimeoutMs } from "./upstream/connect.ts";
import { request } from "./upstream/request.ts";
import { closeUpstream, openUpstream, statsOf, type UpstreamStats } from "./upstream/upstream.ts";
import type { TokenSource } from "./token-file.ts";
import { createTokenStanding, type TokenStanding } from "./token-standing.ts";

const apiPath = "/api/v1";
/** For all that is small: the fleet document, the fleet secret, the roster, the beginning of the feed. */
const smallTimeoutMs = 5000;
/** A fleet document in JSON, where each line's end, quote and backslash takes two bytes. */
const fleetAnswerBytesMax = 4 * fleetBytesMax;
const secretBytesMax = 4096;
/** A node with one address takes some 150 bytes, one with all that it may have ten times as many. */
const rosterBytesMax = rosterNodesMax * 512;
/** For all that is small: the feed holds one, the channel and the questions of a start need a few. */
const smallConnectionsMax = 8;

export type SourceAnswer =
  /** The name now means one of the versions that the asker knows: no bytes were sent. */
  | { outcome: "known"; sha256: string; picture?: PictureFacts }
  | { outcome: "found"; sha256: string; body: Buffer; picture?: PictureFacts }
  | { outcome: "absent"; status: 404 | 410 };

export interface SourceWish {
  bytesMax: number;
  timeoutMs: number;
  client: string;
  failureMs?: number;
  signal?: AbortSignal;
}

export interface OriginClient {
  /**
   * What does this name mean now? One conditional request answers it: unchanged, rolled back or replaced.
   *
   * @param name the source's name, without leading slash
   * @param known hashes of the versions that need not be sent again (RFC 9110 §13.1.2: a list is allowed)
   * @param wish `timeoutMs`: for waiting, connecting, retries and the whole body together; `client`: the network of the
   *   client it is for; `failureMs`: how long a failure is given to all who ask for the name (default: 1 s); `signal`:
   *   nobody needs it any more
   * @throws NearcastError ORIGIN_*, BODY_TOO_LARGE past `bytesMax`, or the reason of `signal`
   */
  source: (name: string, known: readonly string[], wish: SourceWish) => Promise<SourceAnswer>;
  fleet: () => Promise<{ version: number; text: string }>;
  /** Null: the origin is of a release that has none. */
  secrets: () => Promise<FleetSecrets | null>;
  /** Null: the origin is of a release that has none. */
  roster: () => Promise<Roster | null>;
  /** Which edge token to use from now on. Null: the origin is of a release that hands out none. */
  nextToken: () => Promise<EdgeTokenAnswer | null>;
  /** The feed's bytes from after `since` (null: from now on) until `signal` ends it. Its follower retries. */
  feed: (since: number | null, signal: AbortSignal) => Promise<Readable>;
  /**
   * Tells the origin something (node/follow/channel): one attempt.
   * @param path below `/channel/`
   * @returns the status
   */
  tell: (path: string, fields: Readonly<Record<string, string>>, json: string) => Promise<number>;
  counts: () => { sources: number; sourceBodies: number; failures: number };
  /** Since when the origin refuses the token that was presented; null: it does not. */
  tokenRefusal: TokenStanding["refusal"];
  tokenComplaint: TokenStanding["complaint"];
  isBroken: () => boolean;
  /** Of the requests for sources. */
  upstream: () => UpstreamStats;
  close: () => Promise<void>;
}

export function openOriginClient(options: {
  url: string;
  token: TokenSource;
  clock: Clock;
  random: Random;
  /** The origin begins to refuse the token: tokenComplaint() says what to do. */
  onTokenRefused?: () => void;
}): OriginClient {
  const base = new URL(options.url);
  const { clock, random } = options;
  // The operator of this edge chose the origin, so it may be anywhere.
  const upstream = openUpstream(base.origin, { policy: { kind: "any" }, clock, random });
  const small = new Pool(base.origin, {
    connections: smallConnectionsMax,
    connect: { timeout: connectTimeoutMs },
    allowH2: false,
    // Each request has one deadline for all of it (attempt.ts); a second clock here would end it with another number.
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 30_000,
  });
  const { token } = options;
  const standing = createTokenStanding(clock, options.onTokenRefused ?? (() => undefined));
  const counts = { sources: 0, sourceBodies: 0, failures: 0 };
  const prefix = base.pathname.replace(/\/$/, "") + apiPath;
  const settings = { clock, random, name: base.host, timeoutMs: smallTimeoutMs };

  async function counted<Result>(work: Promise<Result>): Promise<Result> {
    try {
      return await work;
    } catch (error) {
      counts.failures += 1;
      throw error;
    }
  }

  /**
   * One request with the token of this moment; with another one again, when the first is refused and there is another.
   * @param what is asked for, in words
   * @param ask sends it with these fields
   * @throws NearcastError ORIGIN_REFUSED
   */
  async function withToken(
    what: string,
    ask: (authorization: { authorization: string }) => Promise<Dispatcher.ResponseData>,
  ): Promise<Dispatcher.ResponseData> {
    for (let isLast = false; ; isLast = true) {
      const presented = token.current();
      const answer = await ask({ authorization: `Bearer ${presented}` });
      const { statusCode } = answer;
      if (!isTokenRefused(answer)) {
        standing.answered(what);
        return answer;
      }
      dropBody(answer);
      if (!isLast && (await token.refused(presented))) continue;
      standing.refused(presented, what, statusCode);
      throw new NearcastError("ORIGIN_REFUSED", `the origin answered status ${statusCode} to a request for ${what}`, {
        facts: { originStatus: statusCode },
      });
    }
  }

  async function send(
    what: string,
    wanted: Omit<Dispatcher.RequestOptions, "method" | "headers"> & { method?: "POST"; headers?: object },
  ): Promise<Dispatcher.ResponseData> {
    return await withToken(what, async (authorization) => {
      const headers = { ...wanted.headers, ...authorization };
      return await small.request({ method: "GET", ...wanted, headers, onInfo: fewInterimResponses() });
    });
  }

  async function source(name: string, known: readonly string[], wish: SourceWish): Promise<SourceAnswer> {
    const { bytesMax, timeoutMs, client, failureMs = failureMsDefault } = wish;
    const condition = known.length === 0 ? {} : { "if-none-match": known.map((hash) => `"${hash}"`).join(", ") };
    const deadline = new AbortController();
    const late = new NearcastError("ORIGIN_TIMEOUT", `${base.host}: no whole response within ${timeoutMs} ms`);
    const cancel = clock.after(timeoutMs, () => {
      deadline.abort(late);
    });
    const signal = wish.signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, wish.signal]);
    try {
      const answer = await withToken("a source", async (authorization) => {
        return await request(upstream, {
          method: "GET",
          url: name,
          path: `${prefix}/images/${name.split("/").map(encodeURIComponent).join("/")}`,
          headers: { ...condition, ...authorization },
          probeHeaders: authorization,
          network: client,
          timeoutMs,
          bodyTimeoutMs: timeoutMs,
          failureMs,
          isHedged: true,
          signal,
        });
      });
      return await readSource(answer, bytesMax);
    } catch (thrown) {
      if (wish.signal?.aborted === true) throw thrown;
      const error = originFailure(deadline.signal.aborted ? late : thrown, base.host);
      // A response that makes no sense, such as a status 500: the others who ask for it get the same for a moment.
      if (failureMs > 0 && (error.code === "ORIGIN_BAD_ANSWER" || error === late)) {
        rememberFailure(upstream.failing, base.origin, name, error, clock.monotonicMs() + failureMs);
      }
      throw error;
    } finally {
      cancel();
    }
  }

  return {
    async source(name, known, wish) {
      counts.sources += 1;
      const answer = await counted(source(name, known, wish));
      if (answer.outcome === "found") counts.sourceBodies += 1;
      return answer;
    },
    fleet: () =>
      counted(
        attempt(settings, async (signal) => {
          const answer = await send("the fleet document", { path: `${prefix}/fleet`, signal });
          const bytes = await readBody(answer, fleetAnswerBytesMax);
          if (answer.statusCode !== 200) throw badAnswer("the fleet document", answer.statusCode);
          const { version, text } = parseObject(bytes);
          if (!Number.isSafeInteger(version) || typeof text !== "string") throw badAnswer("the fleet document", 200);
          return { version: version as number, text };
        }),
      ),
    secrets: () =>
      counted(
        attempt(settings, async (signal) => {
          const answer = await send("the fleet secret", { path: `${prefix}/fleet/secret`, signal });
          const bytes = await readBody(answer, secretBytesMax);
          if (answer.statusCode === 404) return null;
          if (answer.statusCode !== 200) throw badAnswer("the fleet secret", answer.statusCode);
          const { current, previous } = parseObject(bytes);
          const checked = check(fleetSecretsSchema, { current, ...(previous === undefined ? {} : { previous }) });
          // What is wrong with it would say what it is.
          if (!checked.ok) throw badAnswer("the fleet secret", 200);
          return checked.value;
        }),
      ),
    roster: () =>
      counted(
        attempt(settings, async (signal) => {
          const answer = await send("the roster", { path: `${prefix}/nodes`, signal });
          const bytes = await readBody(answer, rosterBytesMax);
          if (answer.statusCode === 404) return null;
          if (answer.statusCode !== 200) throw badAnswer("the roster", answer.statusCode);
          const { revision, nodes, draining } = parseObject(bytes);
          // What else a later origin may say is left out; what this release must know has to be right.
          const checked = check(rosterSchema, { revision, nodes, draining });
          if (!checked.ok) throw badAnswer("the roster", 200);
          return checked.value;
        }),
      ),
    nextToken: () =>
      counted(
        attempt(settings, async (signal) => {
          const answer = await send("the edge token", { path: `${prefix}/tokens/edge/current`, signal });
          const bytes = await readBody(answer, secretBytesMax);
          if (answer.statusCode === 404) return null;
          if (answer.statusCode !== 200) throw badAnswer("the edge token", answer.statusCode);
          const { id, token: next, olderUntil } = parseObject(bytes);
          const checked = check(edgeTokenSchema, {
            id,
            ...(next === undefined ? {} : { token: next }),
            ...(olderUntil === undefined ? {} : { olderUntil }),
          });
          // What is wrong with it could say what it is.
          if (!checked.ok) throw badAnswer("the edge token", 200);
          return checked.value;
        }),
      ),
    async feed(since, signal) {
      const answer = await send("the feed", {
        path: `${prefix}/feed${since === null ? "" : `?since=${since}`}`,
        headers: { accept: "text/event-stream" },
        signal, // the follower's, who ends it when nothing is heard: a second clock here would do so in other words
      });
      if (answer.statusCode === 200) return answer.body;
      dropBody(answer);
      throw badAnswer("the feed", answer.statusCode);
    },
    async tell(path, fields, json) {
      const answer = await send("the channel", {
        path: `${prefix}/channel/${path}`,
        method: "POST",
        headers: { ...fields, "content-type": "application/json" },
        body: json,
        signal: AbortSignal.timeout(smallTimeoutMs),
      });
      dropBody(answer);
      return answer.statusCode;
    },
    counts: () => ({ ...counts }),
    tokenRefusal: standing.refusal,
    tokenComplaint: standing.complaint,
    isBroken: () => upstream.breaker.phase !== "closed",
    upstream: () => statsOf(upstream),
    async close() {
      closeUpstream(upstream);
      await small.destroy();
    },
  };
}

/** RFC 6750 §3: whoever refuses a token says so in this field; a 403 without it is about something else. */
function isTokenRefused({ statusCode, headers }: Dispatcher.ResponseData): boolean {
  return statusCode === 401 || (statusCode === 403 && headers["www-authenticate"] !== undefined);
}

async function readSource(answer: Dispatcher.ResponseData, bytesMax: number): Promise<SourceAnswer> {
  const { statusCode } = answer;
  const sha256 = /^"([0-9a-f]{64})"$/.exec(String(answer.headers["etag"]))?.[1];
  const picture = readPictureFields(answer.headers);
  const about = picture === undefined ? {} : { picture };
  if (statusCode === 200 && sha256 !== undefined) {
    const body = await readBody(answer, bytesMax);
    if (createHash("sha256").update(body).digest("hex") === sha256) return { outcome: "found", sha256, body, ...about };
    throw new NearcastError("ORIGIN_BAD_ANSWER", "the bytes of a source do not match the checksum in its ETag");
  }
  dropBody(answer);
  if (statusCode === 304 && sha256 !== undefined) return { outcome: "known", sha256, ...about };
  if (statusCode === 404 || statusCode === 410) return { outcome: "absent", status: statusCode };
  throw badAnswer("a source", statusCode);
}

type Answered = Readonly<
  Partial<
    Record<
      "version" | "text" | "current" | "previous" | "revision" | "nodes" | "draining" | "id" | "token" | "olderUntil",
      unknown
    >
  >
>;

/** The members, unchecked; none where the bytes are no JSON object. */
function parseObject(bytes: Buffer): Answered {
  try {
    return (parseForeignJson(bytes.toString()) as Answered | null) ?? {};
  } catch {
    return {};
  }
}

/** The whole body, or BODY_TOO_LARGE as soon as it is known to pass the bound. */
export async function readBody(answer: Dispatcher.ResponseData, bytesMax: number): Promise<Buffer> {
  const tooLarge = (): NearcastError =>
    new NearcastError("BODY_TOO_LARGE", `the origin's answer is larger than ${bytesMax} bytes`);
  const announced = Number(answer.headers["content-length"] ?? 0);
  if (announced > bytesMax) {
    dropBody(answer);
    throw tooLarge();
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bytesMax) {
      dropBody(answer);
      throw tooLarge();
    }
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, length);
}

function badAnswer(what: string, status: number): NearcastError {
  return new NearcastError("ORIGIN_BAD_ANSWER", `the origin answered status ${status} to a request for ${what}`, {
    facts: { originStatus: status },
  });
}
