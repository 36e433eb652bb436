/**
 * What nodes send each other over the peer listener, in HTTP fields; pure.
 *
 *   GET  /v1/image?host=&name=&variant=   a variant                          as owner, spill
 *   GET  /v1/source?host=&name=           what a name means, and its bytes   as shield
 *   GET  /v1/asset?host=                  what an assets host answers        as owner, spill, shield
 *   POST /v1/hot                          what many ask for, to be fetched
 *
 *   question                                           answer
 *     Nearcast-Role    what the asked one shall be       Nearcast-Age       since the meaning was validated
 *     Nearcast-Log     which purges the asker knows      Nearcast-Log       which purges the answer knows
 *     Nearcast-Known   hashes it need not be sent        Nearcast-Source    the hash that the name means
 *     Nearcast-Target  of an asset, as clients write it  Nearcast-Mark      a purge's mark on the meaning
 *     Nearcast-Network of the client it is for           Nearcast-Status    Cache-Status of all who took part
 *                                                        Nearcast-Refused   why the asker should go elsewhere
 *                                                        Nearcast-Problem   what failed for all of us
 *
 * Ages are sent, never times of day: the clocks of two machines differ. A question only leads to questions of a later
 * role (owner, spill, shield), so none returns to where it was, whatever the nodes believe about each other.
 *
 * The asker has proven that it knows the fleet secret; what it sends is nevertheless read as strictly as a stranger's
 * request.
 */
import { readClientNetwork } from "#base/client-network.ts";
import { type ErrorCode, errorCatalogue } from "#base/errors.ts";
import type { FeedPosition } from "#follow/feed.ts";
import { knownHashesMax, type SourceMark } from "../cache/records.ts";
import { fieldOf, type RequestFields } from "../fetch/asset.ts";
import { restated } from "./cache-status.ts";

/** In the order in which one may lead to another. */
export const roles = ["owner", "spill", "shield"] as const;
/**
 * owner   of the same site, first in rank for the name: keeps it for all of the site
 * spill   of a site with room, or a member that can take one more rendering
 * shield  of the site that asks the origin for the others
 */
export type Role = (typeof roles)[number];

export const refusals = ["busy", "behind"] as const;
/** busy: too many renderings wait here already. behind: purges that the asker knows have not arrived here yet. */
export type Refusal = (typeof refusals)[number];

/** Fields with names like this are for nodes alone; those of an origin are neither stored nor passed on. */
export const ownPrefix = "nearcast-";

export const fieldNames = {
  role: "nearcast-role",
  log: "nearcast-log",
  known: "nearcast-known",
  target: "nearcast-target",
  network: "nearcast-network",
  age: "nearcast-age",
  source: "nearcast-source",
  mark: "nearcast-mark",
  status: "nearcast-status",
  refused: "nearcast-refused",
  problem: "nearcast-problem",
} as const;

/** What every answer says about itself. */
export interface Told {
  /** Time since the origin, or the cache in front of it, last said so. */
  readonly ageMs: number;
  /** The log, and its last event that was in force when this was requested; null: unknown. */
  readonly log: FeedPosition | null;
  readonly mark: SourceMark | null;
  /** Cache-Status of the caches between here and the origin, ready to precede the asker's own. */
  readonly status: string | null;
}

/** Instead of an event's number: the log is unknown, so nobody may keep the answer. */
export const ofAnotherLog = -1;

/** A hundred years: more is not an age. */
const ageMsMax = 3_155_760_000_000;
const hashPattern = /^[0-9a-f]{64}$/;

export function writeTold(told: Told): Record<string, string> {
  return {
    [fieldNames.age]: String(Math.max(0, Math.round(told.ageMs))),
    ...(told.log === null ? {} : { [fieldNames.log]: writeLog(told.log) }),
    ...(told.mark === null ? {} : { [fieldNames.mark]: told.mark }),
    ...(told.status === null ? {} : { [fieldNames.status]: told.status }),
  };
}

/** Undefined: this is not an answer of a node. */
export function readTold(fields: RequestFields): Told | undefined {
  const ageText = fieldOf(fields, fieldNames.age) ?? "";
  const mark = fieldOf(fields, fieldNames.mark) ?? null;
  const status = fieldOf(fields, fieldNames.status) ?? null;
  if (!/^\d{1,13}$/.test(ageText) || Number(ageText) > ageMsMax) return undefined;
  // Removed records are never sent, and an unknown mark may mean removal.
  if (mark !== null && mark !== "soft" && mark !== "replaced") return undefined;
  return {
    ageMs: Number(ageText),
    log: readLog(fields),
    mark,
    status: status === null ? null : restated(status),
  };
}

export function writeLog({ originId, seq }: FeedPosition): string {
  return `${originId}/${seq}`;
}

/** Null if it is absent, or not a position. */
export function readLog(fields: RequestFields): FeedPosition | null {
  const match = /^([A-Za-z0-9_-]{1,64})\/(\d{1,15})$/.exec(fieldOf(fields, fieldNames.log) ?? "");
  return match === null ? null : { originId: match[1] ?? "", seq: Number(match[2]) };
}

export function readHash(fields: RequestFields): string | undefined {
  const text = fieldOf(fields, fieldNames.source) ?? "";
  return hashPattern.test(text) ? text : undefined;
}

export function writeKnown(known: readonly string[]): Record<string, string> {
  return known.length === 0 ? {} : { [fieldNames.known]: known.slice(0, knownHashesMax).join(", ") };
}

/** Undefined if it is not a list of hashes, or if the list is too long. */
export function readKnown(fields: RequestFields): readonly string[] | undefined {
  const text = fieldOf(fields, fieldNames.known);
  if (text === undefined) return [];
  const hashes = text.split(", ", knownHashesMax + 1);
  return hashes.length <= knownHashesMax && hashes.every((hash) => hashPattern.test(hash)) ? hashes : undefined;
}

/** The network of the client that a question is for; nothing for questions of the node itself. */
export function writeNetwork(clientNetwork: string): Record<string, string> {
  return readClientNetwork(clientNetwork) === undefined ? {} : { [fieldNames.network]: clientNetwork };
}

/** Null: the question names none. Undefined: it is not a network as nodes write it. */
export function readNetwork(fields: RequestFields): string | null | undefined {
  const text = fieldOf(fields, fieldNames.network);
  return text === undefined ? null : readClientNetwork(text);
}

/**
 * Failures that are the same wherever the work is tried: the origin's, those of a picture, and the client's own. All
 * others belong to the node that was asked, and the asker tries the next one.
 */
const sharedFailures: ReadonlySet<string> = new Set<ErrorCode>([
  "BODY_TOO_LARGE",
  "UNSUPPORTED_IMAGE",
  "BROKEN_IMAGE",
  "TOO_MANY_PIXELS",
  "DECODER_CRASHED",
  "DECODER_TIMEOUT",
  "DECODER_MEMORY",
  "SOURCE_QUARANTINED",
  // On another node, the network would get what it may not have here.
  "NETWORK_OVERLOADED",
  "ORIGIN_UNREACHABLE",
  "ORIGIN_TIMEOUT",
  "ORIGIN_BUSY",
  "ORIGIN_BAD_ANSWER",
]);

/** The code of a failure that the asker shares; undefined for failures of the asked node alone. */
export function readSharedFailure(fields: RequestFields): ErrorCode | undefined {
  const code = fieldOf(fields, fieldNames.problem) ?? "";
  return sharedFailures.has(code) && Object.hasOwn(errorCatalogue, code) ? (code as ErrorCode) : undefined;
}
