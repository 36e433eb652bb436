/**
 * Query bytes → answer bytes: the only door of the responder. No I/O; the same query, client and snapshot give the
 * same answer, but for the order in which a site's several addresses stand.
 *
 *   guard ─▶ wire ─▶ zone ─▶ steer ─▶ encode
 *     │       │       │                 │
 *   silence  FORMERR REFUSED          TC=1 when it does not fit
 *            NOTIMP  NXDOMAIN / NODATA + SOA
 *            BADVERS referral
 *
 * Every message with a header is answered, unless it is itself a response or comes from port 0 (RFC 8906 §3). An
 * answer holds what was asked and no more: no additional addresses but glue, no authority section but what the
 * outcome needs (RFC 1034 §4.3.2, RFC 2308 §2), so that it stays small.
 */
import type { Random } from "#base/random.ts";
import { asNearcastError, type NearcastError } from "#base/errors.ts";
import type { DnsStats, Outcome, TransportName } from "./counters.ts";
import { isAdmitted } from "./guard/admit.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Family, IpAddress } from "./wire/address.ts";
import { byteAt, putUint16 } from "./wire/bytes.ts";
import { optLength, udpSizeMax, udpSizeMin, writeOpt } from "./wire/edns.ts";
import { emptyQuery, headerLength, readQuery } from "./wire/message.ts";
import { isAtOrBelow, type WireName } from "./wire/name.ts";
import { classes, rcodes, recordTypes } from "./wire/numbers.ts";
import { aliasesMax, findZone, lookUp } from "./zone/lookup.ts";
import { singleRdataOffset, writeRotated, writeRRset, type RRset } from "./zone/rrset.ts";
import type { CompiledZone, Delegation, ZoneNode } from "./zone/zone.ts";

export interface Client {
  readonly address: IpAddress;
  readonly port: number;
  readonly transport: TransportName;
}

export interface ResponderDeps {
  /** Undefined until the first judgement of the sites is there: until then every question gets SERVFAIL. */
  readonly snapshot: () => Snapshot | undefined;
  readonly stats: DnsStats;
  readonly random: Random;
  /** Told of a failure inside, which is a bug. */
  readonly onFailure: (error: NearcastError) => void;
}

/**
 * Writes the answer to `query` into `out`, which holds 65,535 octets; never throws.
 * @returns the answer's length, or 0 for silence
 */
export type Respond = (query: Uint8Array, client: Client, out: Uint8Array) => number;

/** A message's length stands in two octets (RFC 1035 §4.2.2). */
export const messageLengthMax = 65_535;

const flagAnswer = 0x80;
const flagAuthoritative = 0x04;
const flagTruncated = 0x02;
const flagRecursionDesired = 0x01;
const flagCheckingDisabled = 0x10;

