/**
 * What the schema can't say of the zones: which records may stand beside each other, and what they may point to.
 * read-document.ts asks for it; whoever compiles zones relies on it.
 *
 *   records of a zone ─▶ owner ─▶ the types at it, as bits      one look at each record, then one more at those whose
 *                                                               rule speaks of other names
 *
 * Names are compared as canonicalName() has them. The work is linear in the records and the labels of their names.
 */
import { isIP } from "node:net";
import type { ValueProblem } from "#base/schema.ts";
import { canonicalName, ownerOf } from "./names.ts";
import type { ZoneRecord } from "./zone-record.ts";
import type { ReadZone } from "./written-zones.ts";
import { isAtOrBelow, nameAbove } from "./zone-file/names.ts";
import { typeNumberOf, whyNotRaw } from "./zone-file/type-numbers.ts";

/** Aliases that are followed to an address; the responder follows no more. */
const aliasesMax = 12;

/** Types at a name, where a rule asks for them. */
const bits = { A: 1, AAAA: 2, NS: 4, CNAME: 8, DNAME: 16, ALIAS: 32, other: 64 } as const;
const addressBits = bits.A | bits.AAAA;

interface ZoneNames {
  readonly read: ReadZone;
  readonly apex: string;
  /** Owner: bits. */
  readonly types: Map<string, number>;
  /** Owners of the zone's records, in their order. */
  readonly owners: readonly string[];
  /** All types at all names. */
  all: number;
  /** Names that are there, empty non-terminals among them; made when it is first asked for. */
  existing: Set<string> | undefined;
  /** CNAME, ALIAS and DNAME: where they lead; made when it is first asked for. */
  targets: Map<string, string> | undefined;
}

/** All zones' names, to be asked by several rules. */
export interface NamesOfZones {
  readonly zones: readonly ZoneNames[];
  readonly byApex: ReadonlyMap<string, ZoneNames>;
  readonly steered: ReadonlySet<string>;
}

export function namesOfZones(read: readonly ReadZone[], steering: readonly { readonly name: string }[]): NamesOfZones {
  const zones = read.map(namesOfZone);
  const steered = new Set(steering.map((one) => canonicalName(one.name)));
  return { zones, byApex: new Map(zones.map((one) => [one.apex, one])), steered };
}

function namesOfZone(read: ReadZone): ZoneNames {
  const { zone } = read;
  const apex = canonicalName(zone.name);
  const types = new Map<string, number>([[apex, bits.other]]);
  const owners = read.owners ?? zone.records.map((record) => ownerOf(record.name, apex));
  let all = 0;
  const add = (owner: string, bit: number): void => {
    types.set(owner, (types.get(owner) ?? 0) | bit);
    all |= bit;
  };
  for (const server of zone.nameservers) {
    add(apex, bits.NS);
    for (const address of server.addresses) add(ownerOf(server.name, apex), isIP(address) === 4 ? bits.A : bits.AAAA);
  }
  for (const [r, record] of zone.records.entries()) add(owners[r] ?? apex, bitOf(record));
  return { read, apex, types, owners, all, existing: undefined, targets: undefined };
}

const bitByType = new Map<string, number>(Object.entries(bits));

function bitOf(record: ZoneRecord): number {
  return bitByType.get(record.type) ?? bits.other;
}

/** Of a zone and one inside it, the inner answers for the name (RFC 1034 §4.3.2). */
function homeOf({ byApex }: NamesOfZones, name: string): ZoneNames | undefined {
  for (let above: string | undefined = name; above !== undefined; above = nameAbove(above)) {
    const zone = byApex.get(above);
    if (zone !== undefined) return zone;
  }
  return undefined;
}

/** The nearest name above `name` inside of its zone that has one of these types: a cut, or a DNAME. */
function aboveWith(zone: ZoneNames, name: string, types: number): string | undefined {
  if ((zone.all & types) === 0) return undefined;
  for (let above = nameAbove(name); above !== undefined && above !== zone.apex; above = nameAbove(above)) {
    if (((zone.types.get(above) ?? 0) & types) !== 0) return above;
  }
  // The apex has NS, which are no cut.
  const atApex = (zone.types.get(zone.apex) ?? 0) & types & ~bits.NS;
  return atApex !== 0 && name !== zone.apex ? zone.apex : undefined;
}

