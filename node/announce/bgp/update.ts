/**
 * UPDATE (RFC 4271 §4.3): announced and withdrawn routes.
 *
 *   length | withdrawn IPv4 | length | attributes | announced IPv4
 *                                       └ MP_REACH_NLRI, MP_UNREACH_NLRI (RFC 4760): IPv6
 *
 * We write routes only for a peer of our own AS: AS_PATH is empty, LOCAL_PREF is present.
 *
 * Received messages are checked by the rules of RFC 4271 §6.3, and an error ends the session. RFC 7606 is more lenient
 * with attributes, so that one bad route does not affect the others; but we use none of the peer's routes, and a BIRD
 * configured for a lease announces none: invalid bytes come from something else.
 */
import { afiOf, familyOf, safiUnicast } from "./open.ts";
import { BgpError } from "./notification.ts";
import { type Family, type Prefix, readPrefixes, writePrefix } from "./prefix.ts";

/** The attributes shared by all prefixes of one announcement. */
export interface RouteAttributes {
  /** 4 octets for IPv4 prefixes, 16 for IPv6. */
  readonly nextHop: Uint8Array;
  readonly localPref: number;
  /** RFC 1997; each is a pair of the high half and the low half. */
  readonly communities: readonly (readonly [number, number])[];
}

export interface Update {
  readonly withdrawn: readonly Prefix[];
  readonly announced: readonly Prefix[];
  readonly origin: number | undefined;
  /** All AS numbers of the path, sequences and sets alike. */
  readonly asPath: readonly number[] | undefined;
  readonly nextHop: Uint8Array | undefined;
  readonly localPref: number | undefined;
  readonly communities: readonly (readonly [number, number])[];
  /** The family of which this is the End-of-RIB marker (RFC 4724 §2). */
  readonly endOfRib: Family | undefined;
}

const flags = { optional: 0x80, transitive: 0x40, partial: 0x20, extended: 0x10 } as const;
const wellKnown = flags.transitive;

const types = {
  origin: 1,
  asPath: 2,
  nextHop: 3,
  med: 4,
  localPref: 5,
  atomicAggregate: 6,
  aggregator: 7,
  communities: 8,
  mpReach: 14,
  mpUnreach: 15,
} as const;

/** Prefixes per message: 128 of the longest, with their attributes, take well below 4096 octets. */
const prefixesPerUpdate = 128;

/** Bodies of UPDATEs that announce these prefixes, all of one family. */
export function writeAnnouncements(
  family: Family,
  prefixes: readonly Prefix[],
  attributes: RouteAttributes,
): Uint8Array[] {
  return chunks(prefixes).map((chunk) => {
    const nlri = Buffer.concat(chunk.map(writePrefix));
    const always = [
      attribute(wellKnown, types.origin, [0]), // IGP: the route is our own
      attribute(wellKnown, types.asPath, []),
      ...(family === 4 ? [attribute(wellKnown, types.nextHop, attributes.nextHop)] : []),
      attribute(wellKnown, types.localPref, uint32(attributes.localPref)),
      ...(attributes.communities.length === 0 ? [] : [communities(attributes.communities)]),
    ];
    if (family === 4) return body([], Buffer.concat(always), nlri);
    const reach = [0, afiOf[family], safiUnicast, attributes.nextHop.length, ...attributes.nextHop, 0, ...nlri];
    // MP_REACH_NLRI comes first, so that a reader finds the routes whatever follows (RFC 7606 §5.1).
    return body([], Buffer.concat([attribute(flags.optional, types.mpReach, reach), ...always]), []);
  });
}

/** Bodies of UPDATEs that withdraw these prefixes, all of one family. */
export function writeWithdrawals(family: Family, prefixes: readonly Prefix[]): Uint8Array[] {
  return chunks(prefixes).map((chunk) => {
    const nlri = Buffer.concat(chunk.map(writePrefix));
    return family === 4 ? body(nlri, [], []) : unreach(family, nlri);
  });
}

/** The body of an End-of-RIB marker (RFC 4724 §2). */
export function writeEndOfRib(family: Family): Uint8Array {
  return family === 4 ? body([], [], []) : unreach(family, []);
}

function unreach(family: Family, nlri: Iterable<number>): Uint8Array {
  return body([], attribute(flags.optional, types.mpUnreach, [0, afiOf[family], safiUnicast, ...nlri]), []);
}

function body(withdrawn: Iterable<number>, attributes: Iterable<number>, nlri: Iterable<number>): Uint8Array {
  const first = Buffer.from([...withdrawn]);
  const second = Buffer.from([...attributes]);
  return Buffer.concat([uint16(first.length), first, uint16(second.length), second, Buffer.from([...nlri])]);
}

function attribute(flagBits: number, type: number, value: Iterable<number>): Uint8Array {
  const octets = Buffer.from([...value]);
  return octets.length > 255
    ? Buffer.concat([Uint8Array.from([flagBits | flags.extended, type]), uint16(octets.length), octets])
    : Buffer.concat([Uint8Array.from([flagBits, type, octets.length]), octets]);
}

