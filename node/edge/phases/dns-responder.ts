/**
 * Starts the DNS responder before the phases that take time: a port that is in use ends the start, and the geo data,
 * which take the longest, load while the other phases run. The addresses are bound when begin-service.ts has given it
 * its first inputs and they are in force. Until then, queries are refused, and clients ask another nameserver. main.ts
 * provides the responder.
 */
import { availableParallelism } from "node:os";
import type { Lifecycle } from "#base/lifecycle.ts";
import type { Fleet } from "#document/document.ts";
import type { SiteStates } from "#health/health.ts";
import type { EdgeConfig } from "../../config.ts";
import type { DnsObserved } from "../../observe/dns-metrics.ts";
import type { ProcessPlace } from "../../processes/process-share.ts";

export interface DnsInputs {
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
  /** Makes cookies with the first secret, and accepts those of all secrets. */
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
  bindsLate: boolean;
}) => Promise<DnsPart>;

/**
 * Undefined: this node answers no DNS.
 * @throws NearcastError CANNOT_LISTEN
 */
export async function openDnsResponder(deps: {
  config: EdgeConfig;
  startDns: StartDns;
  process: ProcessPlace;
  lifecycle: Lifecycle;
}): Promise<DnsPart | undefined> {
  const { config, startDns, process, lifecycle } = deps;
  if (config.dns.addresses.length === 0) return undefined;
  const part = await startDns(dnsOptions(config, process));
  // For a start that fails. After a successful start, begin-service.ts closes it earlier.
  lifecycle.defer("DNS responder", part.close);
  return part;
}

/** The settings of a process in the form that the responder expects. */
export function dnsOptions(config: EdgeConfig, { count, sharesPorts }: ProcessPlace): Parameters<StartDns>[0] {
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
    bindsLate: true,
  };
}
