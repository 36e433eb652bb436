/**
 * What each node found when it applied a purge. The origin keeps the reports of recent purges, so that the command can
 * show what a purge matched; a restart forgets them. Nothing else depends on them: a purge is an event in the log, and
 * in force on every node that applied it, whether it reported or not.
 *
 * The processes of a node report one by one and are summed.
 */
import type { Clock } from "#base/clock.ts";
import type { PurgeReport } from "#follow/channel/messages.ts";
import { addHeld, type HeldPlaces, noPlaces } from "#purge/purge-report.ts";
import type { ConnectedNodes, IntroducedConnection } from "./connections.ts";

/** Entries (variants, sources, files of assets hosts) and their bytes. */
interface Held {
  readonly entries: number;
  readonly bytes: number;
}

/** What one node found, summed over its processes. */
export interface NodePurge {
  readonly node: string;
  readonly site: string;
  /** `waiting`: it was connected when the purge was ordered, and has not reported. */
  readonly state: "done" | "waiting";
  /** From the order to the last report, by this origin's clock. */
  readonly tookMs?: number;
  readonly memory: Held;
  readonly disk: Held;
  readonly records: number;
  /** False when a part of a disk cache could not be read and may have held more. */
  readonly isComplete: boolean;
}

export interface PurgeState {
  readonly nodes: readonly NodePurge[];
  /** Whether all nodes that were connected have reported. */
  readonly isSettled: boolean;
  /** The selectors for which a node held something. */
  readonly held: HeldPlaces;
}

export interface PurgeReports {
  /** Starts a purge: waits for the nodes that are connected now. */
  readonly open: (seq: number) => void;
  readonly take: (connection: IntroducedConnection, report: PurgeReport) => void;
  /** Undefined: not one of the recent purges. */
  readonly state: (seq: number) => PurgeState | undefined;
  /** Resolves when all have reported, or after `waitMs`. */
  readonly settled: (seq: number, waitMs: number) => Promise<void>;
  readonly close: () => void;
}

/** How many purges are kept; each takes about 200 bytes per process of the fleet. */
const purgesMax = 100;
const ageMsMax = 3_600_000;
/** How many reports one purge keeps. */
const processesMax = 5000;

interface Entry {
  readonly node: string;
  readonly site: string;
  report: Omit<PurgeReport, "held" | "seq"> | undefined;
  tookMs: number;
}

interface Tracked {
  readonly orderedAtMs: number;
  /** By node and process. */
  readonly entries: Map<string, Entry>;
  readonly held: HeldPlaces;
  readonly watchers: Set<() => void>;
}

export function openPurgeReports({ connected, clock }: { connected: ConnectedNodes; clock: Clock }): PurgeReports {
  const purges = new Map<number, Tracked>();

  function forgetOld(): void {
    const nowMs = clock.monotonicMs();
    for (const [seq, { orderedAtMs, watchers }] of purges) {
      if (purges.size <= purgesMax && nowMs - orderedAtMs <= ageMsMax) break;
      purges.delete(seq);
      for (const wake of watchers) wake();
    }
  }

  return {
    open(seq) {
      const entries = new Map(
        connected.introduced().map((connection): [string, Entry] => [keyOf(connection), emptyEntry(connection)]),
      );
      const orderedAtMs = clock.monotonicMs();
      purges.set(seq, { orderedAtMs, entries, held: noPlaces(), watchers: new Set() });
      forgetOld();
    },
    take(connection, { seq, held, ...report }) {
      const purge = purges.get(seq);
      if (purge === undefined) return;
      const key = keyOf(connection);
      const entry = purge.entries.get(key) ?? emptyEntry(connection);
      if (entry.report !== undefined || (!purge.entries.has(key) && purge.entries.size >= processesMax)) return;
      entry.report = report;
      entry.tookMs = Math.round(clock.monotonicMs() - purge.orderedAtMs);
      purge.entries.set(key, entry);
      addHeld(purge.held, held);
      if (isSettled(purge)) for (const wake of purge.watchers) wake();
    },
    state(seq) {
      const purge = purges.get(seq);
      if (purge === undefined) return undefined;
      const { entries, held } = purge;
      const byNode = Map.groupBy(entries.values(), ({ node }) => node);
      return { nodes: [...byNode.values()].map(sumOf), isSettled: isSettled(purge), held };
    },
    async settled(seq, waitMs) {
      const purge = purges.get(seq);
      if (purge === undefined || isSettled(purge)) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const cancel = clock.after(waitMs, resolve);
      purge.watchers.add(resolve);
      await promise;
      cancel();
      purge.watchers.delete(resolve);
    },
    close() {
      for (const { watchers } of purges.values()) for (const wake of watchers) wake();
    },
  };
}

function keyOf({ introduction }: IntroducedConnection): string {
  return `${introduction.node}\0${introduction.process}`;
}

function emptyEntry({ introduction: { node, site } }: IntroducedConnection): Entry {
  return { node, site, report: undefined, tookMs: 0 };
}

function isSettled({ entries }: Tracked): boolean {
  return [...entries.values()].every(({ report }) => report !== undefined);
}

function sumOf(processes: readonly Entry[]): NodePurge {
  const { node = "", site = "" } = processes[0] ?? {};
  const reports = processes.flatMap(({ report }) => report ?? []);
  const isDone = reports.length === processes.length;
  const sum = (of: (report: (typeof reports)[number]) => number): number =>
    reports.reduce((total, report) => total + of(report), 0);
  const tier = (name: "memory" | "disk"): Held => ({
    entries: sum((report) => report[name].entries),
    bytes: sum((report) => report[name].bytes),
  });
  return {
    node,
    site,
    state: isDone ? "done" : "waiting",
    ...(isDone ? { tookMs: Math.max(...processes.map(({ tookMs }) => tookMs)) } : {}),
    memory: tier("memory"),
    disk: tier("disk"),
    records: sum(({ records }) => records),
    isComplete: reports.every(({ isComplete }) => isComplete),
  };
}