function communities(list: RouteAttributes["communities"]): Uint8Array {
  const octets = list.flatMap(([high, low]) => [...uint16(high), ...uint16(low)]);
  return attribute(flags.optional | flags.transitive, types.communities, octets);
}

function uint16(value: number): Uint8Array {
  return Uint8Array.from([value >> 8, value & 0xff]);
}

function uint32(value: number): Uint8Array {
  return Uint8Array.from([value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]);
}

function chunks(prefixes: readonly Prefix[]): Prefix[][] {
  const count = Math.ceil(prefixes.length / prefixesPerUpdate);
  return Array.from({ length: count }, (_, i) => prefixes.slice(i * prefixesPerUpdate, (i + 1) * prefixesPerUpdate));
}

interface Attribute {
  readonly type: number;
  readonly value: Buffer;
  /** The whole attribute, with flags and length, for a NOTIFICATION. */
  readonly whole: Buffer;
}

/** Required flags and valid lengths, by type (RFC 4271 §5, RFC 1997, RFC 4760). */
const rules: Readonly<Record<number, { flags: number; hasLength: (length: number) => boolean }>> = {
  [types.origin]: { flags: wellKnown, hasLength: (length) => length === 1 },
  [types.asPath]: { flags: wellKnown, hasLength: () => true },
  [types.nextHop]: { flags: wellKnown, hasLength: (length) => length === 4 },
  [types.med]: { flags: flags.optional, hasLength: (length) => length === 4 },
  [types.localPref]: { flags: wellKnown, hasLength: (length) => length === 4 },
  [types.atomicAggregate]: { flags: wellKnown, hasLength: (length) => length === 0 },
  [types.aggregator]: { flags: flags.optional | flags.transitive, hasLength: (length) => length === 6 || length === 8 },
  [types.communities]: { flags: flags.optional | flags.transitive, hasLength: (length) => length % 4 === 0 },
  [types.mpReach]: { flags: flags.optional, hasLength: () => true },
  [types.mpUnreach]: { flags: flags.optional, hasLength: () => true },
};

/**
 * @param bytes the body, at least 4 octets
 * @param isFourOctetAs whether both sides announced it in their OPEN
 * @throws BgpError 3/x (RFC 4271 §6.3)
 */
export function readUpdate(bytes: Buffer, isFourOctetAs: boolean): Update {
  const attributesLengthAt = 2 + bytes.readUInt16BE(0);
  if (attributesLengthAt + 2 > bytes.length) throw new BgpError(3, 1, "the withdrawn routes pass the message's end");
  const attributesAt = attributesLengthAt + 2;
  const nlriAt = attributesAt + bytes.readUInt16BE(attributesLengthAt);
  if (nlriAt > bytes.length) throw new BgpError(3, 1, "the attributes pass the message's end");

  const withdrawn = prefixesOr(3, 10, bytes.subarray(2, attributesLengthAt), 4);
  const attributes = readAttributes(bytes.subarray(attributesAt, nlriAt));
  const announced = prefixesOr(3, 10, bytes.subarray(nlriAt), 4);

  const value = (type: number): Buffer | undefined => attributes.get(type)?.value;
  const origin = value(types.origin)?.readUInt8(0);
  if (origin !== undefined && origin > 2)
    throw new BgpError(3, 6, `it is ${origin}`, wholeOf(attributes, types.origin));
  const path = attributes.get(types.asPath);
  const asPath = path === undefined ? undefined : readAsPath(path, isFourOctetAs);
  const nextHop = value(types.nextHop);
  if (nextHop !== undefined && !isUsableNextHop(nextHop)) {
    throw new BgpError(3, 8, `it is ${nextHop.join(".")}`, wholeOf(attributes, types.nextHop));
  }
  const reach = attributes.get(types.mpReach);
  const reached = reach === undefined ? undefined : readReach(reach);
  const unreached = attributes.get(types.mpUnreach);
  const lost = unreached === undefined ? undefined : readUnreach(unreached);

  // Mandatory attributes of an announcement; NEXT_HOP only for IPv4 in its own field (RFC 4760 §3).
  const needed =
    announced.length > 0
      ? [types.origin, types.asPath, types.nextHop]
      : reached !== undefined
        ? [types.origin, types.asPath]
        : [];
  const missing = needed.find((type) => !attributes.has(type));
  if (missing !== undefined) throw new BgpError(3, 3, `type ${missing}`, Uint8Array.from([missing]));

  const isEmpty = withdrawn.length === 0 && announced.length === 0;
  return {
    withdrawn: [...withdrawn, ...(lost?.prefixes ?? [])],
    announced: [...announced, ...(reached?.prefixes ?? [])],
    origin,
    asPath,
    nextHop: nextHop ?? reached?.nextHop,
    localPref: value(types.localPref)?.readUInt32BE(0),
    communities: readCommunities(value(types.communities)),
    endOfRib: !isEmpty ? undefined : attributes.size === 0 ? 4 : attributes.size === 1 ? lost?.endOfRib : undefined,
  };
}

