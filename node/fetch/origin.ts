/**
 * The edge's side of the origin's API: sources, the fleet document, the fleet secret, the roster, the feed.
 *
 * What comes back is checked before anyone uses it: a source's bytes must have the SHA-256 that its ETag names.
 */
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import { type Dispatcher, Pool } from "undici";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { check } from "#base/schema.ts";
import { fleetBytesMax } from "#fleet/read-document.ts";
import { type Roster, rosterNodesMax, rosterSchema } from "#fleet/roster.ts";
import { type FleetSecrets, fleetSecretsSchema } from "#fleet/secret.ts";
import { attempt, connectTimeoutMs } from "./attempt.ts";
import { createBreaker } from "./breaker.ts";
import { dropBody } from "./body.ts";

const apiPath = "/api/v1";
/** For all that is small: the fleet document, the fleet secret, the roster, the beginning of the feed. */
const smallTimeoutMs = 5000;
/** A fleet document in JSON, where each line's end, quote and backslash takes two bytes. */
const fleetAnswerBytesMax = 4 * fleetBytesMax;
const secretBytesMax = 4096;
/** A node with one address takes some 150 bytes, one with all that it may have ten times as many. */
const rosterBytesMax = rosterNodesMax * 512;
/** Connections to the origin; what comes beyond waits in undici's queue until its deadline. */
const connectionsMax = 64;

export type SourceAnswer =
  /** The name now means one of the versions that the asker knows: no bytes were sent. */
  | { outcome: "known"; sha256: string }
  | { outcome: "found"; sha256: string; body: Buffer }
  | { outcome: "absent"; status: 404 | 410 };

export interface OriginClient {
  /**
   * What does this name mean now? One conditional request answers it: unchanged, rolled back or replaced.
   *
   * @param name the source's name, without leading slash
   * @param known hashes of the versions that need not be sent again (RFC 9110 §13.1.2: a list is allowed)
   * @param most `timeoutMs`: for connecting, retries and the whole body together
   * @throws NearcastError ORIGIN_*, or BODY_TOO_LARGE past `bytesMax`
   */
  source: (
    name: string,
    known: readonly string[],
    most: { bytesMax: number; timeoutMs: number },
  ) => Promise<SourceAnswer>;
  fleet: () => Promise<{ version: number; text: string }>;
  /** Null: the origin is of a release that has none. */
  secrets: () => Promise<FleetSecrets | null>;
  /** Null: the origin is of a release that has none. */
  roster: () => Promise<Roster | null>;
  /** The feed's bytes from after `since` (null: from now on) until `signal` ends it. The follower retries. */
  feed: (since: number | null, signal: AbortSignal) => Promise<Readable>;
  /**
   * Tells the origin something (fleet/channel); one attempt, without the breaker, which is for what clients wait for.
   * @param path below `/channel/`
   * @returns the status
   */
  tell: (path: string, fields: Readonly<Record<string, string>>, json: string) => Promise<number>;
  counts: () => { sources: number; sourceBodies: number; failures: number };
  isBroken: () => boolean;
  close: () => Promise<void>;
}

