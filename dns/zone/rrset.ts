/**
 * An RRset as the bytes that go into an answer, made once when the fleet document is compiled.
 *
 *   block       owner │ type class ttl │ rdlength rdata     owner │ type class …
 *   ownerSlots  ^^ two octets, filled with a pointer per answer  ^^
 *   apexSlots   two octets inside rdata (or inside a written-out owner) where the rest of a name is the zone's apex
 *
 * Every answer of a zone repeats a question that lies in it, so the apex always stands inside the question: names of
 * the zone shrink to their own labels and a pointer, whose value depends on the question's length only. rdata whose
 * names must not be compressed (SRV, RFC 2782; every type newer than RFC 1035, RFC 3597 §4) carries them whole.
 */
import { byteAt, putUint16, putUint32 } from "../wire/bytes.ts";
import { isAtOrBelow, type WireName } from "../wire/name.ts";
import { classes } from "../wire/numbers.ts";

export interface RRset {
  readonly type: number;
  readonly ttlSeconds: number;
  readonly count: number;
  readonly block: Uint8Array;
  readonly ownerSlots: readonly number[];
  readonly apexSlots: readonly number[];
}

/** A piece of rdata: bytes, or a name that may or may not be compressed. */
export type RdataPart = { bytes: Uint8Array } | { name: WireName; mayCompress: boolean };

/** Where a CNAME's target stands in its one-record block: owner 2, type 2, class 2, TTL 4, rdlength 2. */
export const singleRdataOffset = 12;

interface Piece {
  readonly bytes: Uint8Array;
  /** Offset of a pointer to the apex in `bytes`, or -1. */
  readonly apexSlot: number;
}

/**
 * @param owner undefined for a pointer that each answer fills in, or the name of the zone to write out
 * @param rdatas one list of parts per record; equal records count once (RFC 2181 §5)
 */
export function buildRRset(
  type: number,
  ttlSeconds: number,
  apex: WireName,
  rdatas: readonly (readonly RdataPart[])[],
  owner?: WireName,
): RRset {
  const records = new Map<string, Piece[]>();
  for (const parts of rdatas) {
    const pieces = parts.map((part) =>
      "bytes" in part ? { bytes: part.bytes, apexSlot: -1 } : pieceOfName(part.name, part.mayCompress, apex),
    );
    records.set(Buffer.concat(pieces.map((piece) => piece.bytes)).toString("latin1"), pieces);
  }
  const ownerPiece = owner === undefined ? { bytes: new Uint8Array(2), apexSlot: -1 } : pieceOfName(owner, true, apex);
  const chunks: Uint8Array[] = [];
  const ownerSlots: number[] = [];
  const apexSlots: number[] = [];
  let length = 0;
  const add = (piece: Piece): void => {
    if (piece.apexSlot >= 0) apexSlots.push(length + piece.apexSlot);
    chunks.push(piece.bytes);
    length += piece.bytes.length;
  };
  for (const pieces of records.values()) {
    if (owner === undefined) ownerSlots.push(length);
    add(ownerPiece);
    const fixed = new Uint8Array(10);
    putUint16(fixed, 0, type);
    putUint16(fixed, 2, classes.IN);
    putUint32(fixed, 4, ttlSeconds);
    putUint16(
      fixed,
      8,
      pieces.reduce((sum, piece) => sum + piece.bytes.length, 0),
    );
    add({ bytes: fixed, apexSlot: -1 });
    for (const piece of pieces) add(piece);
  }
  return { type, ttlSeconds, count: records.size, block: new Uint8Array(Buffer.concat(chunks)), ownerSlots, apexSlots };
}

function pieceOfName(name: WireName, mayCompress: boolean, apex: WireName): Piece {
  const whole = name.bytes.slice(0, name.length);
  if (!mayCompress || apex.labelsCount === 0 || !isAtOrBelow(name, apex)) return { bytes: whole, apexSlot: -1 };
  const own = name.length - apex.length;
  const bytes = new Uint8Array(own + 2);
  bytes.set(whole.subarray(0, own));
  return { bytes, apexSlot: own };
}

/**
 * Copies the RRset to `out[at..limit)`.
 * @param ownerAt offset in the message of the owner's name
 * @param apexAt offset in the message of the zone's apex
 * @returns the offset after it, or -1 when it does not fit
 */
export function writeRRset(
  out: Uint8Array,
  at: number,
  limit: number,
  set: RRset,
  ownerAt: number,
  apexAt: number,
): number {
  const next = at + set.block.length;
  if (next > limit) return -1;
  out.set(set.block, at);
  for (const slot of set.ownerSlots) putUint16(out, at + slot, 0xc000 | ownerAt);
  for (const slot of set.apexSlots) putUint16(out, at + slot, 0xc000 | apexAt);
  return next;
}

/**
 * Like writeRRset() for a set whose records are all equally long, beginning with record `first`: so that the
 * addresses of one site take turns.
 */
export function writeRotated(
  out: Uint8Array,
  at: number,
  limit: number,
  set: RRset,
  ownerAt: number,
  first: number,
): number {
  const { block, count } = set;
  if (at + block.length > limit) return -1;
  const size = block.length / count;
  for (let i = 0; i < count; i++) {
    const from = ((i + first) % count) * size;
    const to = at + i * size;
    for (let octet = 2; octet < size; octet++) out[to + octet] = byteAt(block, from + octet);
    putUint16(out, to, 0xc000 | ownerAt);
  }
  return at + block.length;
}
