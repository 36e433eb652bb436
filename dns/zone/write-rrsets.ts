/**
 * Writes RRsets into an answer. Nothing is allocated: a loop copies the octets, which for answers is as fast as any
 * call that needs a view, and makes no garbage.
 */
import { svcParamKeys } from "#record/svc-param-keys.ts";
import { addressSlot, noSite, type Steering } from "../steer/steering.ts";
import type { Family } from "../wire/address.ts";
import { byteAt, copyOctets, intAt, putUint16, putUint32 } from "../wire/bytes.ts";
import { classes, recordTypes } from "../wire/numbers.ts";
import {
  hintIpv4At,
  hintIpv6At,
  hintRdataLength,
  hintRecordAt,
  hintSteered,
  hintWords,
  setBlockAt,
  setBlockLength,
  setCount,
  setExtra,
  setSlotCounts,
  setSlotsAt,
  setType,
  setWords,
  type CompiledZones,
} from "./compiled-zones.ts";

/** From a record's owner, if that is a pointer, to its rdata: owner 2, type 2, class 2, TTL 4, rdlength 2. */
export const pointedHeaderLength = 12;

/**
 * Copies the RRset to `out[at..limit)`.
 * @param ownerAt offset in the message of the owner's name
 * @param apexAt offset in the message of the zone's apex
 * @returns the offset after it, or -1 when it does not fit
 */
export function writeSet(
  compiled: CompiledZones,
  set: number,
  out: Uint8Array,
  at: number,
  limit: number,
  ownerAt: number,
  apexAt: number,
): number {
  const { sets, slots, bytes } = compiled;
  const base = set * setWords;
  const length = intAt(sets, base + setBlockLength);
  if (length > limit - at) return -1;
  const from = intAt(sets, base + setBlockAt);
  copyOctets(bytes, from, out, at, length);
  const counts = intAt(sets, base + setSlotCounts);
  let slot = intAt(sets, base + setSlotsAt);
  const owners = (counts & 1) === 0 ? 0 : intAt(sets, base + setCount);
  for (const end = slot + owners; slot < end; slot++) putUint16(out, at + (slots[slot] ?? 0), 0xc000 | ownerAt);
  for (const end = slot + (counts >>> 1); slot < end; slot++) putUint16(out, at + (slots[slot] ?? 0), 0xc000 | apexAt);
  return at + length;
}

/**
 * Writes the A or AAAA records of a site, beginning with address `first`, so that the addresses rotate.
 * @param site as chosen by decide(); it has such an address
 * @returns the offset after them, or -1 if they do not fit
 */
export function writeAddresses(
  steering: Steering,
  site: number,
  asked: Family,
  first: number,
  ttlSeconds: number,
  out: Uint8Array,
  at: number,
  limit: number,
  ownerAt: number,
): number {
  const { addresses, addressIndex } = steering;
  const slot = addressSlot(site, asked);
  const start = addressIndex[slot] ?? 0;
  const count = addressIndex[slot + 1] ?? 0;
  const octets = asked === 4 ? 4 : 16;
  const size = pointedHeaderLength + octets;
  if (count * size > limit - at) return -1;
  let to = at;
  let index = first;
  for (let i = 0; i < count; i++) {
    putUint16(out, to, 0xc000 | ownerAt);
    putUint16(out, to + 2, asked === 4 ? recordTypes.A : recordTypes.AAAA);
    putUint16(out, to + 4, classes.IN);
    putUint32(out, to + 6, ttlSeconds);
    putUint16(out, to + 10, octets);
    const from = start + index * octets;
    for (let octet = 0; octet < octets; octet++) out[to + 12 + octet] = byteAt(addresses, from + octet);
    to += size;
    index = index + 1 === count ? 0 : index + 1;
  }
  return to;
}

/** Number of addresses that a site, as chosen by decide(), has for A (4) or AAAA (6). */
export function addressesCount(steering: Steering, site: number, asked: Family): number {
  return steering.addressIndex[addressSlot(site, asked) + 1] ?? 0;
}

