/**
 * Resolves one of our names to its A and AAAA records, through CNAME, DNAME, wildcards and further ALIAS, over all
 * zones. The zone compiler uses it for ALIAS and for the address hints of HTTPS and SVCB.
 *
 *   ALIAS, HTTPS target ──▶ CNAME ──▶ … ──▶ steered name │ addresses │ a name without addresses │ elsewhere
 */
import { aliasesMax } from "#record/zone-names.ts";
import { intAt } from "../wire/bytes.ts";
import { keptName, nameToText, readKnownName, replaceTail, scratchName, type WireName } from "../wire/name.ts";
import { recordTypes } from "../wire/numbers.ts";
import { recordsOf, recordTargetAt, recordTtl, recordWords, type Draft } from "./draft.ts";
import { nodeSteered, nodeWords } from "./compiled-zones.ts";
import { emptyFound, foundByWildcard, foundDelegation, foundDname, foundHere, foundMissing, lookUp } from "./lookup.ts";

export interface AliasTarget {
  readonly target: WireName;
  readonly ttlSeconds: number;
}

/** ALIAS records, by node. */
export type Aliases = ReadonlyMap<number, AliasTarget>;

export type Addresses =
  /** Chosen per client, as for the steered name with this index. */
  | { readonly kind: "steered"; readonly steeredIndex: number; readonly ttlMaxSeconds: number }
  /** The A and AAAA records of `node`; it may have none. */
  | { readonly kind: "records"; readonly node: number; readonly ttlMaxSeconds: number }
  /** A name in our zones that has no addresses to answer with. */
  | { readonly kind: "none"; readonly why: string }
  /** A name outside our zones. */
  | { readonly kind: "elsewhere"; readonly name: string };

const found = emptyFound();
const current = scratchName();
const next = scratchName();

/** @param start a name, or the node that is known to answer for it */
export function addressesOf(draft: Draft, aliases: Aliases, start: WireName | number): Addresses {
  let ttlMaxSeconds = 0x7fff_ffff;
  if (typeof start !== "number") copyName(start, current);
  let node = typeof start === "number" ? start : -1;
  for (let steps = 0; steps <= aliasesMax; steps++) {
    if (node < 0) {
      lookUp(draft, current, recordTypes.A, found);
      if (found.zone < 0 || found.kind === foundDelegation) return { kind: "elsewhere", name: nameToText(current) };
      if (found.kind === foundMissing) return { kind: "none", why: `${nameToText(current)} is not there` };
      ({ node } = found);
      if (found.kind === foundDname) {
        ttlMaxSeconds = Math.min(ttlMaxSeconds, readTarget(draft, node, recordTypes.DNAME));
        if (!replaceTail(current, found.nodeLabels, keptName(next))) {
          return { kind: "none", why: "a DNAME makes it longer than 255 octets" };
        }
        node = -1;
        continue;
      }
      if (found.kind !== foundHere && found.kind !== foundByWildcard) return { kind: "none", why: "it leads nowhere" };
    }
    const cnameTtl = readTarget(draft, node, recordTypes.CNAME);
    const alias = aliases.get(node);
    if (cnameTtl >= 0) {
      ttlMaxSeconds = Math.min(ttlMaxSeconds, cnameTtl);
      copyName(next, current);
    } else if (alias !== undefined) {
      ttlMaxSeconds = Math.min(ttlMaxSeconds, alias.ttlSeconds);
      copyName(alias.target, current);
    } else {
      const steeredIndex = intAt(draft.nodes, node * nodeWords + nodeSteered);
      if (steeredIndex >= 0) return { kind: "steered", steeredIndex, ttlMaxSeconds };
      return { kind: "records", node, ttlMaxSeconds };
    }
    node = -1;
  }
  return { kind: "none", why: `more than ${aliasesMax} aliases follow each other` };
}

/** Reads the target of the node's CNAME or DNAME into `next`. @returns its TTL, or -1 if there is none */
function readTarget(draft: Draft, node: number, type: number): number {
  const record = recordsOf(draft, node, type)[0];
  if (record === undefined) return -1;
  readKnownName(draft.rdata, intAt(draft.records, record * recordWords + recordTargetAt), next);
  return intAt(draft.records, record * recordWords + recordTtl);
}

function copyName(from: WireName, to: WireName): void {
  readKnownName(from.bytes, 0, to);
}
