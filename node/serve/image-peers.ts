/**
 * Pictures from other nodes: the owner of a name in the site, a site with room, or any node that can take one more
 * rendering. image.ts asks here before it does the work itself; relay.ts has the exchange.
 */
import { asNearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import type { Fleet } from "#document/document.ts";
import { keyOf } from "../cache/object.ts";
import type { Records, SourceRecord } from "../cache/records.ts";
import type { Tiers } from "../cache/tiers.ts";
import type { VariantSets } from "../cache/variant-sets.ts";
import type { MissReason } from "../deliver/outcome.ts";
import type { Member } from "../peer/directory.ts";
import { rankOwners } from "../peer/owners.ts";
import { variantKey } from "../variant/key.ts";
import type { Variant } from "../variant/variant.ts";
import { type Answer, missReason } from "./image-answer.ts";
import type { ColdTurns } from "./cold-turns.ts";
import { answerOrStale, type Found, type Steps } from "./machine.ts";
import type { Meanings } from "./meaning.ts";
import type { Patience } from "./patience.ts";
import type { Peers } from "./peers.ts";
import type { Helpers, Relay, Relayed } from "./relay.ts";
import type { Renderings, WantedVariant } from "./render.ts";
import { type RequestContext, until } from "./request-context.ts";

/** What answers requests for pictures. */
export interface Images {
  readonly tiers: Tiers;
  readonly records: Records;
  /** Null: this node is alone. */
  readonly peers: Peers | null;
  readonly relay: Relay | null;
  readonly meanings: Meanings;
  readonly renderings: Renderings;
  readonly variantSets: VariantSets;
  readonly patience: Patience;
  readonly coldTurns: ColdTurns;
  readonly fleet: () => Fleet;
  readonly log: Log;
}

/** Who asks: a client's request may lead to steps that a peer's may not. */
export interface Asker {
  readonly role: "client" | Helpers["role"];
  readonly context: RequestContext;
}

/** Owners to ask before a node does the work itself; the directory names no more. */
const ownersMax = 2;

/** Undefined: this node owns the name, or no owner is up. */
export function ownersOf({ peers }: Pick<Images, "peers">, name: string): Helpers | undefined {
  if (peers === null || peers.directory.ownersBefore(name).length === 0) return undefined;
  return { role: "owner", members: () => peers.directory.ownersBefore(name), triesMax: ownersMax };
}

/** Undefined: there is room here, or no room anywhere. */
function roomFor({ peers }: Images, name: string): Helpers | undefined {
  if (peers === null || peers.directory.roomElsewhere(name).length === 0) return undefined;
  return { role: "spill", members: () => peers.directory.roomElsewhere(name), triesMax: 1 };
}

/** Nodes that may be able to take one more rendering when this node can't. */
function othersFor(images: Images, name: string): Helpers | undefined {
  const { peers } = images;
  const room = roomFor(images, name);
  if (room !== undefined || peers === null) return room;
  const members = (): readonly Member[] => rankOwners(name, peers.directory.site());
  return members().length === 0 ? undefined : { role: "spill", members, triesMax: 1 };
}

/** Whether this request asks nobody: it delivers a stored variant, or renders one. */
export function isAnsweredHere(
  images: Images,
  order: WantedVariant,
  asker: Asker,
  found: Found<SourceRecord> | undefined,
): boolean {
  const state = found?.use.state;
  if (found === undefined || (state !== "fresh" && state !== "stale-revalidate")) return false;
  if (isHere(images, found.entry, order.variant)) return true;
  return helpersFor(images, order, asker, false).length === 0;
}

/** Whether it joins a running question. */
export function isUnderWay({ peers, relay, meanings }: Images, order: WantedVariant, { role }: Asker): boolean {
  const isOfOwner = role === "client" && ownersOf({ peers }, order.name) !== undefined;
  return isOfOwner ? (relay?.isUnderWay(order, "owner") ?? false) : meanings.isUnderWay(order, "shield");
}

/** Whom to ask before this node does the work itself. @param isHeld the variant is here */
function helpersFor(images: Images, order: WantedVariant, asker: Asker, isHeld: boolean): readonly Helpers[] {
  return [
    asker.role === "client" ? ownersOf(images, order.name) : undefined,
    // A variant that is here and only has to be validated is not worth passing on.
    asker.role !== "spill" && !isHeld ? roomFor(images, order.name) : undefined,
  ].filter((helpers) => helpers !== undefined);
}

/** Null: the answer is here, or is to be made here. @param own what this node does by itself */
export async function answerOfPeers(
  images: Images,
  order: WantedVariant,
  asker: Asker,
  found: Found<SourceRecord> | undefined,
  own: Omit<Steps<SourceRecord, Answer>, "lookUp" | "ask">,
): Promise<Answer | null> {
  const state = found?.use.state;
  const isHeld = found !== undefined && isHere(images, found.entry, order.variant);
  if (isHeld && (state === "fresh" || state === "stale-revalidate")) return null;
  for (const one of helpersFor(images, order, asker, isHeld)) {
    const canServe = found !== undefined && canMake(images, order, found.entry);
    const theirs =
      canServe && state === "stale-if-error"
        ? await answerOrStale<SourceRecord, Answer | null>(own, found, (late) =>
            askHelpers(images, order, found, one, until(asker.context, late)),
          )
        : await askHelpers(images, order, found, one, asker.context).catch((thrown: unknown) => {
            // This node then does what it does for a stale picture: deliver it.
            if (canServe && state !== "expired" && asNearcastError(thrown).source === "origin") return null;
            throw thrown;
          });
    if (theirs !== null) return theirs;
  }
  return null;
}

/** The answer of a node that may take one more rendering; null: there is none. */
export async function answerOfOthers(
  images: Images,
  order: WantedVariant,
  asker: Asker,
  found: Found<SourceRecord> | undefined,
): Promise<Answer | null> {
  const others = othersFor(images, order.name);
  return others === undefined ? null : await askHelpers(images, order, found, others, asker.context);
}

async function askHelpers(
  images: Images,
  order: WantedVariant,
  found: Found<SourceRecord> | undefined,
  helpers: Helpers,
  context: RequestContext,
): Promise<Answer | null> {
  const { relay } = images;
  if (relay === null) return null;
  const { result, isCollapsed } = relay.ask(order, found?.entry, helpers, context);
  const relayed = await result;
  if (relayed === null) return null;
  const reason = found?.use.state === "fresh" ? "uri-miss" : missReason(found?.entry);
  return answerOf(images, relayed, order, helpers, { reason, isCollapsed });
}

function answerOf(
  images: Images,
  relayed: Relayed,
  order: WantedVariant,
  { role }: Helpers,
  about: { reason: MissReason; isCollapsed: boolean },
): Answer {
  const { record, object, isStored, ageSeconds, status, peerMs, member } = relayed;
  if ("sha256" in record.meaning && object !== null) noteUse(images, record.meaning.sha256, object.key);
  const { ttlSeconds } = images.meanings.useOf(record, order.host);
  const detail = role === "owner" ? "owner" : `spill-${member.site}`;
  return {
    record,
    object,
    outcome: { word: "miss", isStored, detail, ttlSeconds, ...about },
    ageSeconds: ageSeconds === 0 ? null : ageSeconds,
    timings: { peerMs },
    status,
  };
}

/** A source has a bounded number of stored variants: one that is used less makes room. */
export function noteUse({ variantSets, fleet, tiers }: Images, sha256: string, key: string): void {
  const surplus = variantSets.use(sha256, key, fleet().limits.variantsPerSourceMax);
  if (surplus !== undefined) void tiers.remove(surplus);
}

export function isHere({ tiers }: Images, { meaning }: SourceRecord, variant: Variant): boolean {
  return "absentStatus" in meaning || tiers.locate(keyOfVariant(meaning.sha256, variant)) !== undefined;
}

/** Whether there may be a stale response to deliver instead of an answer. */
export function canServeStale(images: Images, order: WantedVariant, { entry, use }: Found<SourceRecord>): boolean {
  return use.state === "stale-if-error" && canMake(images, order, entry);
}

function canMake(images: Images, { variant }: WantedVariant, record: SourceRecord): boolean {
  return isHere(images, record, variant) || hasSource(images, record);
}

function hasSource({ tiers }: Images, { meaning }: SourceRecord): boolean {
  return "sha256" in meaning && tiers.locate(keyOf("source", meaning.sha256)) !== undefined;
}

/** Keys of variants that are requested repeatedly; a remembered order keeps its variant. */
const keysOfVariants = new WeakMap<Variant, { sha256: string; key: string }>();

export function keyOfVariant(sha256: string, variant: Variant): string {
  const known = keysOfVariants.get(variant);
  if (known?.sha256 === sha256) return known.key;
  const key = variantKey(sha256, variant);
  keysOfVariants.set(variant, { sha256, key });
  return key;
}