/**
 * Writes an RRset of HTTPS or SVCB records whose hints were decided for this client.
 *
 *   block's record   header │ … │ ech … │ key7 …
 *   written          header │ … │ ipv4hint │ ech … │ ipv6hint │ key7 …
 *
 * @param turn rotates a site's addresses; selects the first one
 * @param ttlSeconds the minimum of the TTLs of the RRset and its targets
 * @param sites for each record with a steered target, the sites of its ipv4hint and ipv6hint; noSite: no such hint
 * @returns the offset after it, or -1 when it does not fit
 */
export function writeHinted(
  compiled: CompiledZones,
  set: number,
  steering: Steering,
  sites: Int32Array,
  turn: number,
  ttlSeconds: number,
  out: Uint8Array,
  at: number,
  limit: number,
  ownerAt: number,
): number {
  const { sets, bytes, hints } = compiled;
  const base = set * setWords;
  const count = intAt(sets, base + setCount);
  const blockAt = intAt(sets, base + setBlockAt);
  if (intAt(sets, base + setBlockLength) > limit - at) return -1;
  let to = at;
  let chosen = 0;
  for (let record = 0; record < count; record++) {
    const hint = (intAt(sets, base + setExtra) + record) * hintWords;
    const rdataAt = blockAt + intAt(hints, hint + hintRecordAt) + pointedHeaderLength;
    const rdataLength = intAt(hints, hint + hintRdataLength);
    let site4 = noSite;
    let site6 = noSite;
    if (intAt(hints, hint + hintSteered) >= 0) {
      site4 = intAt(sites, chosen++);
      site6 = intAt(sites, chosen++);
    }
    const length = rdataLength + hintLength(steering, site4, 4) + hintLength(steering, site6, 6);
    if (pointedHeaderLength + length > limit - to) return -1;
    putUint16(out, to, 0xc000 | ownerAt);
    putUint16(out, to + 2, intAt(sets, base + setType));
    putUint16(out, to + 4, classes.IN);
    putUint32(out, to + 6, ttlSeconds);
    putUint16(out, to + 10, length);
    to += pointedHeaderLength;
    const ipv4At = intAt(hints, hint + hintIpv4At);
    const ipv6At = intAt(hints, hint + hintIpv6At);
    let from = 0;
    for (; from < ipv4At; from++) out[to++] = byteAt(bytes, rdataAt + from);
    to = writeHint(steering, site4, 4, turn, out, to);
    for (; from < ipv6At; from++) out[to++] = byteAt(bytes, rdataAt + from);
    to = writeHint(steering, site6, 6, turn, out, to);
    for (; from < rdataLength; from++) out[to++] = byteAt(bytes, rdataAt + from);
  }
  return to;
}

function hintLength(steering: Steering, site: number, family: Family): number {
  if (site === noSite) return 0;
  const count = addressesCount(steering, site, family);
  return count === 0 ? 0 : 4 + count * (family === 4 ? 4 : 16);
}

function writeHint(
  steering: Steering,
  site: number,
  family: Family,
  turn: number,
  out: Uint8Array,
  at: number,
): number {
  const length = hintLength(steering, site, family);
  if (length === 0) return at;
  const { addresses, addressIndex } = steering;
  const slot = addressSlot(site, family);
  const start = addressIndex[slot] ?? 0;
  const octets = length - 4;
  putUint16(out, at, family === 4 ? svcParamKeys.ipv4hint : svcParamKeys.ipv6hint);
  putUint16(out, at + 2, octets);
  // Start at address `turn` and wrap around.
  let from = (turn % (addressIndex[slot + 1] ?? 1)) * (family === 4 ? 4 : 16);
  for (let i = 0; i < octets; i++) {
    out[at + 4 + i] = byteAt(addresses, start + from);
    from = from + 1 === octets ? 0 : from + 1;
  }
  return at + length;
}
