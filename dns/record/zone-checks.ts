/**
 * Rules for zones that the schema can't express: which records may share a name, and what they may point to. Rules of a
 * single type are in its file (types/); this file calls them, and has the rules for all types. read-document.ts calls
 * it; the zone compiler relies on it.
 *
 *   records of a zone ─▶ owner ─▶ types at the owner, as bits   one pass over the records (zone-names.ts), a second for
 *                                                               rules at one name, a third for rules between names
 *
 * The work is linear in the records and the labels of their names.
 */
import type { ValueProblem } from "#base/schema.ts";
import { canonicalName, isAtOrBelow, nameAbove, ownerOf } from "./domain-names.ts";
import type { RecordKind, Surroundings } from "./record-type.ts";
import { bitOf, bitsOfKinds } from "./type-bits.ts";
import { kindsStanding, recordTypeOf, recordTypeOfNumber, typeNumberOf, whyNotRaw, type ZoneRecord } from "./types.ts";
import { aboveWith, homeOf, type NamesOfZones, typesAt, whyNoAddresses, type ZoneNames } from "./zone-names.ts";

const nsBit = bitsOfKinds(["NS"]);
const cnameBit = bitsOfKinds(["CNAME"]);
const dnameBit = bitsOfKinds(["DNAME"]);
const aloneBits = bitsOfKinds(kindsStanding("alone"));
const singleBits = bitsOfKinds(kindsStanding("single"));
/** Types that give a name its addresses and so exclude steering. */
const addressingBits = bitsOfKinds(["A", "AAAA", "CNAME", "ALIAS"]);

/** Why this name can't be steered. */
export function* contradictionsOfSteeredName(
  steered: { readonly name: string },
  names: NamesOfZones,
  path: string,
): Generator<ValueProblem> {
  const name = canonicalName(steered.name);
  const at = `${path}.name`;
  const home = homeOf(names, name);
  if (home === undefined) {
    yield { path: at, message: `"${steered.name}" lies in none of the zones: add its zone, or correct the name` };
    return;
  }
  const types = home.types.get(name) ?? 0;
  if ((types & addressingBits) !== 0) {
    yield {
      path: at,
      message:
        `"${steered.name}" also has an A, AAAA, CNAME or ALIAS record in its zone: remove the record or ` +
        `the steering`,
    };
  }
  const cut = name !== home.apex && (types & nsBit) !== 0 ? name : aboveWith(home, name, nsBit);
  if (cut !== undefined) {
    yield { path: at, message: `"${steered.name}" lies in ${cut}, which is delegated to other nameservers` };
  }
  const renamed = aboveWith(home, name, dnameBit);
  if (renamed !== undefined) yield { path: at, message: `"${steered.name}" lies below the DNAME at ${renamed}` };
}

/** @param warn gets what works but is unwise */
export function* contradictionsOfZones(
  names: NamesOfZones,
  warn: (problem: ValueProblem) => void,
): Generator<ValueProblem> {
  for (const zone of names.zones) {
    yield* contradictionsOfNameservers(zone, names);
    yield* contradictionsOfRecords(zone);
    yield* contradictionsBetweenNames(zone, names, warn);
  }
}

function* contradictionsOfNameservers(zone: ZoneNames, { steered }: NamesOfZones): Generator<ValueProblem> {
  const { apex, types, read } = zone;
  for (const [n, { name, addresses }] of read.zone.nameservers.entries()) {
    const at = `${read.path}.nameservers[${n}]`;
    const server = ownerOf(name, apex);
    // RFC 2181 §10.3: the name of a nameserver must not be an alias, and its address must not depend on the client.
    if (server.length > 253) {
      yield { path: `${at}.name`, message: `"${name}", with the zone's name, is longer than 253 characters` };
    }
    if (((types.get(server) ?? 0) & cnameBit) !== 0)
      yield { path: `${at}.name`, message: `"${name}" must not be a CNAME` };
    if (steered.has(server)) yield { path: `${at}.name`, message: `"${name}" must not be steered` };
    if (addresses.length > 0 && !isAtOrBelow(server, apex)) {
      yield {
        path: `${at}.addresses`,
        message: `"${name}" lies outside the zone ${apex}: remove its addresses, since its own zone has them`,
      };
    }
  }
}

/** Faults of one record, and conflicts between records at the same name. */
function* contradictionsOfRecords(zone: ZoneNames): Generator<ValueProblem> {
  const { apex, owners, read } = zone;
  const seen = new Map<string, number>();
  const isSeenAsked = (zone.all & (aloneBits | singleBits)) !== 0;
  for (const [r, one] of read.zone.records.entries()) {
    const owner = owners[r] ?? apex;
    // The zone-file reader has already applied the other rules to its records.
    if (read.owners === undefined) yield* contradictionsOfWritten(one, owner, apex, (key) => read.placeOf(r, key));
    if (one.type === "RAW") {
      const why = whyNotRaw(one.typeNumber);
      if (why !== undefined) yield { path: read.placeOf(r, "typeNumber"), message: why };
    }
    if (!isSeenAsked) continue;
    const bit = bitOf(one);
    const before = seen.get(owner) ?? 0;
    seen.set(owner, before | bit);
    // The apex always has SOA and NS, so no record can be alone there (RFC 1912 §2.4).
    if ((before & aloneBits) !== 0 || ((bit & aloneBits) !== 0 && (before !== 0 || owner === apex))) {
      yield {
        path: read.placeOf(r),
        message:
          `${owner} has a ${kindAlone(before | bit)} and other records: a ${kindAlone(before | bit)} must ` +
          `be alone`,
      };
    }
    if ((bit & singleBits & before) !== 0) {
      yield { path: read.placeOf(r), message: `${owner} has two ${one.type} records: only one is allowed` };
    }
  }
  if (read.owners === undefined) yield* contradictionsOfTtls(zone);
}

