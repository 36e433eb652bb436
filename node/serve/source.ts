/**
 * Sources: what a name stands for, according to the origin, and the bytes.
 *
 *   find   ──▶ shield (its record of the name, its disk, or the origin) ──▶ origin
 *   bytes  ──▶ disk ──▶ the same two
 *
 * If there is a shield, only the shield asks the origin, so the whole fleet fetches a source from the origin once. If
 * the shield is away, or can't reach the origin itself, each node asks the origin.
 *
 * Bytes are on disk under their hash, which is checked whoever sent them.
 */
import { createHash } from "node:crypto";
import type { Dispatcher } from "undici";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import { sourceTag } from "#purge/entry-tags.ts";
import type { ImagesHost } from "#document/schema/hosts.ts";
import { sniffPicture } from "#image/picture.ts";
import { readPictureFields } from "#base/picture-facts.ts";
import { createFlights } from "../cache/flights.ts";
import { keyOf } from "../cache/object.ts";
import type { SourceMark } from "../cache/records.ts";
import type { Tiers } from "../cache/tiers.ts";
import { dropBody, readBody } from "../fetch/body.ts";
import type { OriginClient, SourceAnswer } from "../fetch/origin.ts";
import { Outdated } from "./machine.ts";
import { type Peers, UnfitAnswer } from "./peers.ts";
import type { RequestContext } from "./request-context.ts";
import { mustBeUsable } from "./source-freshness.ts";
import { readHash, writeKnown, writeNetwork } from "./wire.ts";

export interface SourceName {
  host: ImagesHost;
  name: string;
}

/** Whether the question may go to the shield, or, being the shield's own, to the origin alone. */
export type Route = "shield" | "origin";

export interface Found {
  answer: SourceAnswer;
  /** Time since the origin said so. */
  ageMs: number;
  /** The event of the feed that this is valid for; null: it must not be kept. */
  feedSeq: number | null;
  mark: SourceMark | null;
  /** Cache-Status of the shield, if the shield answered. */
  status: string | null;
}

export interface SourceBytes {
  body: Buffer;
  /** How long it took others to send them; null: they were on disk. */
  fetchMs: number | null;
  /** Cache-Status of the shield, if the shield answered. */
  status: string | null;
}

export interface Sources {
  /** Where a question that may go to the shield goes now. */
  routeFor: (name: string, most: Route) => Route;
  /** @throws NearcastError ORIGIN_*, BODY_TOO_LARGE */
  find: (source: SourceName, known: readonly string[], route: Route, context: RequestContext) => Promise<Found>;
  /** The bytes with this hash. @throws SourceReplaced if the name means other bytes by now */
  bytes: (source: SourceName, sha256: string, most: Route, context: RequestContext) => Promise<SourceBytes>;
}

/** The name came to mean other bytes between two questions to the origin: ask again. */
class SourceReplaced extends Outdated {}

/** A source that changes while it is being fetched is followed this often. */
const followsMax = 3;

/** Does `work` again while the source changes in between. @throws NearcastError ORIGIN_BAD_ANSWER: it never stops */
export async function followSource<Result>({ name }: SourceName, work: () => Promise<Result>): Promise<Result> {
  for (let follows = 1; ; follows += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof SourceReplaced)) throw error;
      if (follows >= followsMax)
        throw new NearcastError("ORIGIN_BAD_ANSWER", `${name} changed repeatedly while it was fetched`, {
          cause: error,
        });
    }
  }
}

/** The way to the shield and back, in addition to the time that it waits for the origin. */
const waysMs = 5000;
const shieldTriesMax = 2;

