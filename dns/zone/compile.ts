/**
 * The zones of a fleet document, compiled to one image (image.ts).
 *
 *   apexes ─▶ records, zone by zone ─▶ steered names ─▶ ALIAS and address hints ─▶ RRsets, delegations
 *   (so that each zone knows where another one begins)    (over all zones: derived.ts)      (flatten.ts)
 *
 * The document has been checked before (parseFleet). What its schema can't say about the wire, such as a name that
 * grows past 255 octets once it is whole, leaves that one record out and is reported; a bad record never costs the
 * zone.
 */
import { canonicalName } from "#record/names.ts";
import type { Fleet } from "#document/document.ts";
import type { Zone } from "#record/zone.ts";
import type { ZoneRecord } from "#record/zone-record.ts";
import { parseIp } from "../wire/address.ts";
import { byteAt } from "../wire/bytes.ts";
import {
  isAtOrBelow,
  keptName,
  nameFromLabels,
  nameFromText,
  readNameText,
  scratchName,
  type WireName,
} from "../wire/name.ts";
import { recordTypes } from "../wire/numbers.ts";
import { deriveAddresses, type Derived } from "./derived.ts";
import { addLooseRecord, addRecord, flagsOf, insertName, newDraft, setApex, type Draft } from "./draft.ts";
import { flatten, type DraftZone } from "./flatten.ts";
import { isApex, nodeSteered, nodeWords, type ZoneImage } from "./image.ts";
import { emptyFound, foundDelegation, foundDname, lookUp } from "./lookup.ts";
import { beginRdata, emptyRdata, putAddress, putName, putNumber32, putOctets, rdataOf } from "./rdata.ts";
import { isConsistent, svcbOf, svcbOfRaw, type SvcbRecord } from "./svcb.ts";

export interface CompiledZones {
  readonly image: ZoneImage;
  /** What was left out and why, for the log. */
  readonly problems: readonly string[];
}

/** What is being put together: the names and records, and those records that need all names to be there. */
interface Work extends Derived {
  readonly draft: Draft;
  readonly problems: string[];
}

/** Told one by one; of more of them only the number. A zone file can be wrong a million times. */
const problemsMax = 100;

/** @param version the fleet document's version: the serial of every zone */
export function compileZones(fleet: Fleet, version: number): CompiledZones {
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
  const zones = apexes.map(({ zone, apex, node }, index) => addZone(work, zone, { apex, node, index, version }));
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
  const image = flatten(draft, zones, problems);
  const more = problems.length - problemsMax;
  if (more > 0) problems.splice(problemsMax, more, `and ${more} more`);
  return { image, problems };
}

const owner = scratchName();
const found = emptyFound();
const rdata = emptyRdata();

interface ZonePlace {
  readonly apex: WireName;
  readonly node: number;
  readonly index: number;
  readonly version: number;
}