function kindAlone(bits: number): string {
  return kindsStanding("alone").find((kind) => (bits & bitsOfKinds([kind])) !== 0) ?? "";
}

function* contradictionsOfWritten(
  one: ZoneRecord,
  owner: string,
  apex: string,
  placeOf: (key?: string) => string,
): Generator<ValueProblem> {
  const type = recordTypeOf(one);
  if (!isAtOrBelow(owner, apex)) {
    yield { path: placeOf("name"), message: `"${one.name}" lies outside the zone ${apex}` };
  }
  const target = type.targetOf?.(one);
  if (target !== undefined && target !== "." && ownerOf(target, apex).length > 253) {
    yield { path: placeOf(), message: `"${target}", with the zone's name, is longer than 253 characters` };
  }
  if (owner.length > 253) yield { path: placeOf("name"), message: `"${owner}" is longer than 253 characters` };
  if (type.faultsOf === undefined) return;
  for (const { key, message } of type.faultsOf(one)) yield { path: placeOf(key), message };
}

/** RFC 2181 §5.2: the records of an RRset have one TTL. */
function* contradictionsOfTtls({ owners, read }: ZoneNames): Generator<ValueProblem> {
  const ttls = new Map<string, number>();
  for (const [r, one] of read.zone.records.entries()) {
    const ttl = one.ttlSeconds ?? read.zone.ttlSeconds;
    const key = `${owners[r]} ${typeNumberOf(one)}`;
    const first = ttls.get(key);
    if (first === undefined) ttls.set(key, ttl);
    else if (first !== ttl) {
      const message = `must be ${first}, as in the first record of ${owners[r]} ${one.type} (got ${ttl})`;
      yield { path: read.placeOf(r, "ttlSeconds"), message };
    }
  }
}

/** Conflicts of records with other names, in this zone and in the others. */
function* contradictionsBetweenNames(
  zone: ZoneNames,
  names: NamesOfZones,
  warn: (problem: ValueProblem) => void,
): Generator<ValueProblem> {
  const { apex, owners, read } = zone;
  const outer = homeOf(names, nameAbove(apex) ?? "");
  const outerDname = outer === undefined ? undefined : aboveWith(outer, apex, dnameBit);
  if (outerDname !== undefined) {
    yield { path: `${read.path}.name`, message: `the zone ${apex} lies below the DNAME at ${outerDname}` };
  }
  const around = newSurroundings(zone, names, warn);
  const hasDname = (zone.all & dnameBit) !== 0;
  for (const [r, one] of read.zone.records.entries()) {
    const owner = owners[r] ?? apex;
    // RFC 6672 §2.4: no name exists below a DNAME.
    const renamed = hasDname ? aboveWith(zone, owner, dnameBit) : undefined;
    if (renamed !== undefined) {
      yield { path: read.placeOf(r, "name"), message: `${owner} lies below the DNAME at ${renamed}` };
    }
    const own = recordTypeOf(one);
    const numbered = one.type === "RAW" ? recordTypeOfNumber(one.typeNumber) : own;
    if (own.rulesOf === undefined && numbered?.rulesOfOwner === undefined) continue;
    around.record = r;
    around.owner = owner;
    if (own.rulesOf !== undefined) yield* own.rulesOf(one, around);
    if (numbered?.rulesOfOwner !== undefined) yield* numbered.rulesOfOwner(around);
  }
}

/** One object for all records of a zone, which may have a hundred thousand; it is set to each record in turn. */
function newSurroundings(
  zone: ZoneNames,
  names: NamesOfZones,
  warn: (problem: ValueProblem) => void,
): Surroundings & { record: number; owner: string } {
  const { apex, read } = zone;
  const has = (name: string, kinds: readonly RecordKind[]): boolean =>
    ((zone.types.get(name) ?? 0) & bitsOfKinds(kinds)) !== 0;
  const around: Surroundings & { record: number; owner: string } = {
    record: 0,
    owner: apex,
    apex,
    isZoneFile: read.owners !== undefined,
    has: (...kinds) => has(around.owner, kinds),
    hasAt: (name, ...kinds) => has(name, kinds),
    whole: (target) => ownerOf(target, apex),
    isSteered: (name) => names.steered.has(name),
    isOurs: (name) => homeOf(names, name) !== undefined,
    isCname: (name) => (typesAt(names, name) & cnameBit) !== 0,
    whyNoAddresses: (name) => whyNoAddresses(names, name),
    at: (key) => read.placeOf(around.record, key),
    warn,
  };
  return around;
}
