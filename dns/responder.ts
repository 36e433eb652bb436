/**
 * Query bytes → answer bytes: the only door of the responder. No I/O; the same query, client and snapshot give the
 * same answer, but for the order in which a site's several addresses stand.
 *
 *   wire ─▶ guard ─▶ zone ─▶ steer ─▶ encode
 *     │       │       │                 │
 *   silence  slip    REFUSED          TC=1 when it does not fit, or would reward a forged sender
 *   FORMERR  silence NXDOMAIN / NODATA + SOA
 *   NOTIMP           referral, YXDOMAIN
 *   BADVERS
 *
 * Every message with a header is answered, unless it is itself a response, comes from port 0 (RFC 8906 §3) or from a
 * network that had its share. An answer holds what was asked and no more: no additional addresses but glue, no
 * authority section but what the outcome needs (RFC 1034 §4.3.2, RFC 2308 §2), so that it stays small.
 *
 * A query costs no memory: everything that is written to here lives as long as the responder, numbers are whole and
 * small, and octets are copied one by one.
 */
import type { Random } from "#base/random.ts";
import { asNearcastError, type NearcastError } from "#base/errors.ts";
import { count, counterIndex, outcomeIndex, type Counters, type TransportName } from "./counters.ts";
import { isAdmitted } from "./guard/admit.ts";
import type { Cookies } from "./guard/cookie.ts";
import type { RateLimit } from "./guard/rate-limit.ts";
import {
  copyReady,
  findReady,
  keepReady,
  newReadyAnswers,
  plainQuestionEnd,
  readyAnswers,
  readyAuthorities,
  readyOutcome,
  readyRecordsLength,
  readySteered,
  readyTtlMax,
  readyType,
  readyWords,
  readyZone,
  type Keeping,
} from "./ready-answers.ts";
import type { Snapshot } from "./snapshot.ts";
import { decide, noSite, type Decision, type Steering } from "./steer/steering.ts";
import type { Family, IpAddress } from "./wire/address.ts";
import { byteAt, intAt, putUint16, putUint32 } from "./wire/bytes.ts";
import { emptyOptReply, optLength, udpSizeMax, udpSizeMin, writeOpt } from "./wire/edns.ts";
import { emptyQuery, headerLength, isPlainQuery, readPlainEnd, readQuery } from "./wire/message.ts";
import { readKnownName, replaceTail, scratchName, type WireName } from "./wire/name.ts";
import { classes, extendedErrors, rcodes, recordTypes } from "./wire/numbers.ts";
import { compileChaos, writeChaos } from "./zone/chaos.ts";
import {
  delegationCutLength,
  delegationGlue,
  delegationGlueCount,
  delegationNameservers,
  delegationWords,
  hintSteered,
  hintWords,
  nodeAlias,
  nodeExtra,
  nodeSteered,
  nodeTtlMax,
  nodeWords,
  setCount,
  setExtra,
  setTtl,
  setWords,
  steeredHintsMax,
  zoneApexLength,
  zoneMinimalAny,
  zoneNegativeSoa,
  zoneWords,
  type ZoneImage,
} from "./zone/image.ts";
import {
  aliasesMax,
  emptyFound,
  foundDelegation,
  foundDname,
  foundMissing,
  hasSets,
  isAlias,
  lookUp,
  setOf,
} from "./zone/lookup.ts";
import { addressesCount, pointedHeaderLength, writeAddresses, writeHinted, writeSet } from "./zone/write.ts";

export interface Client {
  readonly address: IpAddress;
  readonly port: number;
  readonly transport: TransportName;
  /** Over TCP: how long a silent connection is kept, in 100 ms, for those who ask (RFC 7828). */
  readonly keepaliveTenths?: number;
}

/** What the server says of itself when it is asked. */
export interface Identity {
  /** The NSID option's octets (RFC 5001). */
  readonly nsid: Uint8Array | undefined;
  /** TXT of `version.bind` and `version.server` in class CH; undefined: REFUSED. */
  readonly version: string | undefined;
  /** TXT of `id.server` and `hostname.bind` in class CH; undefined: REFUSED. */
  readonly id: string | undefined;
}