export function openOriginClient(options: { url: string; token: string; clock: Clock; random: Random }): OriginClient {
  const base = new URL(options.url);
  const pool = new Pool(base.origin, {
    connections: connectionsMax,
    connect: { timeout: connectTimeoutMs },
    // Each request has one deadline for all of it (attempt.ts); a second clock here would end it with another number.
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 30_000,
  });
  const breaker = createBreaker(options.clock);
  const headers = { authorization: `Bearer ${options.token}` };
  const counts = { sources: 0, sourceBodies: 0, failures: 0 };
  const prefix = base.pathname.replace(/\/$/, "") + apiPath;
  const settings = { breaker, clock: options.clock, random: options.random };

  async function counted<Result>(work: Promise<Result>): Promise<Result> {
    try {
      return await work;
    } catch (error) {
      counts.failures += 1;
      throw error;
    }
  }

  return {
    source(name, known, { bytesMax, timeoutMs }) {
      const path = `${prefix}/images/${name.split("/").map(encodeURIComponent).join("/")}`;
      const condition = known.length === 0 ? {} : { "if-none-match": known.map((hash) => `"${hash}"`).join(", ") };
      counts.sources += 1;
      return counted(
        attempt({ ...settings, timeoutMs }, async (signal) => {
          const answer = await pool.request({ path, method: "GET", headers: { ...headers, ...condition }, signal });
          const source = await readSource(answer, bytesMax);
          if (source.outcome === "found") counts.sourceBodies += 1;
          return source;
        }),
      );
    },
    fleet: () =>
      counted(
        attempt({ ...settings, timeoutMs: smallTimeoutMs }, async (signal) => {
          const answer = await pool.request({ path: `${prefix}/fleet`, method: "GET", headers, signal });
          const bytes = await readBody(answer, fleetAnswerBytesMax);
          if (answer.statusCode !== 200) throw badAnswer("the fleet document", answer.statusCode);
          const { version, text } = parseObject(bytes);
          if (!Number.isSafeInteger(version) || typeof text !== "string") throw badAnswer("the fleet document", 200);
          return { version: version as number, text };
        }),
      ),
    secrets: () =>
      counted(
        attempt({ ...settings, timeoutMs: smallTimeoutMs }, async (signal) => {
          const answer = await pool.request({ path: `${prefix}/fleet/secret`, method: "GET", headers, signal });
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
        attempt({ ...settings, timeoutMs: smallTimeoutMs }, async (signal) => {
          const answer = await pool.request({ path: `${prefix}/nodes`, method: "GET", headers, signal });
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
    async feed(since, signal) {
      const answer = await pool.request({
        path: `${prefix}/feed${since === null ? "" : `?since=${since}`}`,
        method: "GET",
        headers: { ...headers, accept: "text/event-stream" },
        signal,
        headersTimeout: smallTimeoutMs, // from then on the follower watches the heartbeat itself
      });
      if (answer.statusCode === 200) return answer.body;
      dropBody(answer);
      throw badAnswer("the feed", answer.statusCode);
    },
    async tell(path, fields, json) {
      const answer = await pool.request({
        path: `${prefix}/channel/${path}`,
        method: "POST",
        headers: { ...headers, ...fields, "content-type": "application/json" },
        body: json,
        signal: AbortSignal.timeout(smallTimeoutMs),
      });
      dropBody(answer);
      return answer.statusCode;
    },
    counts: () => ({ ...counts }),
    isBroken: () => breaker.state() !== "closed",
    close: () => pool.destroy(),
  };
}

async function readSource(answer: Dispatcher.ResponseData, bytesMax: number): Promise<SourceAnswer> {
  const { statusCode } = answer;
  const sha256 = /^"([0-9a-f]{64})"$/.exec(String(answer.headers["etag"]))?.[1];
  if (statusCode === 200 && sha256 !== undefined) {
    const body = await readBody(answer, bytesMax);
    if (createHash("sha256").update(body).digest("hex") === sha256) return { outcome: "found", sha256, body };
    throw new NearcastError("ORIGIN_BAD_ANSWER", "the bytes of a source do not have the checksum of its ETag");
  }
  dropBody(answer);
  if (statusCode === 304 && sha256 !== undefined) return { outcome: "known", sha256 };
  if (statusCode === 404 || statusCode === 410) return { outcome: "absent", status: statusCode };
  throw badAnswer("a source", statusCode);
}

type Answered = Readonly<
  Partial<Record<"version" | "text" | "current" | "previous" | "revision" | "nodes" | "draining", unknown>>
>;

/** The members, unchecked; none where the bytes are no JSON object. */
function parseObject(bytes: Buffer): Answered {
  try {
    return (JSON.parse(bytes.toString()) as Answered | null) ?? {};
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
  return new NearcastError("ORIGIN_BAD_ANSWER", `status ${status} for ${what}`, { facts: { originStatus: status } });
}
