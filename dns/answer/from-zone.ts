/**
 * Answers from a zone: follows aliases inside it to records, a delegation, or a name that does not exist. It adds each
 * alias that it follows to the answer.
 *
 *   startChain() ──▶ alias ──▶ alias ──▶ records      from-node.ts
 *                      │         │       referral     AA only behind an alias
 *                      ▼         ▼       NXDOMAIN     of the last name in the chain (RFC 6604 §3)
 *                    CNAME     DNAME, CNAME
 *
 * Names are written with compression pointers to earlier copies. So each step moves `ownerAt` to the target that it has
 * just written, and also `tailAt` and `tailLength` if the end of that name is elsewhere.
 */
import type { Snapshot } from "../snapshot.ts";
import { intAt } from "../wire/bytes.ts";
import { headerLength } from "../wire/message.ts";
import { rcodes } from "../wire/numbers.ts";
import {
  aliasSet,
  dnamePrefixLength,
  followAlias,
  lookUpTarget,
  stepCname,
  stepDname,
  stepMissing,
  stepOf,
  stepRecords,
  stepReferral,
} from "../zone/alias-chain.ts";
import {
  delegationCutLength,
  delegationWords,
  nodeExtra,
  nodeWords,
  setTtl,
  setWords,
  zoneApexLength,
  zoneWords,
  type CompiledZones,
} from "../zone/compiled-zones.ts";
import { pointedHeaderLength } from "../zone/write-rrsets.ts";
import { answerFromNode } from "./from-node.ts";
import { noerror, nxdomain, referral, yxdomain } from "./outcomes.ts";
import { addNegativeSoa, addReferral, addSet, addSynthesizedCname } from "./sections.ts";
import type { Client, Responding } from "./state.ts";

/** Answers from the zone in which `chain` starts. */
export function answerFromZone(state: Responding, now: Snapshot, client: Client): number {
  const { chain } = state;
  const { type } = state.query;
  const compiled = now.zones;
  placeQuestion(state, compiled, chain.zone);
  state.isAuthoritative = true;
  for (;;) {
    switch (stepOf(compiled, chain.found)) {
      case stepReferral:
        return refer(state, compiled);
      case stepMissing:
        state.rcode = rcodes.NXDOMAIN;
        addNegativeSoa(state, compiled);
        return nxdomain;
      case stepCname:
        addCname(state, compiled);
        break;
      case stepDname:
        if (!addDname(state, compiled)) return state.isTruncated ? noerror : yxdomain;
        break;
      case stepRecords:
        return answerFromNode(state, now, client);
    }
    if (state.isTruncated || !lookUpTarget(compiled, type, chain)) return noerror;
  }
}

/** The first owner is the question's name. It ends with the zone's apex. */
export function placeQuestion(state: Responding, compiled: CompiledZones, zone: number): void {
  const zoneBase = zone * zoneWords;
  const apexLength = intAt(compiled.zones, zoneBase + zoneApexLength);
  const apexAt = state.query.questionEnd - questionFixedLength - apexLength;
  state.zoneBase = zoneBase;
  state.apexAt = apexAt;
  state.ownerAt = headerLength;
  state.tailAt = apexAt;
  state.tailLength = apexLength;
}

/** Type and class, after the question's name. */
const questionFixedLength = 4;

function refer(state: Responding, compiled: CompiledZones): number {
  const { chain, ownerAt, tailAt, tailLength } = state;
  if (chain.aliases === 0) state.isAuthoritative = false;
  const cut = intAt(compiled.nodes, chain.found.node * nodeWords + nodeExtra) * delegationWords;
  const cutLength = intAt(compiled.delegations, cut + delegationCutLength);
  addReferral(
    state,
    compiled,
    cut,
    cutLength > tailLength ? ownerAt + chain.owner.length - cutLength : tailAt + tailLength - cutLength,
  );
  return referral;
}

function addCname(state: Responding, compiled: CompiledZones): void {
  const { chain } = state;
  const targetAt = state.at + pointedHeaderLength;
  addSet(state, compiled, aliasSet(compiled, chain.found), state.ownerAt);
  followAlias(compiled, chain);
  state.ownerAt = targetAt;
  // A target inside the zone was written as its own labels and a pointer to the apex.
  state.tailAt = state.apexAt;
  state.tailLength = intAt(compiled.zones, state.zoneBase + zoneApexLength);
}

/** @returns false if the chain ends here: the DNAME does not fit, or the new name would be too long */
function addDname(state: Responding, compiled: CompiledZones): boolean {
  const { chain, ownerAt, tailAt, tailLength } = state;
  const set = aliasSet(compiled, chain.found);
  const prefixLength = dnamePrefixLength(chain);
  const dnameLength = chain.owner.length - prefixLength;
  const dnameAt = dnameLength > tailLength ? ownerAt + prefixLength : tailAt + tailLength - dnameLength;
  const dnameTargetAt = state.at + pointedHeaderLength;
  addSet(state, compiled, set, dnameAt);
  if (state.isTruncated) return false;
  if (!followAlias(compiled, chain)) {
    state.rcode = rcodes.YXDOMAIN;
    return false;
  }
  const cnameAt = state.at;
  const ttlSeconds = intAt(compiled.sets, set * setWords + setTtl);
  addSynthesizedCname(state, ttlSeconds, ownerAt, prefixLength, dnameTargetAt);
  state.ownerAt = cnameAt + pointedHeaderLength;
  state.tailAt = dnameTargetAt;
  state.tailLength = chain.dnameTarget.length;
  return true;
}