export interface ResponderDeps {
  /** Undefined until the first judgement of the sites is there: until then every question gets SERVFAIL. */
  readonly snapshot: () => Snapshot | undefined;
  readonly counters: Counters;
  readonly cookies: Cookies;
  /** Undefined: no limit. */
  readonly rateLimit: RateLimit | undefined;
  readonly identity: Identity;
  /** Longest UDP answer to who has no valid cookie, in lengths of the query; what is longer asks for TCP. 0: any. */
  readonly amplificationMax: number;
  /** Only for where to begin: from then on several addresses of a site take turns by numbers of our own. */
  readonly random: Random;
  /** The wall clock. */
  readonly nowMs: () => number;
  /** Told of a failure inside, which is a bug. */
  readonly onFailure: (error: NearcastError) => void;
}

/**
 * Writes the answer to `query[0..length)` into `out`; never throws.
 * @param out room for 65,535 octets over TCP, for 1,232 over UDP; may be the query's own array, which it overwrites
 * @returns the answer's length, or 0 for silence
 */
export type Respond = (query: Uint8Array, length: number, client: Client, out: Uint8Array) => number;

export interface Responder {
  readonly respond: Respond;
  /** Turns of loops that the last query took, without those that copy octets: bounded, whatever is sent. */
  readonly steps: () => number;
}

/** A message's length stands in two octets (RFC 1035 §4.2.2). */
export const messageLengthMax = 65_535;

const flagAnswer = 0x80;
const flagAuthoritative = 0x04;
const flagTruncated = 0x02;
const flagRecursionDesired = 0x01;
const flagCheckingDisabled = 0x10;

/** Where each outcome over UDP is counted; over TCP it is so many places further on. */
const noerror = outcomeIndex("udp", "noerror");
const nodata = outcomeIndex("udp", "nodata");
const nxdomain = outcomeIndex("udp", "nxdomain");
const yxdomain = outcomeIndex("udp", "yxdomain");
const referral = outcomeIndex("udp", "referral");
const refused = outcomeIndex("udp", "refused");
const formerr = outcomeIndex("udp", "formerr");
const notimp = outcomeIndex("udp", "notimp");
const badvers = outcomeIndex("udp", "badvers");
const servfail = outcomeIndex("udp", "servfail");
const slipped = outcomeIndex("udp", "slipped");
const ignoredResponse = outcomeIndex("udp", "ignored-response");
const ignoredShort = outcomeIndex("udp", "ignored-short");
const ignoredPort = outcomeIndex("udp", "ignored-port");
const ignoredRate = outcomeIndex("udp", "ignored-rate");
const tcpOffset = outcomeIndex("tcp", "noerror") - noerror;
const truncatedIndex = counterIndex("truncated");
const clientSubnetsIndex = counterIndex("clientSubnets");
const steeredIndexOfCounter = counterIndex("steered");
const failuresIndex = counterIndex("failures");
const cookiesValidIndex = counterIndex("cookiesValid");
const cookiesInvalidIndex = counterIndex("cookiesInvalid");

/** Type and class, behind the question's name. */
const questionFixedLength = 4;
/** Option code, length, INFO-CODE. */
const extendedErrorLength = 6;
/** A cookie option of the client's part alone (RFC 7873 §4). */
const clientCookieOnly = 8;

