/**
 * The zones of a fleet document, compiled: names to trees, records to ready bytes, nameservers to delegations.
 *
 * The document has been checked before (parseFleet). What its schema can't say about the wire, such as a name that
 * grows past 255 octets once it is whole, leaves that one record out and is reported; a bad record never costs the
 * zone.
 */
import { canonicalName, ownerOf, type Fleet, type Zone } from "#fleet/document.ts";
import { parseIp } from "../wire/address.ts";
import { isAtOrBelow, nameFromLabels, nameFromText, type WireName } from "../wire/name.ts";
import { recordTypes } from "../wire/numbers.ts";
import { findZone } from "./lookup.ts";
import { findName, insertName, newNameTree, type NameTree, type TreeNode } from "./name-tree.ts";
import { addressBytes, minimalAnyRdata, rdataOf, soaRdata } from "./rdata.ts";
import { buildRRset, type RdataPart, type RRset } from "./rrset.ts";
import type { CompiledZone, ZoneIndex, ZoneNode } from "./zone.ts";

/** An answer over TCP holds 65,535 octets; some are needed for the question and the OPT record. */
const rrsetBytesMax = 65_000;

export interface CompiledZones {
  readonly index: ZoneIndex;
  readonly zones: readonly CompiledZone[];
  /** What was left out and why, for the log. */
  readonly problems: readonly string[];
}

/** @param version the fleet document's version: the serial of every zone */
export function compileZones(fleet: Fleet, version: number): CompiledZones {
  const problems: string[] = [];
  const index: ZoneIndex = newNameTree(() => ({ zone: undefined }));
  const zones: CompiledZone[] = [];
  for (const zone of fleet.zones) {
    const compiled = compileZone(zone, version, problems);
    if (compiled === undefined) continue;
    zones.push(compiled);
    insertName(index, compiled.apex, 0).value.zone = compiled;
  }
  for (const zone of zones) addNestedApex(zones, zone);
  for (const [steeredIndex, steered] of fleet.steering.entries()) {
    const name = nameFromText(canonicalName(steered.name));
    const zone = name && findZone(index, name, recordTypes.A);
    if (name === undefined || zone === undefined) problems.push(`steering ${steered.name}: is in none of the zones`);
    else insertName(zone.tree, name, zone.apex.labelsCount).value.steeredIndex = steeredIndex;
  }
  return { index, zones, problems };
}

/**
 * Makes the apex of a zone exist in the zone above it, when both are ours and no delegation says so: a DS question
 * for it belongs there and must not be denied with the whole name (RFC 8020).
 */
function addNestedApex(zones: readonly CompiledZone[], inner: CompiledZone): void {
  for (const outer of zones) {
    if (outer !== inner && isAtOrBelow(inner.apex, outer.apex))
      insertName(outer.tree, inner.apex, outer.apex.labelsCount);
  }
}

/** A record whose owner and rdata are known, before its RRset is. */
interface Draft {
  readonly ttlSeconds: number;
  readonly rdatas: (readonly RdataPart[])[];
  /** Names that the records point to, where they point to some. */
  readonly targets: WireName[];
}