/** What speaks against steering this name. */
export function* contradictionsOfSteeredName(
  steered: { readonly name: string },
  names: NamesOfZones,
  path: string,
): Generator<ValueProblem> {
  const name = canonicalName(steered.name);
  const at = `${path}.name`;
  const home = homeOf(names, name);
  if (home === undefined) {
    yield { path: at, message: `"${steered.name}" lies in none of the zones` };
    return;
  }
  const types = home.types.get(name) ?? 0;
  if ((types & (addressBits | bits.CNAME | bits.ALIAS)) !== 0) {
    yield { path: at, message: `"${steered.name}" also has an A, AAAA, CNAME or ALIAS record in its zone` };
  }
  const cut = name !== home.apex && (types & bits.NS) !== 0 ? name : aboveWith(home, name, bits.NS);
  if (cut !== undefined) {
    yield { path: at, message: `"${steered.name}" lies in ${cut}, which NS records give to other nameservers` };
  }
  const renamed = aboveWith(home, name, bits.DNAME);
  if (renamed !== undefined) yield { path: at, message: `"${steered.name}" lies below the DNAME at ${renamed}` };
}

/** @param warn told what is unwise, but works */
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
    // RFC 2181 §10.3: the name of a nameserver must not be an alias, and its address must not depend on who asks.
    if (server.length > 253) {
      yield { path: `${at}.name`, message: `"${name}", made whole, is longer than 253 characters` };
    }
    if (((types.get(server) ?? 0) & bits.CNAME) !== 0) yield { path: `${at}.name`, message: `"${name}" is a CNAME` };
    if (steered.has(server)) yield { path: `${at}.name`, message: `"${name}" is a steered name` };
    if (addresses.length > 0 && !isAtOrBelow(server, apex)) {
      yield {
        path: `${at}.addresses`,
        message: `"${name}" lies outside the zone ${apex}: its own zone has its addresses`,
      };
    }
  }
}

/** What one record, and those at the same name, say against each other. */
function* contradictionsOfRecords(zone: ZoneNames): Generator<ValueProblem> {
  const { apex, owners, read } = zone;
  const { records } = read.zone;
  const seen = new Map<string, number>();
  const isSeenAsked = (zone.all & (bits.CNAME | bits.DNAME | bits.ALIAS)) !== 0;
  for (const [r, one] of records.entries()) {
    const owner = owners[r] ?? apex;
    // What came from a zone file was held to the rest of these rules when it was read.
    if (read.owners === undefined) yield* contradictionsOfWritten(one, owner, apex, (key) => read.placeOf(r, key));
    if (one.type === "RAW") {
      const why = whyNotRaw(one.typeNumber);
      if (why !== undefined) yield { path: read.placeOf(r, "typeNumber"), message: why };
    }
    if (!isSeenAsked) continue;
    const bit = bitOf(one);
    const before = seen.get(owner) ?? 0;
    seen.set(owner, before | bit);
    // RFC 1034 §3.6.2: a CNAME stands alone, and (§3.6.2, RFC 1912 §2.4) never at the apex, where SOA and NS are.
    if ((before & bits.CNAME) !== 0 || (bit === bits.CNAME && (before !== 0 || owner === apex))) {
      yield { path: read.placeOf(r), message: `${owner} has a CNAME beside other records` };
    }
    // RFC 6672 §2.4.
    if (bit === bits.DNAME && (before & bits.DNAME) !== 0) {
      yield { path: read.placeOf(r), message: `${owner} has two DNAME records` };
    }
    if (bit === bits.ALIAS && (before & bits.ALIAS) !== 0) {
      yield { path: read.placeOf(r), message: `${owner} has two ALIAS records` };
    }
  }
  if (read.owners === undefined) yield* contradictionsOfTtls(zone);
}

