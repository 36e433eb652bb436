/**
 * The responder's state: one record, made once and reused for every query. Every step of an answer is a function that
 * takes this record, so a test can build one, call a single step and check the changes.
 *
 *   deps       what the responder was made with; never changes
 *   query      the parsed query (readQuery())
 *   chain      where the question's name, and each alias after it, has led
 *   answer     `out[0..at)`, which may grow to `limit`, and what its header will say
 *   ready      answers to questions that came before
 *
 * Nothing is allocated per query. Therefore every number here is a small integer from the beginning (V8 keeps such a
 * field in the object itself; a fraction, or a number beyond 31 bits, would cost an allocation at each write), no field
 * is added later, and none changes its type.
 */
import type { NearcastError } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import type { Counters, TransportName } from "../counters.ts";
import type { Cookies } from "../guard/cookie.ts";
import type { RateLimit } from "../guard/rate-limit.ts";
import type { Snapshot } from "../snapshot.ts";
import { noSite, type Decision } from "../steer/steering.ts";
import type { IpAddress } from "../wire/address.ts";
import { emptyOptReply, type OptReply } from "../wire/edns.ts";
import { emptyQuery, type Query } from "../wire/message.ts";
import { newAliasChain, type AliasChain } from "../zone/alias-chain.ts";
import { compileChaos, type ChaosAnswers } from "../zone/chaos.ts";
import { steeredHintsMax } from "../zone/compiled-zones.ts";
import { createReadyTable, emptyReadyAnswer, type ReadyAnswer, type ReadyTable } from "./ready-table.ts";

export interface Client {
  readonly address: IpAddress;
  readonly port: number;
  readonly transport: TransportName;
  /** Over TCP: the idle timeout in units of 100 ms, for clients that ask for it (RFC 7828). */
  readonly keepaliveTenths?: number;
}

/** What the server tells about itself. */
export interface Identity {
  /** The NSID option's octets (RFC 5001). */
  readonly nsid: Uint8Array | undefined;
  /** TXT of `version.bind` and `version.server` in class CH; undefined: REFUSED. */
  readonly version: string | undefined;
  /** TXT of `id.server` and `hostname.bind` in class CH; undefined: REFUSED. */
  readonly id: string | undefined;
}

export interface ResponderDeps {
  /** Undefined until the sites have been judged once; until then every question gets SERVFAIL. */
  readonly snapshot: () => Snapshot | undefined;
  readonly counters: Counters;
  readonly cookies: Cookies;
  /** Undefined: no limit. */
  readonly rateLimit: RateLimit | undefined;
  readonly identity: Identity;
  /** Longest UDP answer without a valid cookie, in lengths of the query; longer ones ask for TCP. 0: no limit. */
  readonly amplificationMax: number;
  /** Used once, for a seed: several addresses of a site then take turns by numbers of our own. */
  readonly random: Random;
  /** The wall clock. */
  readonly nowMs: () => number;
  /** Called when answering throws, which is a bug. */
  readonly onFailure: (error: NearcastError) => void;
}

/** The state of one responder, and in it the answer under construction. */
export interface Responding {
  readonly snapshot: () => Snapshot | undefined;
  readonly counters: Counters;
  readonly cookies: Cookies;
  readonly rateLimit: RateLimit | undefined;
  readonly nsid: Uint8Array | undefined;
  readonly chaos: ChaosAnswers;
  readonly amplificationMax: number;
  readonly nowMs: () => number;

  readonly query: Query;
  readonly chain: AliasChain;
  readonly decision: Decision;
  /** The sites of ipv4hint and ipv6hint of each record with a steered target, in the records' order. */
  readonly hintSites: Int32Array;
  /** Seed of the turns that a site's addresses take. */
  turns: number;

  /** Where the answer is written; may be the query's own array. */
  out: Uint8Array;
  /** Octets of the answer so far; 0: silence. */
  at: number;
  /** The sections must end here; room for the OPT record is kept behind it. */
  limit: number;
  rcode: number;
  answers: number;
  authorities: number;
  additionals: number;
  isUdp: boolean;
  /** A valid cookie has shown that the address is the client's. */
  isProven: boolean;
  isTruncated: boolean;
  isAuthoritative: boolean;
  readonly reply: OptReply;

  /** Where the zone's words start in `zones.zones`. */
  zoneBase: number;
  /** Where the zone's apex stands in the answer: always inside the question. */
  apexAt: number;
  /**
   * Where the name that is answered for stands in the answer. Its last `tailLength` octets may stand elsewhere, at
   * `tailAt`, when it was written with a compression pointer.
   */
  ownerAt: number;
  tailAt: number;
  tailLength: number;

  readonly ready: ReadyTable;
  /** A ready answer that was found, or the one that is to be kept. */
  readonly readyAnswer: ReadyAnswer;
  /** Whether question and snapshot alone determine the answer, or the steered name that gives it. */
  isSettled: boolean;
  /** The snapshot that the ready answers rest on, and its number. */
  readySnapshot: Snapshot | undefined;
  generation: number;

  /** Iterations of loops for this query, except those that copy octets. */
  steps: number;
}

export function newResponding(deps: ResponderDeps): Responding {
  const { identity } = deps;
  return {
    snapshot: deps.snapshot,
    counters: deps.counters,
    cookies: deps.cookies,
    rateLimit: deps.rateLimit,
    nsid: identity.nsid,
    chaos: compileChaos(identity.version, identity.id),
    amplificationMax: deps.amplificationMax,
    nowMs: deps.nowMs,
    query: emptyQuery(),
    chain: newAliasChain(),
    decision: { site: noSite, scope: 0 },
    hintSites: new Int32Array(2 * steeredHintsMax),
    turns: Math.floor(deps.random() * 0x7fff_ffff) | 1,
    out: new Uint8Array(0),
    at: 0,
    limit: 0,
    rcode: 0,
    answers: 0,
    authorities: 0,
    additionals: 0,
    isUdp: true,
    isProven: false,
    isTruncated: false,
    isAuthoritative: false,
    reply: emptyOptReply(),
    zoneBase: 0,
    apexAt: 0,
    ownerAt: 0,
    tailAt: 0,
    tailLength: 0,
    ready: createReadyTable(),
    readyAnswer: emptyReadyAnswer(),
    isSettled: false,
    readySnapshot: undefined,
    generation: 0,
    steps: 0,
  };
}
