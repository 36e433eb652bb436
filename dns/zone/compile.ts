/**
 * The zones of a fleet document, compiled to one value (compiled-zones.ts).
 *
 *   apexes ─▶ records, zone by zone ─▶ steered names ─▶ ALIAS and address hints ─▶ RRsets, delegations
 *   (so that each zone knows where others begin)    (over all zones: derived-records.ts)      (flatten.ts)
 *
 * The document has already been checked (parseFleet). A record that its schema can't check for the wire, such as a name
 * that exceeds 255 octets once it is absolute, is left out and reported. A bad record never costs the zone.
 */
import { labelText } from "#record/name-text.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import { putAddress, putOctets, putTarget } from "#record/rdata-writer.ts";
import { typeNumberOf, type ZoneRecord } from "#record/types.ts";
import { writeSoa } from "#record/types/soa.ts";
import type { Zone } from "#record/zone.ts";
import { parseIp } from "../wire/address.ts";
import { isAtOrBelow, keptName, nameFromText, readNameText, scratchName, type WireName } from "../wire/name.ts";
import { recordTypes } from "../wire/numbers.ts";
import { deriveAddresses, type Derived } from "./derived-records.ts";
import { addLooseRecord, addRecord, flagsOf, insertName, newDraft, setApex, type Draft } from "./draft.ts";
import { flatten, type DraftZone } from "./flatten.ts";
import { isApex, nodeSteered, nodeWords, type CompiledZones } from "./compiled-zones.ts";
import { emptyFound, foundDelegation, foundDname, lookUp } from "./lookup.ts";
import { beginRdata, emptyRdata, rdataOf } from "./rdata.ts";
import { isConsistent, svcbOf } from "./svcb-rdata.ts";

export interface Compilation {
  readonly compiled: CompiledZones;
  /** What was left out and why, for the log. */
  readonly problems: readonly string[];
}

/** The draft of names and records, and the records that need all names to be present. */
interface Work extends Derived {
  readonly draft: Draft;
  readonly problems: string[];
}

/** Problems listed one by one; beyond this only their number, because a zone file can have a million of them. */
const problemsMax = 100;

/** @param version the fleet document's version: the serial of every zone */
export function compileZones(fleet: Fleet, version: number): Compilation {
  const work: Work = { draft: newDraft(), problems: [], aliases: new Map(), services: [] };
  const { draft, problems } = work;
  const apexes: { readonly zone: Zone; readonly apex: WireName; readonly node: number }[] = [];
  for (const zone of fleet.zones) {
    const apex = nameFromText(canonicalName(zone.name));
    const node = apex === undefined ? -1 : insertName(draft, apex);
    if (apex === undefined) problems.push(`zone ${zone.name}: is not a domain name`);
    else if ((flagsOf(draft, node) & isApex) !== 0) problems.push(`zone ${zone.name}: is there twice`);
    else {
      setApex(draft, node, apexes.length);
      apexes.push({ zone, apex, node });
    }
  }
  const zones = apexes.map(({ zone, apex, node }, index) => addZone(work, { zone, apex, node, index, version }));
  for (const [steeredIndex, steered] of fleet.steering.entries()) {
    if (!readNameText(canonicalName(steered.name), undefined, owner)) {
      problems.push(`steering ${steered.name}: is not a domain name`);
      continue;
    }
    lookUp(draft, owner, recordTypes.A, found);
    if (found.zone < 0) problems.push(`steering ${steered.name}: is in none of the zones`);
    else if (found.kind === foundDelegation || found.kind === foundDname) {
      problems.push(`steering ${steered.name}: lies below a delegation or a DNAME`);
    } else {
      const node = insertName(draft, owner);
      draft.nodes[node * nodeWords + nodeSteered] = steeredIndex;
    }
  }
  deriveAddresses(draft, work, problems);
  const compiled = flatten(draft, zones, problems);
  const more = problems.length - problemsMax;
  if (more > 0) problems.splice(problemsMax, more, `and ${more} more`);
  return { compiled, problems };
}

const owner = scratchName();
const found = emptyFound();
const target = scratchName();
const rdata = emptyRdata();

/** A zone that is being compiled. */
interface ZonePlace {
  readonly zone: Zone;
  readonly apex: WireName;
  readonly node: number;
  readonly index: number;
  readonly version: number;
}

function addZone(work: Work, place: ZonePlace): DraftZone {
  const { draft } = work;
  const { zone, apex, node: apexNode } = place;
  for (const server of zone.nameservers) addNameserver(work, place, server);
  for (const record of zone.records) addZoneRecord(work, place, record);
  const { soa } = zone;
  const minimumSeconds = soa?.minimumSeconds ?? zone.negativeTtlSeconds;
  const soaTtlSeconds = soa?.ttlSeconds ?? zone.ttlSeconds;
  putSoa(place, minimumSeconds);
  const soaRecord = addRecord(draft, apexNode, soaTtlSeconds, rdata);
  beginRdata(rdata, recordTypes.HINFO);
  putOctets(rdata, minimalAny);
  return {
    apex,
    apexText: canonicalName(zone.name),
    soa: soaRecord,
    negativeTtlSeconds: Math.min(soaTtlSeconds, minimumSeconds),
    minimalAny: addLooseRecord(draft, zone.ttlSeconds, rdata),
  };
}

/** The answer to ANY: HINFO with the CPU "RFC8482" and no operating system (RFC 8482 §4.2). */
const minimalAny = Buffer.from("\x07RFC8482\x00", "latin1");

function report({ problems }: Work, { zone }: ZonePlace, what: string): void {
  problems.push(`zone ${canonicalName(zone.name)}: ${what}`);
}