function* contradictionsOfWritten(
  one: ZoneRecord,
  owner: string,
  apex: string,
  placeOf: (key?: string) => string,
): Generator<ValueProblem> {
  if (!isAtOrBelow(owner, apex)) {
    yield { path: placeOf("name"), message: `"${one.name}" lies outside the zone ${apex}` };
  }
  const target = targetOf(one);
  if (target !== undefined && target !== "." && ownerOf(target, apex).length > 253) {
    yield { path: placeOf(), message: `"${target}", made whole, is longer than 253 characters` };
  }
  if (owner.length > 253) yield { path: placeOf("name"), message: `"${owner}" is longer than 253 characters` };
  if (one.type === "A" && isIP(one.address) !== 4) {
    yield { path: placeOf("address"), message: `"${one.address}" is not an IPv4 address` };
  }
  if (one.type === "AAAA" && isIP(one.address) !== 6) {
    yield { path: placeOf("address"), message: `"${one.address}" is not an IPv6 address` };
  }
  if (one.type === "TXT") {
    for (const [t, text] of one.text.entries()) {
      if (Buffer.byteLength(text) > 255) yield { path: placeOf(`text[${t}]`), message: "has more than 255 octets" };
    }
  }
  if (one.type === "NAPTR") {
    for (const key of ["services", "regexp"] as const) {
      if (Buffer.byteLength(one[key]) > 255) yield { path: placeOf(key), message: "has more than 255 octets" };
    }
  }
  if (one.type === "HTTPS" || one.type === "SVCB") {
    for (const [a, protocol] of (one.params.alpn ?? []).entries()) {
      if (Buffer.byteLength(protocol) > 255) {
        yield { path: placeOf(`params.alpn[${a}]`), message: "has more than 255 octets" };
      }
    }
    for (const [key, family] of [["ipv4hint", 4] as const, ["ipv6hint", 6] as const]) {
      for (const [h, address] of (one.params[key] ?? []).entries()) {
        if (isIP(address) !== family) {
          yield { path: placeOf(`params.${key}[${h}]`), message: `"${address}" is not an IPv${family} address` };
        }
      }
    }
  }
}

/** The name that a record points to, as it is written. */
function targetOf(one: ZoneRecord): string | undefined {
  if ("target" in one) return one.target;
  if (one.type === "MX") return one.exchange;
  return one.type === "NAPTR" ? one.replacement : undefined;
}

/** RFC 2181 §5.2: the records of one RRset have one TTL. */
function* contradictionsOfTtls({ owners, read }: ZoneNames): Generator<ValueProblem> {
  const ttls = new Map<string, number>();
  for (const [r, one] of read.zone.records.entries()) {
    const ttl = one.ttlSeconds ?? read.zone.ttlSeconds;
    const key = `${owners[r]} ${typeNumberOf(one)}`;
    const first = ttls.get(key);
    if (first === undefined) ttls.set(key, ttl);
    else if (first !== ttl) {
      const message = `${ttl} differs from the ${first} of an earlier record of ${owners[r]} ${one.type}`;
      yield { path: read.placeOf(r, "ttlSeconds"), message };
    }
  }
}

/** What records say against other names: of this zone, and of the others. */
function* contradictionsBetweenNames(
  zone: ZoneNames,
  names: NamesOfZones,
  warn: (problem: ValueProblem) => void,
): Generator<ValueProblem> {
  const { apex, owners, read, types } = zone;
  const outer = homeOf(names, nameAbove(apex) ?? "");
  const outerDname = outer === undefined ? undefined : aboveWith(outer, apex, bits.DNAME);
  if (outerDname !== undefined) {
    yield { path: `${read.path}.name`, message: `the zone ${apex} lies below the DNAME at ${outerDname}` };
  }
  for (const [r, one] of read.zone.records.entries()) {
    const owner = owners[r] ?? apex;
    const at = (key?: string): string => read.placeOf(r, key);
    // RFC 6672 §2.4: nothing exists below a DNAME.
    const renamed = (zone.all & bits.DNAME) === 0 ? undefined : aboveWith(zone, owner, bits.DNAME);
    if (renamed !== undefined) yield { path: at("name"), message: `${owner} lies below the DNAME at ${renamed}` };
    const here = types.get(owner) ?? 0;
    if (one.type === "DNAME") yield* contradictionsOfDname(owner, here, apex, at);
    else if (one.type === "ALIAS") yield* contradictionsOfAlias(one, owner, here, apex, names, at);
    else if (typeNumberOf(one) === typeNumberOfDs) yield* contradictionsOfDs(zone, owner, at("name"));
    else if (one.type === "HTTPS" || one.type === "SVCB") yield* contradictionsOfService(one, owner, apex, names, at);
    else if (one.type === "NS") {
      yield* contradictionsOfNs(zone, owner, ownerOf(one.target, apex), names, at("target"), warn);
    } else if (one.type === "MX" || one.type === "SRV") {
      const target = one.type === "MX" ? one.exchange : one.target;
      // RFC 2181 §10.3, RFC 2782.
      if (target !== "." && isAlias(names, ownerOf(target, apex))) {
        warn({ path: at(), message: `${owner} ${one.type}: ${ownerOf(target, apex)} is a CNAME` });
      }
    }
  }
}

