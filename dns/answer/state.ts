/**
 * The responder's state: one record, created once and reused for every query. Every step of an answer is a function
 * that takes this record, so a test can build one, call a single step and check the changes.
 *
 *   deps       what the responder was created with; never changes
 *   query      the parsed query (readQuery())
 *   chain      where the question's name, and each alias after it, leads
 *   answer     `out[0..at)`, which may grow to `limit`, and the fields of its header
 *   ready      answers to earlier questions
 *
 * Nothing is allocated per query. So every number here is always a small integer: V8 stores such a field in the object
 * itself, whereas a fraction, or a number beyond 31 bits, would cost an allocation at each write. For the same reason
 * no field is added later, and none changes its type.
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

/** What the server discloses about itself. */
export interface Identity {
  /** The NSID option's octets (RFC 5001). */
  readonly nsid: Uint8Array | undefined;
  /** TXT of `version.bind` and `version.server` in class CH; undefined: REFUSED. */
  readonly version: string | undefined;
  /** TXT of `id.server` and `hostname.bind` in class CH; undefined: REFUSED. */
  readonly id: string | undefined;
}

export interface ResponderDeps {
  /** Undefined until the states of the sites are known. Until then every question gets SERVFAIL. */
  readonly snapshot: () => Snapshot | undefined;
  readonly counters: Counters;
  readonly cookies: Cookies;
  /** Undefined: no limit. */
  readonly rateLimit: RateLimit | undefined;
  readonly identity: Identity;
  /**
   * Longest UDP answer without a valid cookie, as a multiple of the query's length. Longer ones ask for TCP. 0: no
   * limit.
   */
  readonly amplificationMax: number;
  /** Used once, for the seed that rotates the addresses of a site. */
  readonly random: Random;
  /** The wall clock. */
  readonly nowMs: () => number;
  /** Called when answering a query throws, which is a bug. */
  readonly onFailure: (error: NearcastError) => void;
}

/** The state of one responder, including the answer under construction. */
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
  /** The sites of ipv4hint and ipv6hint for each record with a steered target, in the order of the records. */
  readonly hintSites: Int32Array;
  /** Seed for rotating a site's addresses. */
  turns: number;

  /** Where the answer is written; may be the query's own array. */
  out: Uint8Array;
  /** Octets of the answer so far; 0: no answer is sent. */
  at: number;
  /** The sections must end here. The space after it is reserved for the OPT record. */
  limit: number;
  rcode: number;
  answers: number;
  authorities: number;
  additionals: number;
  isUdp: boolean;
  /** A valid cookie has proved the client's address. */
  isProven: boolean;
  isTruncated: boolean;
  isAuthoritative: boolean;
  readonly reply: OptReply;

  /** Offset of the zone in `zones.zones`. */
  zoneBase: number;
  /** Offset of the zone's apex in the answer, always inside the question. */
  apexAt: number;
  /**
   * Offset in the answer of the name that is being answered. If it was written with a compression pointer, its last
   * `tailLength` octets are at `tailAt`.
   */
  ownerAt: number;
  tailAt: number;
  tailLength: number;

  readonly ready: ReadyTable;
  /** The ready answer that was found, or the one to keep. */
  readonly readyAnswer: ReadyAnswer;
  /** Whether question and snapshot alone determine the answer, or the steered name that it comes from. */
  isSettled: boolean;
  /** The snapshot that the ready answers depend on, and its number. */
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