function readAttributes(bytes: Buffer): ReadonlyMap<number, Attribute> {
  const found = new Map<number, Attribute>();
  for (let at = 0; at < bytes.length;) {
    const bits = bytes[at] ?? 0;
    const isExtended = (bits & flags.extended) !== 0;
    const valueAt = at + (isExtended ? 4 : 3);
    if (valueAt > bytes.length) throw new BgpError(3, 1, "an attribute is cut off");
    const length = isExtended ? bytes.readUInt16BE(at + 2) : bytes.readUInt8(at + 2);
    const end = valueAt + length;
    if (end > bytes.length) throw new BgpError(3, 1, "an attribute passes the end of the list");
    const one = { type: bytes.readUInt8(at + 1), value: bytes.subarray(valueAt, end), whole: bytes.subarray(at, end) };
    if (found.has(one.type)) throw new BgpError(3, 1, `attribute ${one.type} stands twice`);
    checkAttribute(one, bits);
    found.set(one.type, one);
    at = end;
  }
  return found;
}

function checkAttribute({ type, value, whole }: Attribute, bits: number): void {
  const rule = rules[type];
  const kind = bits & (flags.optional | flags.transitive);
  if (rule === undefined) {
    // An unknown optional attribute is ignored; a well-known one must be known.
    if ((bits & flags.optional) === 0) throw new BgpError(3, 2, `type ${type}`, whole);
    return;
  }
  // Partial is valid only for optional transitive attributes (RFC 4271 §4.3).
  const isPartial = (bits & flags.partial) !== 0;
  if (kind !== rule.flags || (isPartial && kind !== (flags.optional | flags.transitive))) {
    throw new BgpError(3, 4, `type ${type}`, whole);
  }
  if (!rule.hasLength(value.length)) throw new BgpError(3, 5, `type ${type} of ${value.length} octets`, whole);
}

function readAsPath({ value, whole }: Attribute, isFourOctetAs: boolean): number[] {
  const size = isFourOctetAs ? 4 : 2;
  const path: number[] = [];
  for (let at = 0; at < value.length;) {
    const kind = value[at] ?? 0;
    const count = value[at + 1] ?? 0;
    const end = at + 2 + count * size;
    // 1 to 4: sets, sequences, and those of confederations (RFC 5065).
    if (kind < 1 || kind > 4 || count === 0 || end > value.length)
      throw new BgpError(3, 11, "a segment is wrong", whole);
    for (let i = at + 2; i < end; i += size) path.push(value.readUIntBE(i, size));
    at = end;
  }
  return path;
}

function readReach({ value, whole }: Attribute): { prefixes: readonly Prefix[]; nextHop: Uint8Array | undefined } {
  // AFI, SAFI, length of the next hop, next hop, one reserved octet, prefixes (RFC 4760 §3).
  const nlriAt = 5 + (value[3] ?? 0);
  if (nlriAt > value.length) throw new BgpError(3, 9, "MP_REACH_NLRI is cut off", whole);
  const family = familyOf(value.readUInt16BE(0), value.readUInt8(2));
  // A family that was not negotiated is not checked.
  if (family === undefined) return { prefixes: [], nextHop: undefined };
  const nextHop = value.subarray(4, nlriAt - 1);
  // An IPv6 next hop may be followed by a link-local one (RFC 2545 §3).
  const lengths = family === 4 ? [4, 16, 32] : [16, 32];
  if (!lengths.includes(nextHop.length)) throw new BgpError(3, 9, `a next hop of ${nextHop.length} octets`, whole);
  return { prefixes: prefixesOr(3, 9, value.subarray(nlriAt), family, whole), nextHop };
}

function readUnreach({ value, whole }: Attribute): { prefixes: readonly Prefix[]; endOfRib: Family | undefined } {
  if (value.length < 3) throw new BgpError(3, 9, "MP_UNREACH_NLRI is cut off", whole);
  const family = familyOf(value.readUInt16BE(0), value.readUInt8(2));
  if (family === undefined) return { prefixes: [], endOfRib: undefined };
  return {
    prefixes: prefixesOr(3, 9, value.subarray(3), family, whole),
    endOfRib: value.length === 3 ? family : undefined,
  };
}

function readCommunities(value: Buffer | undefined): (readonly [number, number])[] {
  if (value === undefined) return [];
  return Array.from({ length: value.length / 4 }, (_, i) => [value.readUInt16BE(4 * i), value.readUInt16BE(4 * i + 2)]);
}

/** An address of a host (RFC 4271 §6.3): not of 0/8, and below the multicast range. */
function isUsableNextHop(octets: Uint8Array): boolean {
  const first = octets[0] ?? 0;
  return first > 0 && first < 224;
}

function prefixesOr(
  code: number,
  subcode: number,
  bytes: Buffer,
  family: Family,
  data?: Uint8Array,
): readonly Prefix[] {
  const prefixes = readPrefixes(bytes, family);
  if (prefixes === undefined) throw new BgpError(code, subcode, `a prefix of IPv${family} is wrong`, data);
  return prefixes;
}

function wholeOf(attributes: ReadonlyMap<number, Attribute>, type: number): Uint8Array | undefined {
  return attributes.get(type)?.whole;
}