/** RFC 6672 §2.3 and §3.3. */
function* contradictionsOfDname(
  owner: string,
  here: number,
  apex: string,
  at: (key?: string) => string,
): Generator<ValueProblem> {
  if ((here & bits.NS) !== 0 && owner !== apex) {
    yield { path: at(), message: `${owner} has a DNAME beside NS records, which may be only at the apex` };
  }
  if (owner.startsWith("*.")) yield { path: at("name"), message: `${owner}: a DNAME can't be a wildcard` };
}

function* contradictionsOfAlias(
  one: ZoneRecord & { type: "ALIAS" },
  owner: string,
  here: number,
  apex: string,
  names: NamesOfZones,
  at: (key?: string) => string,
): Generator<ValueProblem> {
  if ((here & (addressBits | bits.CNAME)) !== 0) {
    yield { path: at(), message: `${owner} has an ALIAS beside A, AAAA or CNAME records` };
  }
  if (names.steered.has(owner)) yield { path: at(), message: `${owner} has an ALIAS and is a steered name` };
  const why = whyNoAddresses(names, ownerOf(one.target, apex));
  if (why !== undefined) yield { path: at("target"), message: `the ALIAS of ${owner} ${why}` };
}

const typeNumberOfDs = 43;

/** RFC 4035 §2.4: at delegations only. */
function* contradictionsOfDs({ apex, types }: ZoneNames, owner: string, path: string): Generator<ValueProblem> {
  if (owner !== apex && ((types.get(owner) ?? 0) & bits.NS) !== 0) return;
  yield { path, message: `${owner} has a DS record, but no NS records give it to other nameservers` };
}

function isAlias(names: NamesOfZones, name: string): boolean {
  return ((homeOf(names, name)?.types.get(name) ?? 0) & bits.CNAME) !== 0;
}

function* contradictionsOfNs(
  zone: ZoneNames,
  owner: string,
  server: string,
  names: NamesOfZones,
  path: string,
  warn: (problem: ValueProblem) => void,
): Generator<ValueProblem> {
  const isAtApex = owner === zone.apex;
  // RFC 2181 §10.3. Of the servers below a cut nothing more is known here.
  if (isAlias(names, server)) {
    const problem = { path, message: `the nameserver ${server} is a CNAME` };
    if (isAtApex) yield problem;
    else warn(problem);
  }
  if (!isAtApex) return;
  if (names.steered.has(server)) yield { path, message: `the nameserver ${server} is a steered name` };
  else if (
    zone.read.owners !== undefined &&
    isAtOrBelow(server, zone.apex) &&
    ((zone.types.get(server) ?? 0) & (addressBits | bits.CNAME)) === 0
  ) {
    yield { path, message: `the nameserver ${server} lies in the zone, but has no A or AAAA record there` };
  }
}

function* contradictionsOfService(
  { priority, target, params, type }: ZoneRecord & { type: "HTTPS" | "SVCB" },
  owner: string,
  apex: string,
  names: NamesOfZones,
  at: (key?: string) => string,
): Generator<ValueProblem> {
  const keys = keysOf(params);
  // RFC 9460 §2.4.2.
  if (priority === 0 && keys.length > 0) {
    yield { path: at("params"), message: `a ${type} record of priority 0 is an alias: it has no parameters` };
  }
  // RFC 9460 §7.1.1.
  if (params.noDefaultAlpn === true && params.alpn === undefined) {
    yield { path: at("params.noDefaultAlpn"), message: "needs alpn: without both, no protocol is left" };
  }
  const pointed = target === "." ? owner : ownerOf(target, apex);
  if ((params.ipv4hint ?? params.ipv6hint) !== undefined && homeOf(names, pointed) !== undefined) {
    const key = params.ipv4hint === undefined ? "ipv6hint" : "ipv4hint";
    const message = `${pointed} lies in these zones: its hints are made from its addresses, so leave them out`;
    yield { path: at(`params.${key}`), message };
  }
  for (const key of Object.keys(params.other ?? {})) {
    const number = Number(key.slice(3));
    if (key !== `key${number}` || number < 7 || number > 65_534) {
      yield { path: at(`params.other.${key}`), message: "is not key7 to key65534, without leading zeros" };
    }
  }
  // RFC 9460 §8.
  for (const [m, key] of (params.mandatory ?? []).entries()) {
    const path = at(`params.mandatory[${m}]`);
    if (key === "mandatory") yield { path, message: `"mandatory" can't be mandatory` };
    else if (!keys.includes(key)) yield { path, message: `"${key}" is not among the parameters (${keys.join(", ")})` };
    else if (params.mandatory?.indexOf(key) !== m) yield { path, message: `"${key}" is there twice` };
  }
}

