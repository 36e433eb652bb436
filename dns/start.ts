/**
 * Runs the responder: the compiler thread, the batch threads, the sockets, and the replacement of snapshots.
 *
 *   startDns ──▶ TCP and UDP on every address ──▶ SERVFAIL until the first update() is in force ──▶ answers
 *       └──▶ geo data, in the compiler thread ──────▲        update() again on each change of document or health
 *
 * Batch threads answer UDP where the machine supports them, otherwise Node's dgram on the main thread does. TCP is
 * always answered on the main thread. The addresses are bound at once, so that an address in use is detected before
 * anything else is started. Until the geo data are loaded and the first update is in force, the answer is SERVFAIL: it
 * sends a resolver to the zone's other servers, whereas silence would cost it a timeout.
 *
 * An edge binds late (`bindsLate`): its port refuses queries until the first update, and the clients of a restarted
 * node ask another one, because some stub resolvers accept SERVFAIL as final.
 *
 * Where several processes share the ports, binding waits, too: a restarted process binds when it has its first
 * snapshot, since until then the other processes answer better. Queries that wait in the sockets of a process that ends
 * are lost, as with any server that ends; the clients retry.
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
import { checkFree } from "./io/check-free.ts";
import { bindAll, closeAll, newListeners } from "./io/listeners.ts";
import type { StreamLimits } from "./io/stream-connections.ts";
import type { ListenAddress } from "./io/transport.ts";
import { createResponder } from "./responder.ts";
import type { Snapshot } from "./snapshot.ts";
import { ttlOf } from "./steer/ttl.ts";

export interface GuardSettings {
  /** UDP answers per second to one client network (/24, IPv6 /56) without a valid cookie; 0: no limit. */
  readonly responsesPerSecond: number;
  /** Every Nth answer beyond the limit is an empty one that asks for TCP; 0: none. */
  readonly slip: number;
  /** Longest UDP answer without a valid cookie, as a multiple of its query's length; 0: no limit. */
  readonly amplificationMax: number;
}

export interface DnsOptions {
  /** Bound one by one, UDP and TCP on the same port. Port 0 means any free port. */
  readonly addresses: readonly ListenAddress[];
  /** Name of the site that answers, for the policy `local`. */
  readonly site: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly geo?: GeoSettings;
  /** How often the geo files are checked. A changed file is read once it has stayed the same for this long. */
  readonly geoCheckMs: number;
  /** Threads that answer UDP in batches; 0: Node's dgram. */
  readonly threads: number;
  readonly guard: GuardSettings;
  /**
   * What the responder discloses about itself: NSID (RFC 5001), version.bind and id.server (RFC 4892); absent: nothing.
   */
  readonly identity: { readonly nsid?: string; readonly version?: string; readonly id?: string };
  readonly streamLimits?: StreamLimits;
  /**
   * Other processes of this user may bind the same addresses (SO_REUSEPORT), none of which has port 0 then. Nothing is
   * bound before the first update().
   */
  readonly sharesPorts?: boolean;
  /** The addresses are bound by the first update(), like shared ones; the start only checks that they are free. */
  readonly bindsLate?: boolean;
}

export interface Dns {
  /**
   * Takes a new fleet document, or new states and kept shares of the sites. Resolves when queries are answered from
   * them.
   * @throws NearcastError INTERNAL if they can't be compiled; the previous snapshot stays in force. CANNOT_LISTEN if
   *   they are the first, and shared ports can't be bound
   */
  update: (inputs: CompilerInputs) => Promise<void>;
  /**
   * The earliest time, in ms from now, at which each site's state may change. A site that is not named can't change.
   */
  setSoonestChanges: (msBySite: ReadonlyMap<string, number>) => void;
  /** The fleet's secrets, 32 octets each: cookies are made with the first and accepted from all. */
  setCookieSecrets: (fleetSecrets: readonly Uint8Array[]) => void;
  stats: () => DnsStats;
  /** TCP connections that are open now. */
  connections: () => number;
  /** Number of batch threads; 0 where dgram answers. */
  threads: () => number;
  /** Explains the answer that a client gets; undefined before the first update. */
  explain: (question: DnsQuestion) => DnsExplanation | undefined;
  /** The addresses with the ports that were actually bound. */
  addresses: () => readonly ListenAddress[];
  /** A description of the geo data, for people. */
  geo: () => string;
  close: () => Promise<void>;
}

/**
 * The secret of the day changes at midnight. Around it, cookies of both days are accepted, so a minute's delay is
 * harmless.
 */
const secretsIntervalMs = 60_000;

/**
 * Binds all addresses, unless that is for the first update(), and begins to load the geo data. It does not wait for
 * them: the first update() does.
 * @throws NearcastError CANNOT_LISTEN if an address can't be bound; then none stays bound
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

  const compiler = openCompiler({
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
  const { sharesPorts = false, bindsLate = false, addresses, threads, streamLimits } = options;
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
    if (!bindsLate) bound = bindSockets();
    try {
      await (bound ?? checkFree(addresses));
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
      await bound?.catch(() => undefined); // update() reports the failure to its caller
      await closeAll(listeners);
      await compiler.close();
    },
  };
}

/** Writes each steered name's TTL into the snapshot that is, or is about to be, in force. */
function writeTtls(snapshot: Snapshot, { fleet }: CompilerInputs, soonestChangeMs: ReadonlyMap<string, number>): void {
  const all = fleet.sites.map((site) => site.name);
  for (const [index, steered] of fleet.steering.entries()) {
    snapshot.steering.ttlSeconds[index] = ttlOf(steered, steered.sites ?? all, soonestChangeMs).seconds;
  }
}
