/**
 * Following CNAME and DNAME inside one zone, one step at a time. The responder writes records between the steps, and
 * `explain` collects names; both walk the same chain.
 *
 *   startChain() ──▶ stepOf() ─┬─ records, referral, missing: the chain has ended
 *                       ▲      └─ cname, dname ──▶ followAlias() ──▶ lookUpTarget() ─┬─ false: it ends at the alias
 *                       └────────────────────────────────────────────────────────────┘
 *
 * A chain never leaves its zone: names of another zone can't be written with pointers to this zone's apex, and the
 * resolver queries them anyway, even if that zone is ours. Nothing is allocated.
 */
import { aliasesMax } from "#record/zone-names.ts";
import { intAt } from "../wire/bytes.ts";
import { lengthBefore, readKnownName, replaceTail, scratchName, type WireName } from "../wire/name.ts";
import { recordTypes } from "../wire/numbers.ts";
import { nodeAlias, nodeWords, setExtra, setWords, type CompiledZones } from "./compiled-zones.ts";
import { emptyFound, foundDelegation, foundDname, foundMissing, isAlias, lookUp, type Found } from "./lookup.ts";

/** The name exists, or a wildcard matches it, and it is not an alias: its node answers. */
export const stepRecords = 0;
/** The name lies at or below a delegation. */
export const stepReferral = 1;
/** The name does not exist. */
export const stepMissing = 2;
/** The name is an alias for the target of a CNAME. */
export const stepCname = 3;
/** The name lies below a DNAME (RFC 6672). */
export const stepDname = 4;
export type ChainStep =
  typeof stepRecords | typeof stepReferral | typeof stepMissing | typeof stepCname | typeof stepDname;

/** A chain of aliases. One object is reused for all queries. */
export interface AliasChain {
  /** The name that was looked up last: first the question's, then `target`. */
  owner: WireName;
  /** The result of looking up `owner`. */
  readonly found: Found;
  /** The zone of the question's name; -1 if it is in none of our zones. */
  zone: number;
  /** Number of aliases followed. */
  aliases: number;
  /** Table entries visited by all lookups together. */
  steps: number;
  /** The last alias's target. */
  readonly target: WireName;
  /** The target of the last DNAME, which is the tail of `target`. */
  readonly dnameTarget: WireName;
}

export function newAliasChain(): AliasChain {
  const target = scratchName();
  return { owner: target, found: emptyFound(), zone: -1, aliases: 0, steps: 0, target, dnameTarget: scratchName() };
}

/** Looks up the question's name. `chain.zone` is -1 if it is in none of our zones. */
export function startChain(compiled: CompiledZones, name: WireName, type: number, chain: AliasChain): void {
  const { found } = chain;
  chain.owner = name;
  chain.aliases = 0;
  lookUp(compiled, name, type, found);
  chain.zone = found.zone;
  chain.steps = found.steps;
}

/** What the chain found at its last name. */
export function stepOf(compiled: CompiledZones, { kind, node }: Found): ChainStep {
  if (kind === foundDelegation) return stepReferral;
  if (kind === foundMissing) return stepMissing;
  if (kind === foundDname) return stepDname;
  return isAlias(compiled, node) ? stepCname : stepRecords;
}

/** The RRset of the CNAME or DNAME that the chain found. */
export function aliasSet(compiled: CompiledZones, { node }: Found): number {
  return intAt(compiled.nodes, node * nodeWords + nodeAlias);
}

/** Number of octets of the owner before the DNAME's own name. The same octets precede the DNAME's target. */
export function dnamePrefixLength({ owner, found }: AliasChain): number {
  return lengthBefore(owner, found.nodeLabels);
}

/**
 * Makes the target of the current alias the owner.
 * @returns false if the name that a DNAME produces would be longer than 255 octets (YXDOMAIN)
 */
export function followAlias(compiled: CompiledZones, chain: AliasChain): boolean {
  const { found, target } = chain;
  const targetAt = intAt(compiled.sets, aliasSet(compiled, found) * setWords + setExtra);
  if (found.kind === foundDname) {
    readKnownName(compiled.bytes, targetAt, chain.dnameTarget);
    if (!replaceTail(chain.owner, found.nodeLabels, chain.dnameTarget, target)) return false;
  } else readKnownName(compiled.bytes, targetAt, target);
  chain.owner = target;
  chain.aliases++;
  return true;
}

/**
 * @returns false if the chain ends at the alias: the query asks for its type, or the chain is too long or leaves the
 * zone
 */
export function lookUpTarget(compiled: CompiledZones, type: number, chain: AliasChain): boolean {
  if (type === recordTypes.CNAME || type === recordTypes.ANY || chain.aliases === aliasesMax) return false;
  const { found } = chain;
  lookUp(compiled, chain.owner, type, found);
  chain.steps += found.steps;
  return found.zone === chain.zone;
}