const keyOfMember = {
  mandatory: "mandatory",
  alpn: "alpn",
  noDefaultAlpn: "no-default-alpn",
  port: "port",
  ipv4hint: "ipv4hint",
  ech: "ech",
  ipv6hint: "ipv6hint",
} as const;

/** The keys that the parameters have on the wire, as `mandatory` names them. */
function keysOf({ other, noDefaultAlpn, ...named }: (ZoneRecord & { type: "HTTPS" })["params"]): string[] {
  const members = Object.keys(named) as (keyof typeof named)[];
  return [
    ...members.map((member) => keyOfMember[member]),
    ...(noDefaultAlpn === true ? [keyOfMember.noDefaultAlpn] : []),
    ...Object.keys(other ?? {}),
  ];
}

/** Why an ALIAS to `start` would have no addresses to answer with; undefined when it has. */
function whyNoAddresses(names: NamesOfZones, start: string): string | undefined {
  let name = start;
  for (let steps = 0; steps < aliasesMax; steps++) {
    const zone = homeOf(names, name);
    if (zone === undefined) return `leads to ${name}, which lies in none of the zones`;
    if (names.steered.has(name)) return undefined;
    const isCut = name !== zone.apex && ((zone.types.get(name) ?? 0) & bits.NS) !== 0;
    if (isCut || aboveWith(zone, name, bits.NS) !== undefined) {
      return `leads to ${name}, which NS records give to other nameservers`;
    }
    const renamed = aboveWith(zone, name, bits.DNAME);
    if (renamed !== undefined) {
      name = name.slice(0, -renamed.length) + (targetsOf(zone).get(renamed) ?? "");
      continue;
    }
    const owner = ownerFor(zone, name, names.steered);
    const types = zone.types.get(owner) ?? 0;
    if ((types & addressBits) !== 0) return undefined;
    const next = (types & (bits.CNAME | bits.ALIAS)) === 0 ? undefined : targetsOf(zone).get(owner);
    if (next === undefined) return `leads to ${name}, which has no addresses`;
    name = next;
  }
  return `leads round, or through more than ${aliasesMax} aliases`;
}

/** The owner whose records answer for `name`: itself, or the wildcard that stands for it (RFC 4592 §3.3). */
function ownerFor(zone: ZoneNames, name: string, steered: ReadonlySet<string>): string {
  if (zone.types.has(name)) return name;
  if (zone.existing === undefined) {
    const existing = new Set<string>();
    const add = (owner: string): void => {
      for (let one: string | undefined = owner; one !== undefined && !existing.has(one); one = nameAbove(one)) {
        existing.add(one);
        if (one === zone.apex) return;
      }
    };
    for (const owner of zone.types.keys()) add(owner);
    for (const owner of steered) if (isAtOrBelow(owner, zone.apex)) add(owner);
    zone.existing = existing;
  }
  if (zone.existing.has(name)) return name;
  let above = nameAbove(name);
  while (above !== undefined && !zone.existing.has(above)) above = nameAbove(above);
  return `*.${above ?? zone.apex}`;
}

function targetsOf(zone: ZoneNames): ReadonlyMap<string, string> {
  if (zone.targets === undefined) {
    zone.targets = new Map();
    for (const [r, one] of zone.read.zone.records.entries()) {
      if (one.type !== "CNAME" && one.type !== "ALIAS" && one.type !== "DNAME") continue;
      zone.targets.set(zone.owners[r] ?? zone.apex, ownerOf(one.target, zone.apex));
    }
  }
  return zone.targets;
}
