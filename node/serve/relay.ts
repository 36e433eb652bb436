/**
 * Variants from other nodes: the side of the node that asks.
 *
 *   request (host, name, variant, the hash that is held) ──▶ member ──▶ what the name stands for, since when, variant
 *
 * Coalesced per variant; dropped when every client that waits for it has left. Record and variant are kept in memory
 * only; their owner has them on disk. From then on they are served and purged like this node's own.
 */
import type { Dispatcher } from "undici";
import type { Clock } from "#base/clock.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import { createFlights, type Flight } from "../cache/flights.ts";
import { type CachedObject, etagOf } from "../cache/object.ts";
import { type Purge, purgesSource } from "../cache/purge.ts";
import type { Records, SourceRecord } from "../cache/records.ts";
import { type Stored, storedInMemory, type Tiers } from "../cache/tiers.ts";
import { fieldOf } from "../fetch/asset.ts";
import { dropBody, readBody } from "../fetch/body.ts";
import type { Member } from "../peer/directory.ts";
import { canonicalForm, variantKey } from "../variant/key.ts";
import type { Variant } from "../variant/variant.ts";
import { hashesWith } from "./meaning.ts";
import { type Peers, UnfitAnswer } from "./peers.ts";
import type { RequestContext } from "./request-context.ts";
import { typeOfRelayed } from "./relayed-picture.ts";
import { mustBeUsable } from "./source-freshness.ts";
import { objectOf, renderWaitMs, type WantedVariant } from "./render.ts";
import { ofAnotherLog, readHash, type Role, writeKnown, writeNetwork } from "./wire.ts";

/** Whom to ask, and in which role. */
export interface Helpers {
  role: Exclude<Role, "shield">;
  members: () => readonly Member[];
  triesMax: number;
}

export interface Relayed {
  record: SourceRecord;
  /** Null: there is nothing under this name. */
  object: Stored | null;
  isStored: boolean;
  member: Member;
  status: string | null;
  ageSeconds: number;
  peerMs: number;
}

export interface Relay {
  /** The result is null if nobody helped, and rejects with a failure that would be the same here. */
  ask: (
    wanted: WantedVariant,
    before: SourceRecord | undefined,
    helpers: Helpers,
    context: RequestContext,
  ) => { result: Promise<Relayed | null>; isCollapsed: boolean };
  /** Whether a request that asks now joins a running question. */
  isUnderWay: (wanted: WantedVariant, role: Helpers["role"]) => boolean;
  purge: (purge: Purge) => void;
}

/** The way to the member and back, in addition to its waits for the origin and for a decoder. */
const waysMs = 5000;

type Meant = { absentStatus: 404 | 410 } | { sha256: string; variant: { body: Buffer; type: string } | "held" };

