/**
 * Runs the DNS responder in an edge: its late start, its inputs, its stop. main.ts provides the responder.
 *
 *   start() ──▶ bind ──▶ first update ──▶ answers on every thread ──▶ ready
 *                            ▲
 *   refresh() ───────────────┘   document, site states or kept shares changed: the old ones stay in force meanwhile
 *
 * It reads its inputs when it needs them, so the first update includes all changes from before the start.
 */
import { availableParallelism } from "node:os";
import type { NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import type { Fleet } from "#document/document.ts";
import type { SiteStates } from "#health/health.ts";
import type { EdgeConfig } from "../../config.ts";
import type { DnsObserved } from "../../observe/edge-metrics.ts";
import { alone, type ProcessPlace } from "../../processes/process-share.ts";

interface DnsInputs {
  fleet: Fleet;
  version: number;
  siteStates: SiteStates;
  /** Site → share of its clients that it keeps, 0 to 1. */
  keptShares: ReadonlyMap<string, number>;
}

/** The interface of a responder to an edge; dns/start.ts implements it. */
export interface DnsPart extends DnsObserved {
  /** Resolves when every thread answers from these inputs, or newer ones; rejects when they can't be used. */
  update: (inputs: DnsInputs) => Promise<void>;
  /** Site → ms until its state may change; a missing site can't change. */
  setSoonestChanges: (msBySite: ReadonlyMap<string, number>) => void;
  /** Makes cookies with the first secret and accepts those of all. */
  setCookieSecrets: (fleetSecrets: readonly Uint8Array[]) => void;
  /** Undefined before the first update. */
  explain: (question: { name: string; type: string; ip: string }) => unknown;
  addresses: () => readonly { host: string; port: number }[];
  geo: () => string;
  close: () => Promise<void>;
}

export type StartDns = (options: {
  addresses: readonly { host: string; port: number }[];
  site: string;
  geo: { files?: readonly string[]; asnFile?: string };
  geoCheckMs: number;
  threads: number;
  guard: { responsesPerSecond: number; slip: number; amplificationMax: number };
  identity: { nsid?: string; version?: string; id?: string };
  sharesPorts: boolean;
}) => Promise<DnsPart>;

export interface DnsHosting {
  /**
   * Binds the addresses; resolves when names are answered, which may be never if the document can't be compiled and no
   * other one follows.
   * @throws NearcastError CANNOT_LISTEN
   */
  start: () => Promise<void>;
  refresh: () => void;
  setSoonestChanges: DnsPart["setSoonestChanges"];
  setSecrets: DnsPart["setCookieSecrets"];
  part: () => DnsPart | undefined;
  /** Version of the fleet document that DNS answers are based on; 0 before the first. */
  version: () => number;
  status: () => Record<string, unknown> | null;
  close: () => Promise<void>;
}

export function openDnsHosting(deps: {
  config: EdgeConfig;
  startDns: StartDns;
  /** Null while there is no fleet document. */
  inputs: () => DnsInputs | null;
  soonestChangesMs: () => ReadonlyMap<string, number>;
  secrets: () => readonly Uint8Array[];
  /** Default: alone on its machine. */
  process?: ProcessPlace | undefined;
  log: Log;
}): DnsHosting {
  const { config, startDns, inputs, soonestChangesMs, secrets, log } = deps;
  let part: DnsPart | undefined;
  let version = 0;
  let isClosed = false;
  const answers = Promise.withResolvers<void>();

  async function update(started: DnsPart, taken: DnsInputs): Promise<void> {
    await started.update(taken);
    version = taken.version;
    answers.resolve();
  }

  function refresh(): void {
    const taken = inputs();
    if (part === undefined || taken === null) return;
    update(part, taken).catch((error: unknown) => {
      // After a stop nobody waits for the update.
      if (isClosed) return;
      // The first update binds shared ports; without them the start can't continue.
      if (version === 0 && (error as NearcastError).code === "CANNOT_LISTEN") {
        answers.reject(error);
        return;
      }
      log.error(
        { version: taken.version, reason: (error as Error).message },
        version === 0 ? "DNS does not answer yet" : "DNS keeps answering as before",
      );
    });
  }

  return {
    async start() {
      const started = await startDns(dnsOptions(config, deps.process ?? alone));
      if (isClosed) {
        await started.close();
        return;
      }
      part = started;
      started.setCookieSecrets(secrets());
      started.setSoonestChanges(soonestChangesMs());
      refresh();
      await answers.promise;
      log.info({ addresses: started.addresses(), geo: started.geo(), threads: started.threads() }, "DNS answers");
    },
    refresh,
    setSoonestChanges: (msBySite) => part?.setSoonestChanges(msBySite),
    setSecrets: (fleetSecrets) => part?.setCookieSecrets(fleetSecrets),
    part: () => part,
    version: () => version,
    status() {
      if (part === undefined) return null;
      const [addresses, threads, connections] = [part.addresses(), part.threads(), part.connections()];
      return { version, geo: part.geo(), addresses, threads, connections, ...part.stats() };
    },
    async close() {
      isClosed = true;
      await part?.close();
    },
  };
}

function dnsOptions(config: EdgeConfig, { count, sharesPorts }: ProcessPlace): Parameters<StartDns>[0] {
  const { addresses, geoFiles, asnFile, geoCheckSeconds, identity } = config.dns;
  const { threads, responsesPerSecond, slip, amplificationMax } = config.dns;
  const { nsid = config.node, id = config.node, version = "" } = identity;
  return {
    addresses,
    site: config.site,
    geo: { ...(geoFiles === undefined ? {} : { files: geoFiles }), ...(asnFile === undefined ? {} : { asnFile }) },
    geoCheckMs: geoCheckSeconds * 1000,
    threads: threads === "auto" ? Math.max(1, Math.floor((availableParallelism() - 1) / count)) : threads,
    guard: { responsesPerSecond, slip, amplificationMax },
    // An empty text disables it.
    identity: {
      ...(nsid === "" ? {} : { nsid }),
      ...(id === "" ? {} : { id }),
      ...(version === "" ? {} : { version }),
    },
    sharesPorts,
  };
}
