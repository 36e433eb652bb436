/**
 * The responder as a running thing: geo data loaded, sockets bound, snapshots swapped.
 *
 *   startDns ──▶ geo ──▶ UDP and TCP on every address ──▶ SERVFAIL until the first update() ──▶ answers
 *                                                            update() again on each change of document or health
 *
 * Before the first update nothing is known of zones and health. SERVFAIL sends a resolver to the zone's other servers
 * at once, where silence would cost it a timeout.
 */
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { Fleet } from "#fleet/document.ts";
import type { SiteStates } from "#fleet/health.ts";
import { newStats, type DnsStats } from "./counters.ts";
import { explainAnswer, type DnsExplanation, type DnsQuestion } from "./explain.ts";
import { loadGeo, type GeoSettings } from "./geo/database.ts";
import { openDatagram } from "./io/datagram.ts";
import { defaultStreamLimits, openStream, type StreamLimits } from "./io/stream.ts";
import type { ListenAddress, Transport, TransportDeps } from "./io/transport.ts";
import { createResponder } from "./responder.ts";
import { compileFleet, takeSnapshot, type CompiledFleet, type Snapshot } from "./snapshot.ts";

export interface DnsOptions {
  /** Bound one by one, UDP and TCP on the same port. Port 0 takes a free one. */
  readonly addresses: readonly ListenAddress[];
  /** Name of the site that answers, for the policy `local`. */
  readonly site: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly geo?: GeoSettings;
  readonly streamLimits?: StreamLimits;
}

export interface SnapshotInputs {
  readonly fleet: Fleet;
  /** The fleet document's version: the serial of each zone. */
  readonly version: number;
  readonly siteStates: SiteStates;
}

export interface Dns {
  /** Takes a new fleet document or new site states; the next query is answered from them. */
  update: (inputs: SnapshotInputs) => void;
  stats: () => Readonly<DnsStats>;
  /** Why a client gets what it gets; undefined before the first update. */
  explain: (question: DnsQuestion) => DnsExplanation | undefined;
  /** The addresses with the ports that were really bound. */
  addresses: () => readonly ListenAddress[];
  /** What the geo data are, for people. */
  geo: () => string;
  close: () => Promise<void>;
}

/** With port 0 the free UDP port may be taken for TCP: then another pair is tried. */
const freePortTries = 8;

/**
 * Loads the geo data and binds all addresses.
 * @throws NearcastError CANNOT_LISTEN when an address can't be bound; then none is left bound
 */
export async function startDns(options: DnsOptions): Promise<Dns> {
  const { clock, log, random, site } = options;
  const stats = newStats();
  const geo = await loadGeo(options.geo ?? {}, log);
  let compiled: CompiledFleet | undefined;
  let snapshot: Snapshot | undefined;

  const respond = createResponder({
    snapshot: () => snapshot,
    stats,
    random,
    onFailure: (error) => {
      // Only the first is logged whole: a query that fails can be sent a thousand times a second.
      if (stats.failures === 1) log.error({ error }, "a query failed inside and was answered SERVFAIL");
    },
  });
  const deps = { respond, stats, log, clock, limits: options.streamLimits ?? defaultStreamLimits };
  const transports: Transport[] = [];
  const closeAll = async (): Promise<void> => {
    await Promise.all(transports.map((transport) => transport.close()));
  };
  try {
    for (const address of options.addresses) transports.push(...(await openPair(address, deps)));
  } catch (error) {
    await closeAll();
    throw error;
  }

  return {
    update({ fleet, version, siteStates }) {
      if (compiled === undefined || compiled.fleet !== fleet || compiled.version !== version) {
        compiled = compileFleet(fleet, version);
        const { problems } = compiled.zones;
        if (problems.length > 0) log.warn({ version, problems }, "parts of the zones were left out");
      }
      snapshot = takeSnapshot(compiled, siteStates, geo, site);
    },
    stats: () => stats,
    explain: (question) => (snapshot === undefined ? undefined : explainAnswer(snapshot, question)),
    addresses: () => transports.filter((_, index) => index % 2 === 0).map((transport) => transport.address),
    geo: () => geo.description,
    close: closeAll,
  };
}

/** UDP and TCP on one address and port. */
async function openPair(
  address: ListenAddress,
  deps: TransportDeps & { readonly clock: Clock; readonly limits: StreamLimits },
): Promise<[Transport, Transport]> {
  for (let tries = 1; ; tries++) {
    const udp = await listening("UDP", address, () => openDatagram(address, deps));
    try {
      const tcp = await listening("TCP", udp.address, () => openStream(udp.address, deps));
      return [udp, tcp];
    } catch (error) {
      await udp.close();
      if (address.port !== 0 || tries === freePortTries) throw error;
    }
  }
}

async function listening(
  what: string,
  { host, port }: ListenAddress,
  open: () => Promise<Transport>,
): Promise<Transport> {
  try {
    return await open();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new NearcastError("CANNOT_LISTEN", `DNS can't listen on ${what} ${host} port ${port}: ${reason}`, {
      cause: error,
    });
  }
}