export function createRelay(parts: {
  peers: Peers;
  tiers: Tiers;
  records: Records;
  fleet: () => Fleet;
  clock: Clock;
}): Relay {
  const { peers, tiers, records, fleet, clock } = parts;
  const flights = createFlights<Relayed | null>();

  async function askNow(
    wanted: WantedVariant,
    before: SourceRecord | undefined,
    helpers: Helpers,
    { clientNetwork }: RequestContext,
    flight: Flight,
  ): Promise<Relayed | null> {
    const { host, name, variant } = wanted;
    const startedMs = clock.monotonicMs();
    const held = await heldVariant(wanted, before);
    const { originTimeoutMs, renderTimeoutMs, objectBytesMax } = fleet().limits;
    let heardAtMs = clock.wallMs();
    const query = { host: canonicalName(host.name), name, variant: canonicalForm(variant) };
    const said = await peers.ask({
      ...helpers,
      path: `/v1/image?${new URLSearchParams(query).toString()}`,
      headers: { ...writeKnown(held === undefined ? [] : [held.sha256]), ...writeNetwork(clientNetwork) },
      network: clientNetwork,
      timeoutMs: originTimeoutMs + renderWaitMs + renderTimeoutMs + waysMs,
      signal: flight.signal,
      read: async (answer, { ageMs }) => {
        heardAtMs = clock.wallMs();
        answer.endIfFrozen(); // the next one is asked then, or the work is done here
        const meant = await readVariant(answer, variant, held?.sha256, objectBytesMax);
        mustBeUsable(meant, ageMs, host);
        return meant;
      },
    });
    if (said === null) return null;
    const { result, told, member } = said;
    const feedSeq = said.feedSeq ?? ofAnotherLog;
    const record = recordOf(wanted, before, result, {
      validatedAtMs: heardAtMs - told.ageMs,
      feedSeq,
      mark: told.mark,
    });
    const peerMs = clock.monotonicMs() - startedMs;
    let made: CachedObject | null = null;
    if ("sha256" in result && result.variant !== "held") {
      made = objectOf(wanted, variantKey(result.sha256, variant), result.variant, {
        storedAtMs: heardAtMs,
        feedSeq,
        costMs: Math.round(peerMs),
      });
    }
    // Overtaken: a purge arrived meanwhile, so this may date from before it. Another log: none of our purges would
    // apply.
    let isStored = !flight.isOvertaken && said.feedSeq !== null;
    if (isStored) {
      records.storeInMemory(record);
      if (made !== null) isStored = tiers.storeInMemory(made);
    }
    const isHeld = "sha256" in result && result.variant === "held";
    const object = made === null ? (isHeld ? (held?.object ?? null) : null) : storedInMemory(made);
    const ageSeconds = Math.floor(told.ageMs / 1000);
    return {
      record,
      object,
      isStored,
      member,
      status: told.status,
      ageSeconds,
      peerMs,
    };
  }

  /** The variant of the bytes that the name meant before: if it still means them, it need not be sent again. */
  async function heldVariant(wanted: WantedVariant, before: SourceRecord | undefined) {
    if (before === undefined || "absentStatus" in before.meaning) return undefined;
    const { sha256 } = before.meaning;
    const key = variantKey(sha256, wanted.variant);
    if (tiers.locate(key) === undefined) return undefined;
    const object = await tiers.find(key, false);
    return object === undefined ? undefined : { sha256, object };
  }

  return {
    ask(wanted, before, helpers, context) {
      const key = keyOfQuestion(wanted, helpers.role);
      return flights.joinWhile(key, context.signal, (flight) => askNow(wanted, before, helpers, context, flight));
    },
    isUnderWay: (wanted, role) => flights.running(keyOfQuestion(wanted, role)) !== undefined,
    purge(purge) {
      flights.overtake((key) => purgesSource(purge, key.slice(0, key.indexOf("\n"))));
    },
  };
}

/** The name comes first, for purges; no name has a line feed. Kept apart by role, because one may lead to another. */
function keyOfQuestion({ host, name, variant }: WantedVariant, role: Helpers["role"]): string {
  return [name, role, canonicalName(host.name), canonicalForm(variant)].join("\n");
}

function recordOf(
  { name }: WantedVariant,
  before: SourceRecord | undefined,
  meant: Meant,
  about: Pick<SourceRecord, "validatedAtMs" | "feedSeq" | "mark">,
): SourceRecord {
  const known = before?.knownHashes ?? [];
  if ("absentStatus" in meant) return { name, meaning: meant, knownHashes: known, ...about };
  const { sha256 } = meant;
  return { name, meaning: { sha256 }, knownHashes: hashesWith(sha256, known), ...about };
}

/** @throws UnfitAnswer, or Error if this is not an answer to our question */
async function readVariant(
  answer: Dispatcher.ResponseData,
  variant: Variant,
  heldHash: string | undefined,
  bytesMax: number,
): Promise<Meant> {
  const { statusCode, headers } = answer;
  const sha256 = readHash(headers);
  if (statusCode === 200 && sha256 !== undefined) {
    const told = fieldOf(headers, "content-type") ?? "";
    const body = await readBody(answer, bytesMax);
    // A variant's ETag is computed from its bytes, so it reveals a variant that was cut short or changed.
    if (etagOf(body) !== fieldOf(headers, "etag")) throw new UnfitAnswer("the bytes do not match the announced ETag");
    const type = typeOfRelayed(body, variant);
    if (type === undefined) throw new UnfitAnswer(`the bytes are not a picture in the format ${variant.format}`);
    if (type !== told) throw new UnfitAnswer(`the bytes are ${type}, but Content-Type says otherwise`);
    return { sha256, variant: { body, type } };
  }
  dropBody(answer);
  if (statusCode === 304 && sha256 !== undefined && sha256 === heldHash) return { sha256, variant: "held" };
  if (statusCode === 404 || statusCode === 410) return { absentStatus: statusCode };
  throw new Error(`status ${statusCode} for a variant`);
}
