/**
 * The edge's side of the origin's API: sources, the fleet document, the fleet secret, the roster, the feed, the token.
 *
 * Sources are for clients: they are many and large, and go through upstream/ with its limits per client network.
 * Everything else is small and has connections of its own, so that it never waits behind sources.
 *
 * Answers are checked before anyone uses them: a source's bytes must have the SHA-256 that its ETag names.
 */
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import { type Dispatcher, Pool } from "undici";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { fewInterimResponses } from "#base/interim-responses.ts";
import type { Random } from "#base/random.ts";
import type { EdgeTokenAnswer } from "#secret/edge-token.ts";
import type { Roster } from "#document/roster.ts";
import type { FleetSecrets } from "#secret/fleet-secret.ts";
import { attempt } from "./attempt.ts";
import { dropBody, readBody } from "./body.ts";
import { failureMsDefault, rememberFailure } from "./failing-urls.ts";
import { fleetAnswer, parseObject, rosterAnswer, secretsAnswer, type Small, tokenAnswer } from "./origin-answers.ts";
import { originFailure } from "./origin-failure.ts";
import type { PictureFacts } from "#base/picture-facts.ts";
import { readPictureFields } from "#base/picture-facts.ts";
import { connectTimeoutMs } from "./upstream/connect.ts";
import { refuseFailing, request } from "./upstream/request.ts";
import { closeUpstream, openUpstream, statsOf, type Upstream, type UpstreamStats } from "./upstream/upstream.ts";
import type { TokenSource } from "./token-file.ts";
import { createTokenStanding, type TokenStanding } from "./token-standing.ts";

const apiPath = "/api/v1";
/** For small requests: the fleet document, the fleet secret, the roster, the beginning of the feed. */
const smallTimeoutMs = 5000;
/** For small requests: the feed holds one connection, the channel and the requests of a start need a few. */
const smallConnectionsMax = 8;

export type SourceAnswer =
  /** The name means one of the versions that the asker knows: no bytes were sent. */
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
   *   client it is for; `failureMs`: for how long a failure is returned to all requests for the name (default: 1 s);
   *   `signal`: aborted when nobody needs it any more
   * @throws NearcastError ORIGIN_*, BODY_TOO_LARGE past `bytesMax`, or the reason of `signal`
   */
  source: (name: string, known: readonly string[], wish: SourceWish) => Promise<SourceAnswer>;
  fleet: () => Promise<{ version: number; text: string }>;
  /** Null: the origin runs a release that has none. */
  secrets: () => Promise<FleetSecrets | null>;
  /** Null: the origin runs a release that has none. */
  roster: () => Promise<Roster | null>;
  /** Which edge token to use from now on. Null: the origin runs a release that does not hand out tokens. */
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
  /** Figures of the requests for sources. */
  upstream: () => UpstreamStats;
  close: () => Promise<void>;
}

interface State {
  readonly base: URL;
  /** The prefix of the API's paths. */
  readonly prefix: string;
  /** For sources. */
  readonly upstream: Upstream;
  /** For everything else. */
  readonly small: Pool;
  readonly token: TokenSource;
  readonly standing: TokenStanding;
  readonly counts: { sources: number; sourceBodies: number; failures: number };
  readonly clock: Clock;
  readonly random: Random;
}

export function openOriginClient(options: {
  url: string;
  token: TokenSource;
  clock: Clock;
  random: Random;
  /** Called when the origin begins to refuse the token: tokenComplaint() says what to do. */
  onTokenRefused?: () => void;
}): OriginClient {
  const { clock, random, token, onTokenRefused = () => undefined } = options;
  const base = new URL(options.url);
  // The operator of this edge chose the origin, so it may be anywhere.
  const upstream = openUpstream(base.origin, { policy: { kind: "any" }, clock, random });
  const small = openSmall(base);
  const standing = createTokenStanding(clock, onTokenRefused);
  const counts = { sources: 0, sourceBodies: 0, failures: 0 };
  const prefix = base.pathname.replace(/\/$/, "") + apiPath;
  const state: State = { base, prefix, upstream, small, token, standing, counts, clock, random };
  return {
    async source(name, known, wish) {
      refuseFailing(upstream, name);
      counts.sources += 1;
      const answer = await counted(state, source(state, name, known, wish));
      if (answer.outcome === "found") counts.sourceBodies += 1;
      return answer;
    },
    fleet: () => fleet(state),
    secrets: () => askFor(state, secretsAnswer),
    roster: () => askFor(state, rosterAnswer),
    nextToken: () => askFor(state, tokenAnswer),
    feed: (since, signal) => feed(state, since, signal),
    tell: (path, fields, json) => tell(state, path, fields, json),
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

function openSmall(base: URL): Pool {
  return new Pool(base.origin, {
    connections: smallConnectionsMax,
    connect: { timeout: connectTimeoutMs },
    allowH2: false,
    // Each request has one overall deadline (attempt.ts); a second timer here would end it with another message.
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 30_000,
  });
}

async function counted<Result>({ counts }: State, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    counts.failures += 1;
    throw error;
  }
}

/**
 * Sends a request with the current token. If that is refused and another token has become available, tries once more.
 * @param what is requested, in words
 * @param ask sends the request with these fields
 * @throws NearcastError ORIGIN_REFUSED
 */
async function withToken(
  { token, standing }: State,
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
    throw new NearcastError(
      "ORIGIN_REFUSED",
      `the origin answered with status ${statusCode} to a request for ${what}`,
      {
        facts: { originStatus: statusCode },
      },
    );
  }
}