export function createResponder({ snapshot, stats, random, onFailure }: ResponderDeps): Respond {
  const query = emptyQuery();
  const { edns, name } = query;
  const subnet = edns.subnet;

  // The answer under construction. It lives from one query to the next, so that none is allocated.
  let out: Uint8Array = new Uint8Array(0);
  let at = 0;
  let limit = 0;
  let isTruncated = false;
  let isAuthoritative = false;
  let rcode = 0;
  let scope = 0;
  let answers = 0;
  let authorities = 0;
  let additionals = 0;

  function respond(message: Uint8Array, client: Client, into: Uint8Array): number {
    const counts = stats.outcomes[client.transport];
    if (!isAdmitted(client)) {
      counts["ignored-port"]++;
      return 0;
    }
    out = into;
    try {
      const outcome = answer(message, client);
      counts[outcome]++;
      return at;
    } catch (error) {
      stats.failures++;
      counts.servfail++;
      onFailure(asNearcastError(error));
      return writeHeaderOnly(message, rcodes.SERVFAIL, byteAt(message, 2) & flagRecursionDesired);
    }
  }

  /** Leaves the answer's length in `at`. */
  function answer(message: Uint8Array, client: Client): Outcome {
    at = 0;
    const read = readQuery(message, query);
    switch (read) {
      case "short":
        return "ignored-short";
      case "response":
        return "ignored-response";
      case "unknown-opcode":
        // The opcode and nothing else is repeated (RFC 8906 §3.1.4).
        at = writeHeaderOnly(message, rcodes.NOTIMP, byteAt(message, 2) & 0x78);
        return "notimp";
      case "malformed":
        begin(message, client);
        return finish(message, rcodes.FORMERR, "formerr");
      case "unknown-version":
        begin(message, client);
        return finish(message, rcodes.BADVERS, "badvers");
      case "question":
        begin(message, client);
        return answerQuestion(message, client);
    }
  }

  function begin(message: Uint8Array, client: Client): void {
    rcode = 0;
    scope = 0;
    answers = 0;
    authorities = 0;
    additionals = 0;
    isTruncated = false;
    isAuthoritative = false;
    at = query.questionEnd;
    for (let i = headerLength; i < at; i++) out[i] = byteAt(message, i);
    limit = messageLengthMax;
    if (client.transport === "udp") {
      limit = edns.isPresent ? Math.min(Math.max(edns.udpSize, udpSizeMin), udpSizeMax) : udpSizeMin;
    }
    // Room for the OPT record is kept back, so that it survives truncation (RFC 6891 §7).
    limit -= optLength(edns);
  }

  function answerQuestion(message: Uint8Array, client: Client): Outcome {
    const { type } = query;
    if (type === recordTypes.OPT || type === recordTypes.TSIG || type === recordTypes.TKEY) {
      return finish(message, rcodes.FORMERR, "formerr");
    }
    const now = snapshot();
    if (now === undefined) return finish(message, rcodes.SERVFAIL, "servfail");
    if (query.class !== classes.IN || type === recordTypes.AXFR || type === recordTypes.IXFR) {
      return finish(message, rcodes.REFUSED, "refused");
    }
    const zone = findZone(now.compiled.zones.index, name, type);
    if (zone === undefined) return finish(message, rcodes.REFUSED, "refused");
    if (type === recordTypes.MAILA || type === recordTypes.MAILB) return finish(message, rcodes.NOTIMP, "notimp");
    const outcome = answerFromZone(now, zone, client);
    if (isTruncated && client.transport === "tcp") {
      // Over TCP there is nowhere to send the client to. No RRset is that long, but a sum of several may be.
      begin(message, client);
      return finish(message, rcodes.SERVFAIL, "servfail");
    }
    if (isTruncated) {
      stats.truncated++;
      // Empty sections rather than a part of them: nobody may take a part for the whole (RFC 2181 §9).
      at = query.questionEnd;
      answers = 0;
      authorities = 0;
      additionals = 0;
    }
    return finish(message, rcode, outcome);
  }

  /** Follows aliases inside the zone until something else is met. */
  function answerFromZone(now: Snapshot, zone: CompiledZone, client: Client): Outcome {
    const apexAt = headerLength + name.length - zone.apex.length;
    let owner: WireName = name;
    let ownerAt = headerLength;
    isAuthoritative = true;
    for (let aliases = 0; ; aliases++) {
      const found = lookUp(zone, owner, query.type);
      if (found.kind === "delegation") {
        if (aliases === 0) isAuthoritative = false;
        // The cut is a tail of the owner; it begins among the owner's own labels, before any pointer in it.
        addReferral(found.delegation, apexAt, ownerAt + owner.length - found.delegation.cutLength);
        return "referral";
      }
      if (found.kind === "missing") {
        // After an alias the code speaks of the last name in the chain (RFC 6604 §3).
        rcode = rcodes.NXDOMAIN;
        addNegativeSoa(zone, apexAt);
        return "nxdomain";
      }
      const { node } = found;
      const { alias } = node;
      if (alias === undefined) return answerFromNode(now, zone, node, client, ownerAt, apexAt);
      const aliasAt = at;
      addSet(alias.set, ownerAt, apexAt);
      if (query.type === recordTypes.CNAME || query.type === recordTypes.ANY || isTruncated) return "noerror";
      if (aliases + 1 === aliasesMax || !isAtOrBelow(alias.target, zone.apex)) return "noerror";
      owner = alias.target;
      ownerAt = aliasAt + singleRdataOffset;
    }
  }

  function answerFromNode(
    now: Snapshot,
    zone: CompiledZone,
    node: ZoneNode,
    client: Client,
    ownerAt: number,
    apexAt: number,
  ): Outcome {
    const { type } = query;
    if (node.steeredIndex >= 0 && (type === recordTypes.A || type === recordTypes.AAAA)) {
      return answerSteered(now, zone, node.steeredIndex, client, ownerAt, apexAt);
    }
    let set = node.sets.get(type);
    if (type === recordTypes.ANY && (node.sets.size > 0 || node.steeredIndex >= 0)) set = zone.minimalAny;
    if (set === undefined) {
      addNegativeSoa(zone, apexAt);
      return "nodata";
    }
    addSet(set, ownerAt, apexAt);
    return "noerror";
  }

  function answerSteered(
    now: Snapshot,
    zone: CompiledZone,
    steeredIndex: number,
    client: Client,
    ownerAt: number,
    apexAt: number,
  ): Outcome {
    stats.steered++;
    const asked: Family = query.type === recordTypes.A ? 4 : 6;
    // A subnet of length 0 says: do not use the client's. Then the resolver's own network decides, and since the
    // answer goes to everybody its scope is 0 (RFC 7871 §7.1.2, §7.2.1).
    const usesSubnet = subnet.isPresent && subnet.sourcePrefixLength > 0;
    const choice = now.choose(steeredIndex, asked, usesSubnet ? subnet.address : client.address);
    if (usesSubnet) ({ scope } = choice);
    const { answers: sets, fleet } = now.compiled;
    const ttlSeconds = fleet.steering[steeredIndex]?.ttlSeconds ?? 0;
    const hasAnswer = choice.site !== undefined || choice.rule === "anycast";
    const set = hasAnswer ? sets.setOf(choice.site, ttlSeconds, asked) : undefined;
    if (set === undefined) {
      addNegativeSoa(zone, apexAt);
      return "nodata";
    }
    const first = set.count > 1 ? Math.floor(random() * set.count) : 0;
    advance(writeRotated(out, at, limit, set, ownerAt, first));
    answers += set.count;
    return "noerror";
  }

  function addReferral(delegation: Delegation, apexAt: number, cutAt: number): void {
    const { nameservers, glue } = delegation;
    advance(writeRRset(out, at, limit, nameservers, cutAt, apexAt));
    authorities += nameservers.count;
    for (const set of glue) {
      // Glue that does not fit makes the answer useless, so it counts as truncated (RFC 9471 §3.1).
      advance(writeRRset(out, at, limit, set, 0, apexAt));
      additionals += set.count;
    }
  }

  function addNegativeSoa(zone: CompiledZone, apexAt: number): void {
    advance(writeRRset(out, at, limit, zone.negativeSoa, apexAt, apexAt));
    authorities += zone.negativeSoa.count;
  }

  function addSet(set: RRset, ownerAt: number, apexAt: number): void {
    advance(writeRRset(out, at, limit, set, ownerAt, apexAt));
    answers += set.count;
  }

  function advance(next: number): void {
    if (next < 0 || isTruncated) isTruncated = true;
    else at = next;
  }

  /** Writes header and OPT around what stands there. */
  function finish(message: Uint8Array, code: number, outcome: Outcome): Outcome {
    let flags = flagAnswer | (byteAt(message, 2) & flagRecursionDesired);
    if (isAuthoritative) flags |= flagAuthoritative;
    if (isTruncated) flags |= flagTruncated;
    out[0] = byteAt(message, 0);
    out[1] = byteAt(message, 1);
    out[2] = flags;
    // RFC 4035 §3.1.6: CD is repeated, AD is not ours to set; Z is zero.
    out[3] = (byteAt(message, 3) & flagCheckingDisabled) | (code & 0x0f);
    putUint16(out, 4, query.questionEnd > headerLength ? 1 : 0);
    putUint16(out, 6, answers);
    putUint16(out, 8, authorities);
    putUint16(out, 10, additionals + (edns.isPresent ? 1 : 0));
    if (subnet.isPresent) stats.clientSubnets++;
    if (edns.isPresent) at = writeOpt(out, at, edns, code, scope);
    return outcome;
  }

  function writeHeaderOnly(message: Uint8Array, code: number, flags: number): number {
    out[0] = byteAt(message, 0);
    out[1] = byteAt(message, 1);
    out[2] = flagAnswer | flags;
    out[3] = code;
    out.fill(0, 4, headerLength);
    return headerLength;
  }

  return respond;
}
