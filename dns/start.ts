/**
 * The responder as a running thing: the compiler's thread, the batch threads, sockets, snapshots swapped.
 *
 *   startDns ──▶ geo data ──▶ TCP and UDP on every address ──▶ SERVFAIL until the first update() ──▶ answers
 *                                                               update() again on each change of document or health
 *
 * UDP is answered by batch threads where the machine can do that, else by Node's dgram on the main thread; TCP always
 * on the main thread. Before the first update nothing is known of zones and health: SERVFAIL sends a resolver to the
 * zone's other servers at once, where silence would cost it a timeout.
 *
 * Where several processes share the ports it is the other way round: a process that is started anew binds when it has
 * its first snapshot, since until then the others answer, and better. Queries that wait in the sockets of a process
 * that ends are lost, as when any server ends; the clients ask again.
 */
import { randomBytes } from "node:crypto";
import type { Clock } from "#base/clock.ts";
import type { NearcastError } from "#base/errors.ts";
import { openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { openCompiler, type CompilerInputs } from "./compiler.ts";
import { newCounters, readStats, type DnsStats } from "./counters.ts";
import { explainAnswer, type DnsExplanation, type DnsQuestion } from "./explain.ts";
import type { GeoSettings } from "./geo/database.ts";
import { createCookies } from "./guard/cookie.ts";
import { cookieSecrets } from "./guard/cookie-secrets.ts";
import { createRateLimit, newRateTable } from "./guard/rate-limit.ts";
import { bindAll, closeAll, newListeners } from "./io/listeners.ts";
import type { StreamLimits } from "./io/stream-connections.ts";
import type { ListenAddress } from "./io/transport.ts";
import { createResponder } from "./responder.ts";
import type { Snapshot } from "./snapshot.ts";
import { ttlOf } from "./steer/ttl.ts";

export interface GuardSettings {
  /** UDP answers per second to one client network (/24, IPv6 /56) without a valid cookie; 0: no limit. */
  readonly responsesPerSecond: number;
  /** Of the answers past that, each how manyth is an empty one that asks for TCP; 0: none. */
  readonly slip: number;
  /** Longest UDP answer without a valid cookie, in lengths of its query; 0: no limit. */
  readonly amplificationMax: number;
}

export interface DnsOptions {
  /** Bound one by one, UDP and TCP on the same port. Port 0 takes a free one. */
  readonly addresses: readonly ListenAddress[];
  /** Name of the site that answers, for the policy `local`. */
  readonly site: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly geo?: GeoSettings;
  /** How often the geo files are looked at; a changed one is read once it has been still for so long. */
  readonly geoCheckMs: number;
  /** Threads that answer UDP in batches; 0: Node's dgram. */
  readonly threads: number;
  readonly guard: GuardSettings;
  /** What the responder says of itself: NSID (RFC 5001), version.bind and id.server (RFC 4892); absent: nothing. */
  readonly identity: { readonly nsid?: string; readonly version?: string; readonly id?: string };
  readonly streamLimits?: StreamLimits;
  /**
   * Other processes of this user may bind the same addresses (SO_REUSEPORT), none of which has port 0 then. Nothing is
   * bound before the first update().
   */
  readonly sharesPorts?: boolean;
}

export interface Dns {
  /**
   * Takes a new fleet document, or new states and shares of the sites. Resolves when queries are answered from them.
   * @throws NearcastError INTERNAL when they can't be compiled; what was in force stays. CANNOT_LISTEN when they are
   *   the first, and shared ports can't be bound
   */
  update: (inputs: CompilerInputs) => Promise<void>;
  /** In how many ms each site's state may change at the earliest; a site that is not named can't change. */
  setSoonestChanges: (msBySite: ReadonlyMap<string, number>) => void;
  /** The fleet's secrets, 32 octets each: cookies are made with the first and accepted from all. */
  setCookieSecrets: (fleetSecrets: readonly Uint8Array[]) => void;
  stats: () => DnsStats;
  /** TCP connections that are open now. */
  connections: () => number;
  /** Batch threads; 0 where dgram answers. */
  threads: () => number;
  /** Why a client gets what it gets; undefined before the first update. */
  explain: (question: DnsQuestion) => DnsExplanation | undefined;
  /** The addresses with the ports that were really bound. */
  addresses: () => readonly ListenAddress[];
  /** What the geo data are, for people. */
  geo: () => string;
  close: () => Promise<void>;
}

/** The day's secret changes at midnight; cookies of both sides of it are accepted, so a minute late is early enough. */
const secretsIntervalMs = 60_000;

/**
 * Loads the geo data and binds all addresses, unless they are shared.
 * @throws NearcastError CANNOT_LISTEN when an address can't be bound; then none is left bound
 */
export async function startDns(options: DnsOptions): Promise<Dns> {
  const { clock, log, random, guard } = options;
  const failures = openFailureLog(log, clock);
  const { nsid, version, id } = options.identity;
  const identity = { nsid: nsid === undefined ? undefined : Buffer.from(nsid, "utf8"), version, id };
  const counters = newCounters();
  const rateTable = newRateTable();
  const cookies = createCookies();
  let fleetSecrets: readonly Uint8Array[] = [randomBytes(32)];
  let snapshot: Snapshot | undefined;
  let inForce: CompilerInputs | undefined;
  let soonestChangeMs: ReadonlyMap<string, number> = new Map();
  const listeners = newListeners();

  const { respond } = createResponder({
    snapshot: () => snapshot,
    counters,
    cookies,
    rateLimit: guard.responsesPerSecond > 0 ? createRateLimit(guard, rateTable) : undefined,
    amplificationMax: guard.amplificationMax,
    identity,
    random,
    nowMs: clock.wallMs,
    onFailure,
  });

  function onFailure(error: NearcastError): void {
    failures.error(error.code, { err: error }, "a query failed and was answered with SERVFAIL");
  }

  const compiler = await openCompiler({
    settings: { site: options.site, geo: options.geo ?? {}, geoCheckMs: options.geoCheckMs },
    onSnapshot(next, inputs) {
      writeTtls(next, inputs, soonestChangeMs);
      snapshot = next;
      inForce = inputs;
      listeners.batch?.publish(next);
    },
    clock,
    log,
  });

  let secrets: readonly Uint8Array[] = [];
  function makeSecrets(): void {
    secrets = cookieSecrets(fleetSecrets, clock.wallMs());
    cookies.setSecrets(secrets);
    listeners.batch?.setSecrets(secrets);
  }

  makeSecrets();
  const { sharesPorts = false, addresses, threads, streamLimits } = options;
  const bindSockets = (): Promise<void> =>
    bindAll(listeners, {
      respond,
      counters,
      addresses,
      threads,
      streamLimits,
      clock,
      log,
      sharesPorts,
      guard,
      rateTable,
      identity,
      onFailure,
      snapshot: () => snapshot,
      secrets: () => secrets,
    });
  let bound: Promise<void> | undefined;
  let isClosed = false;
  if (!sharesPorts) {
    bound = bindSockets();
    try {
      await bound;
    } catch (error) {
      await compiler.close();
      throw error;
    }
  }
  const stopMakingSecrets = clock.every(secretsIntervalMs, makeSecrets);

  return {
    async update(inputs) {
      await compiler.compile(inputs);
      if (!isClosed) await (bound ??= bindSockets());
    },
    setSoonestChanges(msBySite) {
      soonestChangeMs = msBySite;
      if (snapshot !== undefined && inForce !== undefined) writeTtls(snapshot, inForce, msBySite);
    },
    setCookieSecrets(next) {
      if (next.length > 0) fleetSecrets = next;
      makeSecrets();
    },
    stats: () => readStats([counters, ...(listeners.batch?.counters ?? [])]),
    connections: () => listeners.streams.reduce((sum, stream) => sum + stream.connections(), 0),
    threads: () => listeners.batch?.counters.length ?? 0,
    explain(question) {
      if (snapshot === undefined || inForce === undefined) return undefined;
      const { fleet, siteStates, keptShares } = inForce;
      return explainAnswer({ snapshot, fleet, states: siteStates, keptShares, soonestChangeMs }, question);
    },
    addresses: () => listeners.streams.map((stream) => stream.address),
    geo: () => snapshot?.geo.description ?? "not loaded yet",
    async close() {
      isClosed = true;
      stopMakingSecrets();
      await bound?.catch(() => undefined); // whoever waits for it is told
      await closeAll(listeners);
      await compiler.close();
    },
  };
}

/** Writes each steered name's TTL into the snapshot that is about to be, or is, in force. */
function writeTtls(snapshot: Snapshot, { fleet }: CompilerInputs, soonestChangeMs: ReadonlyMap<string, number>): void {
  const all = fleet.sites.map((site) => site.name);
  for (const [index, steered] of fleet.steering.entries()) {
    snapshot.steering.ttlSeconds[index] = ttlOf(steered, steered.sites ?? all, soonestChangeMs).seconds;
  }
}