async function source(state: State, name: string, known: readonly string[], wish: SourceWish): Promise<SourceAnswer> {
  const { base, prefix, upstream, clock } = state;
  const { bytesMax, timeoutMs, client, failureMs = failureMsDefault } = wish;
  const condition = known.length === 0 ? {} : { "if-none-match": known.map((hash) => `"${hash}"`).join(", ") };
  const deadline = new AbortController();
  const late = new NearcastError("ORIGIN_TIMEOUT", `${base.host}: no complete response within ${timeoutMs} ms`);
  const cancel = clock.after(timeoutMs, () => {
    deadline.abort(late);
  });
  const signal = wish.signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, wish.signal]);
  try {
    const answer = await withToken(state, "a source", async (authorization) => {
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
    // An invalid response, such as a status 500: other requests for it get the same for a moment.
    if (failureMs > 0 && (error.code === "ORIGIN_BAD_ANSWER" || error === late)) {
      rememberFailure(upstream.failing, base.origin, name, error, clock.monotonicMs() + failureMs);
    }
    throw error;
  } finally {
    cancel();
  }
}

async function send(
  state: State,
  what: string,
  wanted: Omit<Dispatcher.RequestOptions, "method" | "headers"> & { method?: "POST"; headers?: object },
): Promise<Dispatcher.ResponseData> {
  return await withToken(state, what, async (authorization) => {
    const headers = { ...wanted.headers, ...authorization };
    return await state.small.request({ method: "GET", ...wanted, headers, onInfo: fewInterimResponses() });
  });
}

/** @returns null: the origin has none @throws NearcastError ORIGIN_* */
async function askFor<Result>(state: State, small: Small<Result>): Promise<Result | null> {
  const { clock, random, base } = state;
  const { what, path, bytesMax, isOptional, read } = small;
  const settings = { clock, random, name: base.host, timeoutMs: smallTimeoutMs };
  const asking = attempt(settings, async (signal) => {
    const answer = await send(state, what, { path: state.prefix + path, signal });
    const bytes = await readBody(answer, bytesMax);
    if (answer.statusCode === 404 && isOptional) return null;
    const result = answer.statusCode === 200 ? read(parseObject(bytes)) : undefined;
    // The message does not say what is wrong, because that could reveal a secret.
    if (result === undefined) throw badAnswer(what, answer.statusCode);
    return result;
  });
  return await counted(state, asking);
}

async function fleet(state: State): Promise<{ version: number; text: string }> {
  const answer = await askFor(state, fleetAnswer);
  if (answer === null) throw badAnswer(fleetAnswer.what, 404);
  return answer;
}

async function feed(state: State, since: number | null, signal: AbortSignal): Promise<Readable> {
  const answer = await send(state, "the feed", {
    path: `${state.prefix}/feed${since === null ? "" : `?since=${since}`}`,
    headers: { accept: "text/event-stream" },
    signal, // the follower's, who ends it when nothing is heard: a second clock here would do so in other words
  });
  if (answer.statusCode === 200) return answer.body;
  dropBody(answer);
  throw badAnswer("the feed", answer.statusCode);
}

async function tell(
  state: State,
  path: string,
  fields: Readonly<Record<string, string>>,
  json: string,
): Promise<number> {
  const answer = await send(state, "the channel", {
    path: `${state.prefix}/channel/${path}`,
    method: "POST",
    headers: { ...fields, "content-type": "application/json" },
    body: json,
    signal: AbortSignal.timeout(smallTimeoutMs),
  });
  dropBody(answer);
  return answer.statusCode;
}

/** RFC 6750 §3: a server that refuses a token says so in this field; a 403 without it is about something else. */
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

function badAnswer(what: string, status: number): NearcastError {
  return new NearcastError("ORIGIN_BAD_ANSWER", `the origin answered with status ${status} to a request for ${what}`, {
    facts: { originStatus: status },
  });
}
