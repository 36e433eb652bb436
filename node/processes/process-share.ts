/**
 * Divides one configuration among the processes of a machine; pure.
 *
 *   shared by all (SO_REUSEPORT)     HTTP and HTTPS addresses, DNS addresses
 *   divided                          cache.memoryBytes, cache.diskBytes, delivery.inFlightBytes, decoders.processes,
 *                                    dns.responsesPerSecond
 *   numbered by process i            admin.port + i, peer.port + i (and by the lease itself, announce.source + i)
 *   own directory                    dataDir/process-i; process 0 has dataDir itself, so that changing from one
 *                                    process to several keeps the cache
 *
 * Everything else is the same. The node keeps its name; logs distinguish the processes as peers do: `fra1` and
 * `fra1.2`.
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { ValueProblem } from "#base/schema.ts";
import type { EdgeConfig } from "../config.ts";

/** Which of a machine's processes this one is. */
export interface ProcessPlace {
  /** From 0. */
  readonly index: number;
  /** 1 to 64. */
  readonly count: number;
  /** Whether HTTP and DNS ports are shared with other processes. */
  readonly sharesPorts: boolean;
}

/** More than one process per core is no use, and a machine with more cores than this should be divided into nodes. */
export const processesMax = 64;

export const alone: ProcessPlace = { index: 0, count: 1, sharesPorts: false };

/** The number of processes that `text` requests: 1 to 64, or `auto`, one per core; undefined: the text is neither. */
export function readProcesses(text: string): number | undefined {
  if (text === "auto") return Math.min(availableParallelism(), processesMax);
  if (!/^[1-9]\d?$/.test(text)) return undefined;
  const count = Number(text);
  return count <= processesMax ? count : undefined;
}

/** The name of process `index`'s directory in dataDir; process 0 has none. */
export function processDirectory(index: number): string {
  return `process-${index}`;
}

const mebibyte = 1024 * 1024;

/** The share of process `index` of `count`. Only for a configuration in which sharingProblems() finds none. */
export function configOfProcess(config: EdgeConfig, index: number, count: number): EdgeConfig {
  if (count === 1) return config;
  const { peer } = config;
  const part = (whole: number, atLeast: number): number => Math.max(atLeast, Math.floor(whole / count));
  const { diskBytes } = config.cache;
  const { responsesPerSecond } = config.dns;
  return {
    ...config,
    dataDir: index === 0 ? config.dataDir : join(config.dataDir, processDirectory(index)),
    admin: { ...config.admin, port: countedOn(config.admin.port, index) },
    // 0 disables the limit, and stays 0.
    dns: { ...config.dns, responsesPerSecond: responsesPerSecond === 0 ? 0 : part(responsesPerSecond, 1) },
    cache: {
      memoryBytes: part(config.cache.memoryBytes, mebibyte),
      diskBytes: diskBytes === 0 ? 0 : part(diskBytes, 1),
    },
    delivery: { ...config.delivery, inFlightBytes: part(config.delivery.inFlightBytes, mebibyte) },
    decoders: { ...config.decoders, processes: part(config.decoders.processes, 1) },
    ...(peer === undefined ? {} : { peer: { ...peer, port: countedOn(peer.port, index) } }),
  };
}

/** 0 requests any free port, and stays 0. */
function countedOn(port: number, index: number): number {
  return port === 0 ? 0 : port + index;
}

interface Taken {
  path: string;
  host: string;
  port: number;
}

/** The problems with running `config` as `count` processes. */
export function sharingProblems(config: EdgeConfig, count: number): ValueProblem[] {
  if (count === 1) return [];
  const { admin, peer } = config;
  const shared = [
    ...config.http.map((endpoint, index) => ({ ...endpoint, path: `http[${index}].port` })),
    ...(config.https?.addresses ?? []).map((endpoint, index) => ({
      ...endpoint,
      path: `https.addresses[${index}].port`,
    })),
    ...config.dns.addresses.map((endpoint, index) => ({ ...endpoint, path: `dns.addresses[${index}].port` })),
  ];
  const problems: ValueProblem[] = shared
    .filter(({ port }) => port === 0)
    .map(({ path }) => ({ path, message: `is 0, any free port, which ${count} processes can't share; name one` }));

  const taken: Taken[] = shared.filter(({ port }) => port !== 0);
  for (const [path, endpoint] of [["admin.port", admin] as const, ["peer.port", peer] as const]) {
    if (endpoint === undefined || endpoint.port === 0) continue;
    const own = Array.from({ length: count }, (_, index) => ({ ...endpoint, path, port: endpoint.port + index }));
    const past = own.find(({ port }) => port > 65_535);
    if (past !== undefined) problems.push({ path, message: `of ${count} processes the last would have ${past.port}` });
    for (const one of own) {
      const other = taken.find((known) => known.port === one.port && areOneHost(known.host, one.host));
      if (other === undefined) continue;
      problems.push({
        path,
        message: `${count} processes count on from here, and ${one.port} is taken by ${other.path}`,
      });
      break;
    }
    taken.push(...own);
  }
  return problems;
}

/** Whether sockets on the two addresses would conflict; a wildcard covers every address. */
function areOneHost(one: string, other: string): boolean {
  return one === other || [one, other].some((host) => host === "0.0.0.0" || host === "::");
}