/** The node of a record, or -1 if this zone has none for it. */
function nodeFor(work: Work, place: ZonePlace, ownerText: string, type: number): number {
  const { draft } = work;
  const { apex } = place;
  if (!readNameText(ownerText, apex, owner)) {
    report(work, place, `${ownerText} is no name, or longer than 255 octets`);
    return -1;
  }
  lookUp(draft, owner, type, found);
  if (type === recordTypes.DS && owner.labelsCount === apex.labelsCount && isAtOrBelow(owner, apex)) {
    report(work, place, "a DS of the apex belongs to the zone above it");
    return -1;
  }
  if (found.zone === place.index) return insertName(draft, owner);
  // At or below the apex of another of our zones, which answers for it. A delegation to it and its glue are correct but
  // not needed.
  const isExpected = type === recordTypes.NS || type === recordTypes.A || type === recordTypes.AAAA;
  if (!isAtOrBelow(owner, apex)) report(work, place, `${ownerText} lies outside of the zone`);
  else if (!isExpected) report(work, place, `${ownerText} belongs to a zone inside this one`);
  return -1;
}

/** An NS record of the apex, and its glue. */
function addNameserver(work: Work, place: ZonePlace, server: Zone["nameservers"][number]): void {
  const { draft } = work;
  const { zone, apex, node: apexNode } = place;
  beginRdata(rdata, recordTypes.NS, apex);
  putTarget(rdata, server.name, "compressible");
  if (rdata.isBroken) {
    report(work, place, `nameserver ${server.name} is no name, or longer than 255 octets`);
    return;
  }
  const isInside = isAtOrBelow(rdata.target, apex);
  addRecord(draft, apexNode, zone.ttlSeconds, rdata);
  // We are not authoritative for addresses of names outside the zone.
  if (!isInside) return;
  for (const address of server.addresses) {
    const family = parseIp(address)?.family ?? 4;
    const type = family === 6 ? recordTypes.AAAA : recordTypes.A;
    const node = nodeFor(work, place, server.name, type);
    beginRdata(rdata, type);
    putAddress(rdata, address, family);
    if (node >= 0 && !rdata.isBroken) addRecord(draft, node, zone.ttlSeconds, rdata);
  }
}

function addZoneRecord(work: Work, place: ZonePlace, record: ZoneRecord): void {
  const ttlSeconds = record.ttlSeconds ?? place.zone.ttlSeconds;
  const isWritten =
    record.type === "ALIAS" ? addAlias(work, place, record, ttlSeconds) : addPlain(work, place, record, ttlSeconds);
  if (!isWritten) report(work, place, `${record.name} ${record.type} can't be written to the wire`);
}

/** Keeps the target until all names are present. @returns false if it is not a name */
function addAlias(work: Work, place: ZonePlace, record: ZoneRecord & { type: "ALIAS" }, ttlSeconds: number): boolean {
  if (!readNameText(record.target, place.apex, target)) return false;
  const node = nodeFor(work, place, record.name, recordTypes.A);
  if (node < 0) return true;
  if (work.aliases.has(node)) report(work, place, `${record.name}: only the first ALIAS counts`);
  else work.aliases.set(node, { target: keptName(target), ttlSeconds });
  return true;
}

/** @returns false if the record has no wire format */
function addPlain(work: Work, place: ZonePlace, record: ZoneRecord, ttlSeconds: number): boolean {
  if (!rdataOf(record, place.apex, rdata)) return false;
  const { type } = rdata;
  if (type === recordTypes.HTTPS || type === recordTypes.SVCB) return addService(work, place, record, ttlSeconds);
  const node = nodeFor(work, place, record.name, type);
  if (node < 0) return true;
  if (node === place.node && type === recordTypes.CNAME) report(work, place, "a CNAME can't stand at the apex");
  else addRecord(work.draft, node, ttlSeconds, rdata);
  return true;
}

/** HTTPS and SVCB, in any form: kept until their targets' addresses are known. */
function addService(work: Work, place: ZonePlace, record: ZoneRecord, ttlSeconds: number): boolean {
  const type = typeNumberOf(record);
  const svcb = svcbOf(rdata.bytes.subarray(0, rdata.length), target);
  if (svcb === undefined || !isConsistent(svcb)) return false;
  const node = nodeFor(work, place, record.name, type);
  if (node >= 0) work.services.push({ node, type, ttlSeconds, svcb, target: keptName(target) });
  return true;
}

/**
 * The SOA's rdata. Refresh, retry and expire concern only secondaries that transfer the zone. By default they have the
 * values that RFC 1912 §2.2 and RIPE-203 recommend.
 */
function putSoa({ zone, apex, version }: ZonePlace, minimumSeconds: number): void {
  const { soa, nameservers, contact } = zone;
  const nameOrApex = (text: string): string => (readNameText(text, apex, owner) ? text : "@");
  beginRdata(rdata, recordTypes.SOA, apex);
  writeSoa(
    {
      primary: nameOrApex(soa?.primary ?? nameservers[0]?.name ?? "@"),
      mailbox: nameOrApex(soa?.mailbox ?? mailboxOf(contact)),
      serial: version,
      refreshSeconds: soa?.refreshSeconds ?? 7200,
      retrySeconds: soa?.retrySeconds ?? 3600,
      expireSeconds: soa?.expireSeconds ?? 1_209_600,
      minimumSeconds,
    },
    rdata,
  );
}

/** SOA RNAME: the part before the @ is one label, including its dots (RFC 1035 §8). */
function mailboxOf(contact = "hostmaster"): string {
  const [local = "", domain] = contact.split("@");
  const label = labelText(Buffer.from(local, "utf8"));
  return domain === undefined ? label : `${label}.${domain.endsWith(".") ? domain : `${domain}.`}`;
}