function addZone(work: Work, zone: Zone, { apex, node: apexNode, index, version }: ZonePlace): DraftZone {
  const { draft, problems } = work;
  const apexText = canonicalName(zone.name);
  const problem = (what: string): void => {
    problems.push(`zone ${apexText}: ${what}`);
  };
  /** The node of a record, or -1 when there is none for it in this zone. */
  const nodeFor = (ownerText: string, type: number): number => {
    if (!readNameText(ownerText, apex, owner)) {
      problem(`${ownerText} is no name, or longer than 255 octets`);
      return -1;
    }
    lookUp(draft, owner, type, found);
    if (type === recordTypes.DS && owner.labelsCount === apex.labelsCount && isAtOrBelow(owner, apex)) {
      problem("a DS of the apex belongs to the zone above it");
      return -1;
    }
    if (found.zone === index) return insertName(draft, owner);
    // At or below the apex of another zone of ours, which answers for it: a delegation to it and its glue are right
    // all the same, and not needed.
    const isExpected = type === recordTypes.NS || type === recordTypes.A || type === recordTypes.AAAA;
    if (!isAtOrBelow(owner, apex)) problem(`${ownerText} lies outside of the zone`);
    else if (!isExpected) problem(`${ownerText} belongs to a zone inside this one`);
    return -1;
  };

  for (const server of zone.nameservers) {
    beginRdata(rdata, recordTypes.NS);
    if (!readNameText(server.name, apex, rdata.target)) {
      problem(`nameserver ${server.name} is no name, or longer than 255 octets`);
      continue;
    }
    rdata.hasTarget = true;
    putName(rdata, rdata.target, apex);
    const isInside = isAtOrBelow(rdata.target, apex);
    addRecord(draft, apexNode, zone.ttlSeconds, rdata);
    // Addresses of names outside the zone are not ours to give.
    if (!isInside) continue;
    for (const address of server.addresses) {
      const family = parseIp(address)?.family ?? 4;
      const type = family === 6 ? recordTypes.AAAA : recordTypes.A;
      const node = nodeFor(server.name, type);
      beginRdata(rdata, type);
      if (node >= 0 && putAddress(rdata, address, family)) addRecord(draft, node, zone.ttlSeconds, rdata);
    }
  }

  for (const record of zone.records) {
    const ttlSeconds = record.ttlSeconds ?? zone.ttlSeconds;
    const unwritten = (): void => {
      problem(`${record.name} ${record.type} can't be written to the wire`);
    };
    if (record.type === "ALIAS") {
      if (!readNameText(record.target, apex, rdata.target)) {
        unwritten();
        continue;
      }
      const node = nodeFor(record.name, recordTypes.A);
      if (node < 0) continue;
      if (work.aliases.has(node)) problem(`${record.name}: only the first ALIAS counts`);
      else work.aliases.set(node, { target: keptName(rdata.target), ttlSeconds });
      continue;
    }
    if (isService(record)) {
      const type = record.type === "RAW" ? record.typeNumber : recordTypes[record.type];
      const svcb =
        record.type === "RAW"
          ? svcbOfRaw(Buffer.from(record.data, "hex"), rdata.target)
          : svcbOf(record, apex, rdata.target);
      if (svcb === undefined || !isConsistent(svcb)) {
        unwritten();
        continue;
      }
      const node = nodeFor(record.name, type);
      if (node >= 0) work.services.push({ node, type, ttlSeconds, svcb, target: keptName(rdata.target) });
      continue;
    }
    if (!rdataOf(record, apex, rdata)) {
      unwritten();
      continue;
    }
    const node = nodeFor(record.name, rdata.type);
    if (node < 0) continue;
    if (node === apexNode && rdata.type === recordTypes.CNAME) problem("a CNAME can't stand at the apex");
    else addRecord(draft, node, ttlSeconds, rdata);
  }

  const { soa } = zone;
  const minimumSeconds = soa?.minimumSeconds ?? zone.negativeTtlSeconds;
  const soaTtlSeconds = soa?.ttlSeconds ?? zone.ttlSeconds;
  putSoa(zone, apex, version, minimumSeconds);
  const soaRecord = addRecord(draft, apexNode, soaTtlSeconds, rdata);
  beginRdata(rdata, recordTypes.HINFO);
  putOctets(rdata, minimalAny);
  return {
    apex,
    apexText,
    soa: soaRecord,
    negativeTtlSeconds: Math.min(soaTtlSeconds, minimumSeconds),
    minimalAny: addLooseRecord(draft, zone.ttlSeconds, rdata),
  };
}

/** The answer to ANY: HINFO with the CPU "RFC8482" and no operating system (RFC 8482 §4.2). */
const minimalAny = Buffer.from("\x07RFC8482\x00", "latin1");

/** HTTPS or SVCB, in whatever form. */
function isService(record: ZoneRecord): record is SvcbRecord | Extract<ZoneRecord, { type: "RAW" }> {
  if (record.type !== "RAW") return record.type === "HTTPS" || record.type === "SVCB";
  return record.typeNumber === recordTypes.HTTPS || record.typeNumber === recordTypes.SVCB;
}

/**
 * SOA rdata (RFC 1035 §3.3.13). Refresh, retry and expire only speak to secondaries that transfer the zone; where the
 * document says nothing they are the values that RFC 1912 §2.2 and RIPE-203 advise.
 */
function putSoa({ soa, nameservers, contact }: Zone, apex: WireName, serial: number, minimumSeconds: number): void {
  beginRdata(rdata, recordTypes.SOA);
  const primary = soa?.primary ?? nameservers[0]?.name ?? "@";
  putName(rdata, readNameText(primary, apex, owner) ? owner : apex, apex);
  const mailbox = soa === undefined ? mailboxOf(contact, apex) : nameFromText(soa.mailbox);
  putName(rdata, mailbox ?? apex, apex);
  putNumber32(rdata, serial);
  putNumber32(rdata, soa?.refreshSeconds ?? 7200);
  putNumber32(rdata, soa?.retrySeconds ?? 3600);
  putNumber32(rdata, soa?.expireSeconds ?? 1_209_600);
  putNumber32(rdata, minimumSeconds);
}

/** SOA RNAME: the part before the @ is one label, dots and all (RFC 1035 §8). */
function mailboxOf(contact: string | undefined, apex: WireName): WireName | undefined {
  const [local = "", domain] = (contact ?? "hostmaster").split("@");
  const above = domain === undefined ? apex : nameFromText(domain);
  return above && nameFromLabels([Buffer.from(local, "utf8"), ...labelsOf(above)]);
}

function labelsOf({ bytes, labelStarts }: WireName): Uint8Array[] {
  return Array.from(labelStarts, (start) => bytes.slice(start + 1, start + 1 + byteAt(bytes, start)));
}