export function createResponder(deps: ResponderDeps): Responder {
  const { snapshot, counters, cookies, rateLimit, identity, amplificationMax, random, nowMs, onFailure } = deps;
  const chaos = compileChaos(identity.version, identity.id);
  const query = emptyQuery();
  const { edns, name } = query;
  const subnet = edns.subnet;
  const reply = emptyOptReply();
  const found = emptyFound();
  const decision: Decision = { site: noSite, scope: 0 };
  /** The sites of ipv4hint and ipv6hint of each record that has a steered target, in their order. */
  const hintSites = new Int32Array(2 * steeredHintsMax);
  /** The name at the end of a chain, and what a DNAME makes of it. */
  const target = scratchName();
  const dnameTarget = scratchName();
  let turns = Math.floor(random() * 0x7fff_ffff) | 1;

  const ready = newReadyAnswers();
  const keeping: Keeping = {
    outcome: 0,
    answers: 0,
    authorities: 0,
    steered: -1,
    ttlMaxSeconds: 0,
    type: 0,
    zone: 0,
  };
  /** Whether question and snapshot alone settle the answer under construction, or its steered name. */
  let isSettled = false;
  /** The snapshot of the kept answers, and its number. */
  let readySnapshot: Snapshot | undefined;
  let generation = 0;

  // The answer under construction. It lives from one query to the next, so that none is allocated.
  let out: Uint8Array = new Uint8Array(0);
  let at = 0;
  let limit = 0;
  let isUdp = true;
  let isProven = false;
  let isTruncated = false;
  let isAuthoritative = false;
  let rcode = 0;
  let answers = 0;
  let authorities = 0;
  let additionals = 0;
  let steps = 0;

  function respond(message: Uint8Array, length: number, client: Client, into: Uint8Array): number {
    isUdp = client.transport === "udp";
    const offset = isUdp ? 0 : tcpOffset;
    steps = 1;
    if (!isAdmitted(client)) {
      count(counters, ignoredPort + offset);
      return 0;
    }
    out = into;
    try {
      const outcome = answer(message, length, client);
      count(counters, outcome + offset);
      return at;
    } catch (error) {
      count(counters, failuresIndex);
      count(counters, servfail + offset);
      onFailure(asNearcastError(error));
      return writeHeaderOnly(message, rcodes.SERVFAIL, byteAt(message, 2) & flagRecursionDesired);
    }
  }

  /** Leaves the answer's length in `at`; 0 is silence. */
  function answer(message: Uint8Array, length: number, client: Client): number {
    at = 0;
    const outcome = answerReady(message, length, client);
    if (outcome >= 0) return outcome;
    const read = readQuery(message, length, query);
    steps += query.steps;
    if (read === "short") return ignoredShort;
    if (read === "response") return ignoredResponse;
    const slips = isLimited(client);
    if (slips !== 0 && (slips === 2 || (read !== "question" && read !== "cookie-only"))) return ignoredRate;
    if (read === "unknown-opcode") {
      // The opcode and nothing else is repeated (RFC 8906 §3.1.4).
      at = writeHeaderOnly(message, rcodes.NOTIMP, byteAt(message, 2) & 0x78);
      return notimp;
    }
    begin(message, length, client);
    switch (read) {
      case "malformed":
        return finish(message, rcodes.FORMERR, formerr);
      case "unknown-version":
        return finish(message, rcodes.BADVERS, badvers);
      case "cookie-only":
        return finish(message, rcodes.NOERROR, slipped);
      case "question":
        // Over UDP the option means nothing, so only here is its form judged (RFC 7828 §3.3.1).
        if (!isUdp && edns.isKeepaliveMalformed) return finish(message, rcodes.FORMERR, formerr);
        if (slips === 0) return answerQuestion(message, length, client);
        isTruncated = true;
        return finish(message, rcodes.NOERROR, slipped);
    }
  }

  /**
   * The shorter way to the same answer, for a plain query whose question has come before.
   * @returns the outcome, or -1: answer() must go the long way
   */
  function answerReady(message: Uint8Array, length: number, client: Client): number {
    const now = snapshot();
    if (now !== readySnapshot) {
      readySnapshot = now;
      generation++;
    }
    if (now === undefined || length < headerLength || !isUdp || !isPlainQuery(message)) return -1;
    const end = plainQuestionEnd(message, length);
    if (end < 0) return -1;
    const slot = findReady(ready, generation, message, end);
    if (slot < 0 || !readPlainEnd(message, end, length, query)) return -1;
    steps += query.steps;
    const slips = isLimited(client);
    if (slips === 2) return ignoredRate;
    begin(message, length, client);
    if (slips === 1) {
      isTruncated = true;
      return finish(message, rcodes.NOERROR, slipped);
    }
    isAuthoritative = true;
    const { words } = ready;
    const base = slot * readyWords;
    const steered = intAt(words, base + readySteered);
    let outcome = intAt(words, base + readyOutcome);
    if (steered >= 0) {
      query.type = intAt(words, base + readyType);
      const zoneBase = intAt(words, base + readyZone) * zoneWords;
      const apexAt = end - questionFixedLength - intAt(now.zones.zones, zoneBase + zoneApexLength);
      const ttlMaxSeconds = intAt(words, base + readyTtlMax);
      outcome = answerSteered(now, steered, ttlMaxSeconds, zoneBase, client, headerLength, apexAt);
    } else {
      const next = at + intAt(words, base + readyRecordsLength);
      if (next > limit) isTruncated = true;
      else {
        copyReady(ready, slot, out, at);
        at = next;
        answers = intAt(words, base + readyAnswers);
        authorities = intAt(words, base + readyAuthorities);
      }
    }
    if (isTruncated) truncate();
    return finish(message, rcodes.NOERROR, outcome);
  }

  /** Judges the cookie, and how much the client's network has been sent already. @returns as RateLimit.decide() */
  function isLimited(client: Client): number {
    isProven = false;
    reply.hasServerCookie = false;
    if (edns.cookie.length > 0) {
      isProven = cookies.check(edns, client.address, Math.floor(nowMs() / 1000), reply);
      if (isProven) count(counters, cookiesValidIndex);
      else if (edns.cookie.length > clientCookieOnly) count(counters, cookiesInvalidIndex);
    }
    // Over TCP the handshake has shown that the address is the client's.
    return !isUdp || isProven || rateLimit === undefined ? 0 : rateLimit.decide(client.address, nowMs());
  }

  function begin(message: Uint8Array, length: number, client: Client): void {
    rcode = 0;
    answers = 0;
    authorities = 0;
    additionals = 0;
    isTruncated = false;
    isAuthoritative = false;
    reply.scope = 0;
    reply.extendedError = -1;
    reply.nsid = identity.nsid;
    reply.keepaliveTenths = isUdp ? -1 : (client.keepaliveTenths ?? -1);
    const into = out;
    const end = query.questionEnd;
    // In place they stand there already. What else an answer needs of its query has been read by now.
    if (into !== message) for (let i = headerLength; i < end; i++) into[i] = byteAt(message, i);
    at = end;
    limit = messageLengthMax;
    if (isUdp) {
      limit = edns.isPresent ? Math.min(Math.max(edns.udpSize, udpSizeMin), udpSizeMax) : udpSizeMin;
      if (amplificationMax > 0 && !isProven) limit = Math.min(limit, Math.floor(amplificationMax * length));
    }
    if (!edns.isPresent) return;
    // Room for the OPT record is kept back, so that it survives truncation (RFC 6891 §7).
    let kept = optLength(edns, reply);
    if (kept > limit - at) {
      reply.nsid = undefined;
      kept = optLength(edns, reply);
    }
    limit -= kept;
  }

  function answerQuestion(message: Uint8Array, length: number, client: Client): number {
    const { type } = query;
    if (type === recordTypes.OPT || type === recordTypes.TSIG || type === recordTypes.TKEY) {
      return finish(message, rcodes.FORMERR, formerr);
    }
    if (query.class === classes.CH) return answerChaos(message);
    const now = snapshot();
    if (now === undefined) return fail(message, rcodes.SERVFAIL, extendedErrors.NOT_READY, servfail);
    if (type === recordTypes.AXFR || type === recordTypes.IXFR) {
      return fail(message, rcodes.REFUSED, extendedErrors.PROHIBITED, refused);
    }
    if (query.class !== classes.IN) return fail(message, rcodes.REFUSED, extendedErrors.NOT_AUTHORITATIVE, refused);
    const image = now.zones;
    lookUp(image, name, type, found);
    steps += found.steps;
    if (found.zone < 0) return fail(message, rcodes.REFUSED, extendedErrors.NOT_AUTHORITATIVE, refused);
    if (type === recordTypes.MAILA || type === recordTypes.MAILB) {
      return fail(message, rcodes.NOTIMP, extendedErrors.NOT_SUPPORTED, notimp);
    }
    isSettled = true;
    keeping.steered = -1;
    const outcome = answerFromZone(now, client);
    if (!isTruncated) {
      if (isSettled && isAuthoritative && rcode === rcodes.NOERROR) keep(outcome);
      return finish(message, rcode, outcome);
    }
    if (!isUdp) {
      // Over TCP there is nowhere to send the client to. No RRset is that long, but a sum of several may be.
      begin(message, length, client);
      return finish(message, rcodes.SERVFAIL, servfail);
    }
    truncate();
    return finish(message, rcode, outcome);
  }

  function keep(outcome: number): void {
    keeping.outcome = outcome;
    keeping.answers = answers;
    keeping.authorities = authorities;
    keeping.type = query.type;
    keeping.zone = found.zone;
    keepReady(ready, generation, out, query.questionEnd, at, keeping);
  }

  /** Empty sections rather than a part of them: nobody may take a part for the whole (RFC 2181 §9). */
  function truncate(): void {
    count(counters, truncatedIndex);
    at = query.questionEnd;
    answers = 0;
    authorities = 0;
    additionals = 0;
  }

  function answerChaos(message: Uint8Array): number {
    const next = writeChaos(chaos, name, query.type, out, at, limit, headerLength);
    if (next === -2) return fail(message, rcodes.REFUSED, extendedErrors.PROHIBITED, refused);
    isAuthoritative = true;
    advance(next, 1);
    if (!isTruncated) answers = 1;
    else count(counters, truncatedIndex);
    return finish(message, rcodes.NOERROR, noerror);
  }

  /** Follows aliases inside the zone until something else is met. `found` is what the question's name led to. */
  function answerFromZone(now: Snapshot, client: Client): number {
    const image = now.zones;
    const { type } = query;
    const { zone } = found;
    const zoneBase = zone * zoneWords;
    const apexLength = intAt(image.zones, zoneBase + zoneApexLength);
    const apexAt = headerLength + name.length - apexLength;
    let owner: WireName = name;
    let ownerAt = headerLength;
    // The last `tailLength` octets of the owner's name stand at `tailAt`, the others from `ownerAt` on.
    let tailAt = apexAt;
    let tailLength = apexLength;
    isAuthoritative = true;
    for (let aliases = 1; ; aliases++) {
      const { node } = found;
      const nodeBase = node * nodeWords;
      if (found.kind === foundDelegation) {
        if (aliases === 1) isAuthoritative = false;
        const cut = intAt(image.nodes, nodeBase + nodeExtra) * delegationWords;
        const cutLength = intAt(image.delegations, cut + delegationCutLength);
        const cutAt = cutLength > tailLength ? ownerAt + owner.length - cutLength : tailAt + tailLength - cutLength;
        addReferral(image, cut, cutAt, apexAt);
        return referral;
      }
      if (found.kind === foundMissing) {
        // After an alias the code speaks of the last name in the chain (RFC 6604 §3).
        rcode = rcodes.NXDOMAIN;
        addNegativeSoa(image, zoneBase, apexAt);
        return nxdomain;
      }
      if (found.kind === foundDname) {
        const set = intAt(image.nodes, nodeBase + nodeAlias);
        const labels = found.nodeLabels;
        const ownLength = labels === 0 ? owner.length - 1 : byteAt(owner.labelStarts, owner.labelsCount - labels);
        const dnameLength = owner.length - ownLength;
        const dnameAt = dnameLength > tailLength ? ownerAt + ownLength : tailAt + tailLength - dnameLength;
        const rdataAt = at + pointedHeaderLength;
        addSet(image, set, dnameAt, apexAt);
        if (isTruncated) return noerror;
        readKnownName(image.bytes, intAt(image.sets, set * setWords + setExtra), dnameTarget);
        if (owner !== target) {
          readKnownName(owner.bytes, 0, target);
          owner = target;
        }
        if (!replaceTail(target, labels, dnameTarget)) {
          rcode = rcodes.YXDOMAIN;
          return yxdomain;
        }
        const cnameAt = at;
        addSynthesized(intAt(image.sets, set * setWords + setTtl), ownerAt, ownLength, rdataAt);
        ownerAt = cnameAt + pointedHeaderLength;
        tailAt = rdataAt;
        tailLength = dnameTarget.length;
      } else if (isAlias(image, node)) {
        const set = intAt(image.nodes, nodeBase + nodeAlias);
        const rdataAt = at + pointedHeaderLength;
        addSet(image, set, ownerAt, apexAt);
        readKnownName(image.bytes, intAt(image.sets, set * setWords + setExtra), target);
        owner = target;
        ownerAt = rdataAt;
        // A target of the zone was written as its own labels and a pointer to the apex.
        tailAt = apexAt;
        tailLength = apexLength;
      } else {
        return answerFromNode(now, zoneBase, node, client, ownerAt, apexAt);
      }
      if (isTruncated || type === recordTypes.CNAME || type === recordTypes.ANY || aliases === aliasesMax)
        return noerror;
      lookUp(image, owner, type, found);
      steps += found.steps;
      // Another zone's names can't be written with pointers to this one's apex; the resolver asks for them anyway.
      if (found.zone !== zone) return noerror;
    }
  }

  function answerFromNode(
    now: Snapshot,
    zoneBase: number,
    node: number,
    client: Client,
    ownerAt: number,
    apexAt: number,
  ): number {
    const { type } = query;
    const image = now.zones;
    const steeredIndex = intAt(image.nodes, node * nodeWords + nodeSteered);
    if (steeredIndex >= 0 && (type === recordTypes.A || type === recordTypes.AAAA)) {
      const ttlMaxSeconds = intAt(image.nodes, node * nodeWords + nodeTtlMax);
      if (ownerAt === headerLength) {
        keeping.steered = steeredIndex;
        keeping.ttlMaxSeconds = ttlMaxSeconds;
      } else isSettled = false;
      return answerSteered(now, steeredIndex, ttlMaxSeconds, zoneBase, client, ownerAt, apexAt);
    }
    let set = setOf(image, node, type);
    if (type === recordTypes.ANY && (hasSets(image, node) || steeredIndex >= 0)) {
      set = intAt(image.zones, zoneBase + zoneMinimalAny);
    }
    if (set < 0) {
      addNegativeSoa(image, zoneBase, apexAt);
      return nodata;
    }
    const isHinted =
      (type === recordTypes.HTTPS || type === recordTypes.SVCB) && intAt(image.sets, set * setWords + setExtra) >= 0;
    if (isHinted) {
      isSettled = false;
      addHinted(now, set, client, ownerAt);
    } else addSet(image, set, ownerAt, apexAt);
    return noerror;
  }

  /** NODATA when the client's site has no such address, or there is no site. */
  function answerSteered(
    now: Snapshot,
    steeredIndex: number,
    ttlMaxSeconds: number,
    zoneBase: number,
    client: Client,
    ownerAt: number,
    apexAt: number,
  ): number {
    if (addSteered(now.steering, steeredIndex, ttlMaxSeconds, client, ownerAt)) return noerror;
    addNegativeSoa(now.zones, zoneBase, apexAt);
    return nodata;
  }

  /** @returns false when there is nothing to add */
  function addSteered(
    steering: Steering,
    steeredIndex: number,
    ttlMaxSeconds: number,
    client: Client,
    ownerAt: number,
  ): boolean {
    count(counters, steeredIndexOfCounter);
    const asked: Family = query.type === recordTypes.A ? 4 : 6;
    decideFor(steering, steeredIndex, asked, client);
    const { site } = decision;
    const addresses = site === noSite ? 0 : addressesCount(steering, site, asked);
    if (addresses === 0) return false;
    const first = addresses > 1 ? nextTurn() % addresses : 0;
    const ttlSeconds = ttlOf(steering, steeredIndex, ttlMaxSeconds);
    const next = writeAddresses(steering, site, asked, first, ttlSeconds, out, at, limit, ownerAt);
    advance(next, addresses);
    answers += addresses;
    return true;
  }

  /** Fills `decision`, and widens the answer's scope to what it rests on. */
  function decideFor(steering: Steering, steeredIndex: number, asked: Family, client: Client): void {
    // A subnet of length 0 says: do not use the client's. Then the resolver's own network decides, and since the
    // answer goes to everybody its scope is 0 (RFC 7871 §7.1.2, §7.2.1).
    const usesSubnet = subnet.isPresent && subnet.sourcePrefixLength > 0;
    decide(steering, steeredIndex, asked, usesSubnet ? subnet.address : client.address, decision);
    if (usesSubnet && decision.scope > reply.scope) reply.scope = decision.scope;
    steps++;
  }

  function ttlOf(steering: Steering, steeredIndex: number, ttlMaxSeconds: number): number {
    const ttlSeconds = steering.ttlSeconds[steeredIndex] ?? 0;
    return ttlSeconds < ttlMaxSeconds ? ttlSeconds : ttlMaxSeconds;
  }

  /** HTTPS or SVCB records: their hints are what this client's A and AAAA of the target would be (RFC 9460 §7.3). */
  function addHinted(now: Snapshot, set: number, client: Client, ownerAt: number): void {
    const { steering, zones: image } = now;
    const base = set * setWords;
    const records = intAt(image.sets, base + setCount);
    const first = intAt(image.sets, base + setExtra);
    let ttlSeconds = intAt(image.sets, base + setTtl);
    let chosen = 0;
    for (let record = 0; record < records; record++) {
      const steeredIndex = intAt(image.hints, (first + record) * hintWords + hintSteered);
      if (steeredIndex < 0) continue;
      count(counters, steeredIndexOfCounter);
      ttlSeconds = ttlOf(steering, steeredIndex, ttlSeconds);
      decideFor(steering, steeredIndex, 4, client);
      hintSites[chosen * 2] = decision.site;
      decideFor(steering, steeredIndex, 6, client);
      hintSites[chosen * 2 + 1] = decision.site;
      chosen++;
    }
    const next = writeHinted(image, set, steering, hintSites, nextTurn(), ttlSeconds, out, at, limit, ownerAt);
    advance(next, records);
    answers += records;
  }

  function addReferral(image: ZoneImage, cut: number, cutAt: number, apexAt: number): void {
    const nameservers = intAt(image.delegations, cut + delegationNameservers);
    const nameserversCount = intAt(image.sets, nameservers * setWords + setCount);
    advance(writeSet(image, nameservers, out, at, limit, cutAt, apexAt), nameserversCount);
    authorities += nameserversCount;
    const glue = intAt(image.delegations, cut + delegationGlue);
    const end = glue + intAt(image.delegations, cut + delegationGlueCount);
    for (let set = glue; set < end && !isTruncated; set++) {
      const records = intAt(image.sets, set * setWords + setCount);
      // Glue that does not fit makes the answer useless, so it counts as truncated (RFC 9471 §3.1).
      advance(writeSet(image, set, out, at, limit, 0, apexAt), records);
      additionals += records;
    }
  }

  function addNegativeSoa(image: ZoneImage, zoneBase: number, apexAt: number): void {
    const soa = intAt(image.zones, zoneBase + zoneNegativeSoa);
    advance(writeSet(image, soa, out, at, limit, apexAt, apexAt), 1);
    authorities++;
  }

  function addSet(image: ZoneImage, set: number, ownerAt: number, apexAt: number): void {
    const records = intAt(image.sets, set * setWords + setCount);
    advance(writeSet(image, set, out, at, limit, ownerAt, apexAt), records);
    answers += records;
  }

  /**
   * The CNAME that a DNAME stands for (RFC 6672 §3.1): from the name at `ownerAt` to its first `ownLength` octets and
   * the DNAME's target, which stands at `targetAt`.
   */
  function addSynthesized(ttlSeconds: number, ownerAt: number, ownLength: number, targetAt: number): void {
    const length = pointedHeaderLength + ownLength + 2;
    if (length > limit - at) {
      isTruncated = true;
      return;
    }
    putUint16(out, at, 0xc000 | ownerAt);
    putUint16(out, at + 2, recordTypes.CNAME);
    putUint16(out, at + 4, classes.IN);
    putUint32(out, at + 6, ttlSeconds);
    putUint16(out, at + 10, ownLength + 2);
    at += pointedHeaderLength;
    for (let i = 0; i < ownLength; i++) out[at + i] = byteAt(target.bytes, i);
    at += ownLength;
    putUint16(out, at, 0xc000 | targetAt);
    at += 2;
    answers++;
    steps++;
  }

  function advance(next: number, records: number): void {
    steps += records;
    if (next < 0 || isTruncated) isTruncated = true;
    else at = next;
  }

  /** Whole numbers in no order that matters (xorshift32). */
  function nextTurn(): number {
    turns ^= turns << 13;
    turns ^= turns >>> 17;
    turns ^= turns << 5;
    return turns & 0x7fff_ffff;
  }

  /** @param extendedError why, for those who read it (RFC 8914) */
  function fail(message: Uint8Array, code: number, extendedError: number, outcome: number): number {
    // Its room was not kept back, and without it the answer is as true.
    if (limit - at >= extendedErrorLength) reply.extendedError = extendedError;
    return finish(message, code, outcome);
  }

  /** Writes header and OPT around what stands there. */
  function finish(message: Uint8Array, code: number, outcome: number): number {
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
    if (subnet.isPresent) count(counters, clientSubnetsIndex);
    if (edns.isPresent) at = writeOpt(out, at, edns, code, reply);
    return outcome;
  }

  function writeHeaderOnly(message: Uint8Array, code: number, flags: number): number {
    out[0] = byteAt(message, 0);
    out[1] = byteAt(message, 1);
    out[2] = flagAnswer | flags;
    out[3] = code;
    for (let i = 4; i < headerLength; i++) out[i] = 0;
    return headerLength;
  }

  return { respond, steps: () => steps };
}
