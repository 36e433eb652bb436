/**
 * Answers that depend on the client: the addresses of a steered name, and HTTPS and SVCB records with the address hints
 * of a steered target.
 */
import { count } from "../counters.ts";
import type { Snapshot } from "../snapshot.ts";
import { decide, noSite, type Steering } from "../steer/steering.ts";
import type { Family } from "../wire/address.ts";
import { intAt } from "../wire/bytes.ts";
import { recordTypes } from "../wire/numbers.ts";
import { hintSteered, hintWords, setCount, setExtra, setTtl, setWords } from "../zone/compiled-zones.ts";
import { addressesCount, writeAddresses, writeHinted } from "../zone/write-rrsets.ts";
import { nodata, noerror, steeredCounter } from "./outcomes.ts";
import { addNegativeSoa, advance } from "./sections.ts";
import type { Client, Responding } from "./state.ts";

/**
 * Answers A or AAAA of a steered name, owned by the name at `ownerAt`: NODATA if the client's site has no such address,
 * or if there is no site.
 * @param ttlMaxSeconds upper bound on the TTL
 */
export function answerSteered(
  state: Responding,
  now: Snapshot,
  steeredIndex: number,
  ttlMaxSeconds: number,
  client: Client,
): number {
  const { steering } = now;
  count(state.counters, steeredCounter);
  const asked: Family = state.query.type === recordTypes.A ? 4 : 6;
  decideFor(state, steering, steeredIndex, asked, client);
  const { site } = state.decision;
  const addresses = site === noSite ? 0 : addressesCount(steering, site, asked);
  if (addresses === 0) {
    addNegativeSoa(state, now.zones);
    return nodata;
  }
  const first = addresses > 1 ? nextTurn(state) % addresses : 0;
  const ttlSeconds = ttlOf(steering, steeredIndex, ttlMaxSeconds);
  const { out, at, limit, ownerAt } = state;
  advance(state, writeAddresses(steering, site, asked, first, ttlSeconds, out, at, limit, ownerAt), addresses);
  state.answers += addresses;
  return noerror;
}

/**
 * Adds an RRset of HTTPS or SVCB records. For a steered target, the hints are the addresses that this client would get
 * from an A or AAAA query for it (RFC 9460 §7.3).
 */
export function addHinted(state: Responding, now: Snapshot, set: number, client: Client): void {
  const { steering, zones: compiled } = now;
  const { hintSites, decision } = state;
  const base = set * setWords;
  const records = intAt(compiled.sets, base + setCount);
  const first = intAt(compiled.sets, base + setExtra);
  let ttlSeconds = intAt(compiled.sets, base + setTtl);
  let chosen = 0;
  for (let record = 0; record < records; record++) {
    const steeredIndex = intAt(compiled.hints, (first + record) * hintWords + hintSteered);
    if (steeredIndex < 0) continue;
    count(state.counters, steeredCounter);
    // One RRset has one TTL (RFC 2181 §5.2).
    ttlSeconds = ttlOf(steering, steeredIndex, ttlSeconds);
    decideFor(state, steering, steeredIndex, 4, client);
    hintSites[chosen * 2] = decision.site;
    decideFor(state, steering, steeredIndex, 6, client);
    hintSites[chosen * 2 + 1] = decision.site;
    chosen++;
  }
  const turn = nextTurn(state);
  const { out, at, limit, ownerAt } = state;
  advance(state, writeHinted(compiled, set, steering, hintSites, turn, ttlSeconds, out, at, limit, ownerAt), records);
  state.answers += records;
}

/** Fills `decision`, and widens the answer's scope to cover this decision. */
function decideFor(state: Responding, steering: Steering, steeredIndex: number, asked: Family, client: Client): void {
  const { decision, reply } = state;
  const { subnet } = state.query.edns;
  // A subnet of length 0 means: do not use the client's. Then the resolver's own network decides, and since every
  // client of the resolver gets the answer, its scope is 0 (RFC 7871 §7.1.2, §7.2.1).
  const usesSubnet = subnet.isPresent && subnet.sourcePrefixLength > 0;
  decide(steering, steeredIndex, asked, usesSubnet ? subnet.address : client.address, decision);
  if (usesSubnet && decision.scope > reply.scope) reply.scope = decision.scope;
  state.steps++;
}

function ttlOf(steering: Steering, steeredIndex: number, ttlMaxSeconds: number): number {
  const ttlSeconds = steering.ttlSeconds[steeredIndex] ?? 0;
  return ttlSeconds < ttlMaxSeconds ? ttlSeconds : ttlMaxSeconds;
}

/** Pseudo-random integers (xorshift32) that rotate a site's addresses. */
function nextTurn(state: Responding): number {
  let { turns } = state;
  turns ^= turns << 13;
  turns ^= turns >>> 17;
  turns ^= turns << 5;
  state.turns = turns;
  return turns & 0x7fff_ffff;
}