export function createSources(parts: {
  tiers: Tiers;
  origin: OriginClient;
  peers: Peers | null;
  fleet: () => Fleet;
  feedSeq: () => number;
  clock: Clock;
}): Sources {
  const { tiers, origin, peers, fleet, feedSeq, clock } = parts;
  const fetches = createFlights<Omit<SourceBytes, "fetchMs">>();

  function routeFor(name: string, most: Route): Route {
    return most === "shield" && peers !== null && peers.directory.shieldFor(name).length > 0 ? "shield" : "origin";
  }

  async function find(
    source: SourceName,
    known: readonly string[],
    route: Route,
    context: RequestContext,
  ): Promise<Found> {
    const startedMs = clock.monotonicMs();
    const clears = tiers.clears();
    const found =
      (route === "shield" ? await findAtShield(source, known, context) : null) ??
      (await findAtOrigin(source, known, context));
    const { answer, feedSeq: seq } = found;
    const costMs = Math.round(clock.monotonicMs() - startedMs);
    const isOfNow = seq !== null && tiers.clears() === clears;
    if (answer.outcome === "found" && isOfNow) store(source.name, answer, { feedSeq: seq, costMs });
    return found;
  }

  async function findAtOrigin(
    { name }: SourceName,
    known: readonly string[],
    { clientNetwork, signal }: RequestContext,
  ): Promise<Found> {
    const seq = feedSeq();
    const { sourceBytesMax, originTimeoutMs, originFailureMs } = fleet().limits;
    const answer = await origin.source(name, known, {
      bytesMax: sourceBytesMax,
      timeoutMs: originTimeoutMs,
      failureMs: originFailureMs,
      client: clientNetwork,
      signal,
    });
    return { answer, ageMs: 0, feedSeq: seq, mark: null, status: null };
  }

  async function findAtShield(
    { host, name }: SourceName,
    known: readonly string[],
    { clientNetwork, signal }: RequestContext,
  ): Promise<Found | null> {
    if (peers === null) return null;
    try {
      const said = await peers.ask({
        role: "shield",
        members: () => peers.directory.shieldFor(name),
        triesMax: shieldTriesMax,
        path: `/v1/source?host=${encodeURIComponent(canonicalName(host.name))}&name=${encodeURIComponent(name)}`,
        headers: { ...writeKnown(known), ...writeNetwork(clientNetwork) },
        network: clientNetwork,
        timeoutMs: fleet().limits.originTimeoutMs + waysMs,
        signal,
        read: async (answer, { ageMs }) => {
          answer.endIfFrozen(); // another node or the origin is asked then
          const answered = await readSource(answer, known, fleet().limits.sourceBytesMax);
          mustBeUsable(answered.outcome === "absent" ? { absentStatus: answered.status } : answered, ageMs, host);
          return answered;
        },
      });
      if (said === null) return null;
      const { ageMs, mark, status } = said.told;
      return { answer: said.result, ageMs, feedSeq: said.feedSeq, mark, status };
    } catch (error) {
      // The shield can't reach the origin, which says nothing about this node's own path.
      if (error instanceof NearcastError && error.code === "ORIGIN_UNREACHABLE") return null;
      throw error;
    }
  }

  function store(
    name: string,
    { sha256, body }: { sha256: string; body: Buffer },
    about: { feedSeq: number; costMs: number },
  ): void {
    tiers.storeOnDisk({
      key: keyOf("source", sha256),
      facts: { status: 200, tags: [sourceTag(name)], storedAtMs: clock.wallMs(), ...about, notes: {} },
      headerBlock: Buffer.alloc(0),
      body,
    });
  }

  return {
    routeFor,
    find,
    async bytes(source, sha256, most, context) {
      const stored = await tiers.loadFromDisk(keyOf("source", sha256));
      if (stored !== undefined) return { body: stored.body, fetchMs: null, status: null };
      const startedMs = clock.monotonicMs();
      const route = routeFor(source.name, most);
      const { result } = fetches.joinWhile(`${route}\n${sha256}`, context.signal, async ({ signal }) => {
        const { answer, status } = await find(source, [], route, { ...context, signal });
        if (answer.outcome !== "found" || answer.sha256 !== sha256) throw new SourceReplaced();
        return { body: answer.body, status };
      });
      return { ...(await result), fetchMs: clock.monotonicMs() - startedMs };
    },
  };
}

async function readSource(
  answer: Dispatcher.ResponseData,
  known: readonly string[],
  bytesMax: number,
): Promise<SourceAnswer> {
  const sha256 = readHash(answer.headers);
  const picture = readPictureFields(answer.headers);
  const about = picture === undefined ? {} : { picture };
  if (answer.statusCode === 200 && sha256 !== undefined) {
    const body = await readBody(answer, bytesMax);
    // The origin keeps nothing else, and a decoder would refuse it. Here it is known who sent it.
    if (sniffPicture(body) === undefined) throw new UnfitAnswer("the bytes of a source are not a picture");
    if (createHash("sha256").update(body).digest("hex") === sha256) {
      return { outcome: "found", sha256, body, ...about };
    }
    throw new UnfitAnswer("the bytes of a source do not match the announced checksum");
  }
  dropBody(answer);
  const { statusCode } = answer;
  if (statusCode === 304 && sha256 !== undefined && known.includes(sha256)) {
    return { outcome: "known", sha256, ...about };
  }
  if (statusCode === 404 || statusCode === 410) return { outcome: "absent", status: statusCode };
  throw new Error(`status ${statusCode} for a source`);
}