function compileZone(zone: Zone, version: number, problems: string[]): CompiledZone | undefined {
  const apexText = canonicalName(zone.name);
  const apex = nameFromText(apexText);
  if (apex === undefined) {
    problems.push(`zone ${apexText}: is not a domain name`);
    return undefined;
  }
  const absolute = (name: string): string => (name === "." ? "." : ownerOf(name, apexText));
  const tree = newNameTree(newZoneNode);
  const drafts = new Map<ZoneNode, Map<number, Draft>>();

  const add = (
    ownerText: string,
    type: number,
    ttlSeconds: number,
    parts: readonly RdataPart[],
    target?: WireName,
  ): void => {
    const owner = nameFromText(ownerText);
    if (owner === undefined) {
      problems.push(`zone ${apexText}: ${ownerText} is longer than 255 octets`);
      return;
    }
    const node = insertName(tree, owner, apex.labelsCount).value;
    const ofNode = drafts.get(node) ?? new Map<number, Draft>();
    drafts.set(node, ofNode);
    const draft = ofNode.get(type) ?? { ttlSeconds, rdatas: [], targets: [] };
    ofNode.set(type, draft);
    draft.rdatas.push(parts);
    if (target !== undefined) draft.targets.push(target);
  };

  const ttl = zone.ttlSeconds;
  for (const server of zone.nameservers) {
    const text = absolute(server.name);
    const name = nameFromText(text);
    if (name === undefined) {
      problems.push(`zone ${apexText}: nameserver ${text} is longer than 255 octets`);
      continue;
    }
    add(apexText, recordTypes.NS, ttl, [{ name, mayCompress: true }], name);
    // Addresses of names outside the zone are not ours to give.
    if (!isAtOrBelow(name, apex)) continue;
    for (const address of server.addresses) {
      const bytes = addressBytes(address);
      const type = parseIp(address)?.family === 6 ? recordTypes.AAAA : recordTypes.A;
      if (bytes !== undefined) add(text, type, ttl, [{ bytes }]);
    }
  }
  for (const record of zone.records) {
    const rdata = rdataOf(record, absolute);
    const owner = ownerOf(record.name, apexText);
    if (rdata === undefined) problems.push(`zone ${apexText}: ${owner} ${record.type} can't be written to the wire`);
    else add(owner, rdata.type, record.ttlSeconds ?? ttl, rdata.parts, rdata.target);
  }

  const primary = nameFromText(absolute(zone.nameservers[0]?.name ?? "@")) ?? apex;
  const soaParts = soaRdata({
    primary,
    mailbox: mailboxOf(zone.contact, apexText) ?? apex,
    serial: version,
    minimumSeconds: zone.negativeTtlSeconds,
  });
  add(apexText, recordTypes.SOA, ttl, soaParts);

  for (const [node, ofNode] of drafts) {
    for (const [type, draft] of ofNode) {
      const set = buildRRset(type, draft.ttlSeconds, apex, draft.rdatas);
      if (set.block.length > rrsetBytesMax) {
        // Kept all the same: SERVFAIL is the truth about it, and leaving it out would deny that the name is there.
        const size = `${set.block.length} octets, above ${rrsetBytesMax}`;
        problems.push(`zone ${apexText}: an RRset has ${size}: no answer can hold it`);
      }
      if (type === recordTypes.CNAME) {
        const target = draft.targets[0];
        if (target !== undefined) node.alias = { set, target };
      } else node.sets.set(type, set);
    }
  }
  for (const node of treeNodes(tree)) {
    const targets = drafts.get(node.value)?.get(recordTypes.NS)?.targets;
    const nameservers = node.value.sets.get(recordTypes.NS);
    // A wildcard is no cut (RFC 4592 §4.2), and neither is the apex.
    if (targets === undefined || nameservers === undefined || node.parent === undefined || isWildcard(node)) continue;
    node.value.delegation = {
      kind: "delegation",
      delegation: {
        nameservers,
        glue: targets.flatMap((target) => glueOf(tree, apex, target)),
        cutLength: apex.length + lengthBelowRoot(node),
        node: node.value,
      },
    };
  }
  return {
    apex,
    apexText,
    tree,
    negativeSoa: buildRRset(recordTypes.SOA, Math.min(ttl, zone.negativeTtlSeconds), apex, [soaParts]),
    minimalAny: buildRRset(recordTypes.HINFO, ttl, apex, [minimalAnyRdata]),
  };
}

function newZoneNode(): ZoneNode {
  // The two results point back at the node, so they can only be set once it is there.
  const missing = { kind: "missing" } as const;
  const node: ZoneNode = {
    sets: new Map<number, RRset>(),
    alias: undefined,
    steeredIndex: -1,
    foundHere: missing,
    foundByWildcard: missing,
    delegation: undefined,
  };
  node.foundHere = { kind: "node", node };
  node.foundByWildcard = { kind: "wildcard", node };
  return node;
}

function* treeNodes<Value>(tree: NameTree<Value>): Generator<TreeNode<Value>> {
  for (const first of tree.table.values()) {
    for (let node: TreeNode<Value> | undefined = first; node !== undefined; node = node.next) yield node;
  }
}

function isWildcard(node: TreeNode<unknown>): boolean {
  return node.label.length === 2 && node.label[1] === 0x2a;
}

function lengthBelowRoot(node: TreeNode<unknown>): number {
  return node.parent === undefined ? 0 : node.label.length + lengthBelowRoot(node.parent);
}

/** A and AAAA records of a nameserver that lies in this zone, above or below the cut (RFC 9471 §3). */
function glueOf(tree: NameTree<ZoneNode>, apex: WireName, target: WireName): RRset[] {
  if (!isAtOrBelow(target, apex)) return [];
  const node = findName(tree, target, apex.labelsCount)?.value;
  return [recordTypes.A, recordTypes.AAAA].flatMap((type) => {
    const set = node?.sets.get(type);
    return set === undefined ? [] : [withOwner(set, target, apex)];
  });
}

/** The same records with their owner written out, for the additional section. */
function withOwner(set: RRset, owner: WireName, apex: WireName): RRset {
  const size = set.block.length / set.count;
  const rdatas = set.ownerSlots.map((start) => [{ bytes: set.block.slice(start + 12, start + size) }]);
  return buildRRset(set.type, set.ttlSeconds, apex, rdatas, owner);
}

/** SOA RNAME: the part before the @ is one label, dots and all (RFC 1035 §8). */
function mailboxOf(contact: string | undefined, apexText: string): WireName | undefined {
  const [local = "", domain = ""] = (contact ?? `hostmaster@${apexText}`).split("@");
  const labels = canonicalName(domain)
    .split(".")
    .map((label) => Buffer.from(label, "utf8"));
  return nameFromLabels([Buffer.from(local, "utf8"), ...labels]);
}
