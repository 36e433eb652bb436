/**
 * Records whose data are the addresses of other names: ALIAS, and the hints of HTTPS and SVCB (RFC 9460 §7.3). They are
 * made last, when all names of all zones are present.
 *
 *   target's addresses        steered                        fixed                      elsewhere
 *   ALIAS                     the same steered name          copies of its A and AAAA   none: a problem
 *   HTTPS, SVCB               hints written per answer       hints compiled in          the record's own hints
 */
import { putOctets } from "#record/rdata-writer.ts";
import { svcParamKeys } from "#record/svc-param-keys.ts";
import { intAt } from "../wire/bytes.ts";
import { nameToText, type WireName } from "../wire/name.ts";
import { recordTypes } from "../wire/numbers.ts";
import {
  addRecord,
  dropRecords,
  nameOf,
  recordRdataAt,
  recordRdataLength,
  recordsOf,
  recordTtl,
  recordWords,
  type Draft,
} from "./draft.ts";
import { nodeSteered, nodeTtlMax, nodeWords, steeredHintsMax } from "./compiled-zones.ts";
import { beginRdata, emptyRdata } from "./rdata.ts";
import { mandatoryKeys, mandatoryValue, putSvcb, type Svcb } from "./svcb-rdata.ts";
import { addressesOf, type AliasTarget } from "./target-addresses.ts";

/** An HTTPS or SVCB record, until it is written. */
interface WaitingService {
  readonly node: number;
  readonly type: number;
  readonly ttlSeconds: number;
  readonly target: WireName;
  readonly svcb: Svcb;
}

export interface Derived {
  /** By node. */
  readonly aliases: Map<number, AliasTarget>;
  readonly services: WaitingService[];
}

const rdata = emptyRdata();

/** Adds the derived records to the draft; reports in `problems` those that can't be derived. */
export function deriveAddresses(draft: Draft, derived: Derived, problems: string[]): void {
  resolveAliases(draft, derived, problems);
  resolveHints(draft, derived, problems);
}

/** Gives each owner of an ALIAS the addresses of its target: by reference if they are steered, otherwise as copies. */
function resolveAliases(draft: Draft, { aliases }: Derived, problems: string[]): void {
  const addressTypes = [recordTypes.A, recordTypes.AAAA];
  for (const node of aliases.keys()) {
    const problem = (what: string): void => {
      problems.push(`ALIAS ${nameToText(nameOf(draft, node))}: ${what}`);
    };
    const base = node * nodeWords;
    if (dropRecords(draft, node, addressTypes) > 0 || intAt(draft.nodes, base + nodeSteered) >= 0) {
      problem("takes the place of the A and AAAA that are there too");
    }
    draft.nodes[base + nodeSteered] = -1;
    const addresses = addressesOf(draft, aliases, node);
    if (addresses.kind === "steered") {
      draft.nodes[base + nodeSteered] = addresses.steeredIndex;
      draft.nodes[base + nodeTtlMax] = addresses.ttlMaxSeconds;
    } else if (addresses.kind === "records") {
      for (const type of addressTypes) copyRecords(draft, addresses.node, node, type, addresses.ttlMaxSeconds);
    } else if (addresses.kind === "none") problem(`leads to no addresses: ${addresses.why}`);
    else problem(`${addresses.name} lies in none of the zones, so its addresses are not known`);
  }
}

function copyRecords(draft: Draft, from: number, to: number, type: number, ttlMaxSeconds: number): void {
  for (const record of recordsOf(draft, from, type)) {
    beginRdata(rdata, type);
    putOctets(rdata, rdataOfRecord(draft, record));
    addRecord(draft, to, Math.min(ttlOf(draft, record), ttlMaxSeconds), rdata);
  }
}

/** Writes the HTTPS and SVCB records, with the addresses of their targets as hints if the targets are in our zones. */
function resolveHints(draft: Draft, { aliases, services }: Derived, problems: string[]): void {
  const steeredCounts = new Map<string, number>();
  for (const { node, type, ttlSeconds, target, svcb } of services) {
    const problem = (what: string): void => {
      problems.push(`${nameToText(nameOf(draft, node))} type ${type}: ${what}`);
    };
    // RFC 9460 §2.5.2: "." is the owner itself.
    const addresses =
      svcb.priority === 0 ? undefined : addressesOf(draft, aliases, target.labelsCount === 0 ? node : target);
    let ttlMaxSeconds = ttlSeconds;
    if (addresses !== undefined && addresses.kind !== "elsewhere") {
      svcb.params.delete(svcParamKeys.ipv4hint);
      svcb.params.delete(svcParamKeys.ipv6hint);
    }
    if (addresses?.kind === "records") {
      for (const [key, addressType] of [
        [svcParamKeys.ipv4hint, recordTypes.A],
        [svcParamKeys.ipv6hint, recordTypes.AAAA],
      ] as const) {
        const records = recordsOf(draft, addresses.node, addressType);
        const [first] = records;
        if (first === undefined) continue;
        ttlMaxSeconds = Math.min(ttlMaxSeconds, ttlOf(draft, first));
        const different = new Map(records.map((record) => [rdataText(draft, record), rdataOfRecord(draft, record)]));
        svcb.params.set(key, Buffer.concat([...different.values()]));
      }
    }
    if (addresses?.kind === "records" || addresses?.kind === "steered") {
      ttlMaxSeconds = Math.min(ttlMaxSeconds, addresses.ttlMaxSeconds);
    }
    if (addresses?.kind === "steered") {
      const key = `${node} ${type}`;
      const count = (steeredCounts.get(key) ?? 0) + 1;
      steeredCounts.set(key, count);
      if (count > steeredHintsMax) {
        problem(`more than ${steeredHintsMax} records with a steered target`);
        continue;
      }
    }
    const mandatory = mandatoryKeys(svcb.params);
    const kept = mandatory.filter((key) => svcb.params.has(key));
    if (kept.length < mandatory.length) {
      problem("address hints can't be mandatory: they are what the target's addresses are");
      if (kept.length === 0) svcb.params.delete(svcParamKeys.mandatory);
      else svcb.params.set(svcParamKeys.mandatory, mandatoryValue(kept));
    }
    if (!putSvcb(svcb, type, target, rdata)) {
      problem("is longer than rdata can be");
      continue;
    }
    const record = addRecord(draft, node, ttlMaxSeconds, rdata);
    if (addresses?.kind !== "steered") continue;
    const { steeredIndex } = addresses;
    draft.hints.set(record, { ipv4At: rdata.ipv4HintAt, ipv6At: rdata.ipv6HintAt, steeredIndex });
  }
}

function ttlOf(draft: Draft, record: number): number {
  return intAt(draft.records, record * recordWords + recordTtl);
}

function rdataOfRecord(draft: Draft, record: number): Uint8Array {
  const base = record * recordWords;
  const from = intAt(draft.records, base + recordRdataAt);
  return draft.rdata.slice(from, from + intAt(draft.records, base + recordRdataLength));
}

function rdataText(draft: Draft, record: number): string {
  return Buffer.from(rdataOfRecord(draft, record)).toString("latin1");
}
