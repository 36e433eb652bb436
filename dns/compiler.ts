/**
 * The main thread's side of the compiler: inputs go to its thread, snapshots come back.
 *
 *   compile(inputs) ──▶ compiler-thread.ts: zones, geo data, steering ──▶ onSnapshot(snapshot)
 *
 * Compiling takes milliseconds for a change of health and up to seconds for millions of records. Neither answers nor
 * pictures wait for it: the previous snapshot stays in force. If several inputs are waiting, only the last is compiled.
 * The thread owns the geo files and makes a new snapshot by itself when one of them changes.
 *
 * If the thread dies (it could run out of memory), it is started again with the last inputs.
 */
import { Worker } from "node:worker_threads";
import type { Cancel, Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import type { Fleet } from "#document/document.ts";
import type { SiteStates } from "#health/health.ts";
import type { GeoSettings } from "./geo/database.ts";
import type { Snapshot } from "./snapshot.ts";

export interface CompilerInputs {
  readonly fleet: Fleet;
  /** The fleet document's version: the serial of each zone. */
  readonly version: number;
  readonly siteStates: SiteStates;
  /** The kept share of each site, 0 to 1. A site that is not named keeps all of its clients. */
  readonly keptShares: ReadonlyMap<string, number>;
}

/**
 * A message to the thread. The document is sent only when it has changed, and its packed zones only when its text has:
 * documents that differ only in their live addresses share them.
 */
export type ToCompiler = Omit<CompilerInputs, "fleet"> & {
  readonly order: number;
  readonly fleet?: Omit<Fleet, "packedZones">;
  /** Null: the document's own `zones` are complete. */
  readonly packedZones?: SharedArrayBuffer | null;
};

/** A message from the thread. `order` is the number of the newest inputs that it includes. */
export type FromCompiler =
  | { readonly kind: "ready" }
  | {
      readonly kind: "snapshot";
      readonly order: number;
      readonly snapshot: Snapshot;
      readonly problems: readonly string[];
    }
  | { readonly kind: "failed"; readonly order: number; readonly reason: string }
  | {
      readonly kind: "log";
      readonly level: "info" | "warn";
      readonly message: string;
      readonly details: Readonly<Record<string, unknown>>;
    };

export interface CompilerSettings {
  /** Name of the site that answers, for the policy `local`. */
  readonly site: string;
  readonly geo: GeoSettings;
  /** How often the geo files are checked. A changed file is read once it has stayed the same for this long. */
  readonly geoCheckMs: number;
}

export interface Compiler {
  /**
   * Resolves when a snapshot of these inputs, or of newer ones, has been handed to onSnapshot.
   * @throws NearcastError INTERNAL when they can't be compiled; the previous snapshot stays in force
   */
  compile: (inputs: CompilerInputs) => Promise<void>;
  close: () => Promise<void>;
}

export interface CompilerDeps {
  readonly settings: CompilerSettings;
  /** Called for each new snapshot with the inputs that it was compiled from. */
  readonly onSnapshot: (snapshot: Snapshot, inputs: CompilerInputs) => void;
  readonly clock: Clock;
  readonly log: Log;
}

const restartDelayMs = { min: 1000, max: 30_000 } as const;

interface Waiting {
  readonly order: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Starts the thread, which first loads the geo data, for seconds. Inputs that arrive earlier wait in its port. */
export function openCompiler(deps: CompilerDeps): Compiler {
  const { settings, onSnapshot, clock, log } = deps;
  let thread: Worker;
  let order = 0;
  let latest: CompilerInputs | undefined;
  /** By order, starting with the one in force. */
  const sent = new Map<number, CompilerInputs>();
  /** The document and the packed zones that the current thread has. */
  let sentFleet: Fleet | undefined;
  let sentZones: SharedArrayBuffer | null = null;
  let waiting: Waiting[] = [];
  let isClosed = false;
  let restartMs: number = restartDelayMs.min;
  let cancelRestart: Cancel | undefined;

  function send(inputs: CompilerInputs): void {
    const { fleet, version, siteStates, keptShares } = inputs;
    const { packedZones = null, ...outline } = fleet;
    const message: ToCompiler = {
      order,
      version,
      siteStates,
      keptShares,
      ...(fleet === sentFleet ? {} : { fleet: outline }),
      ...(packedZones === sentZones ? {} : { packedZones }),
    };
    sentFleet = fleet;
    sentZones = packedZones;
    sent.set(order, inputs);
    thread.postMessage(message);
  }

  function settle(upTo: number, error?: Error): void {
    for (const old of sent.keys()) if (old < upTo) sent.delete(old);
    const done = waiting.filter((one) => one.order <= upTo);
    waiting = waiting.filter((one) => one.order > upTo);
    for (const { resolve, reject } of done) {
      if (error === undefined) resolve();
      else reject(error);
    }
  }

  function take(message: FromCompiler): void {
    switch (message.kind) {
      case "ready":
        restartMs = restartDelayMs.min;
        return;
      case "snapshot": {
        const inputs = sent.get(message.order);
        if (inputs === undefined) return;
        if (message.problems.length > 0) {
          log.warn(
            { version: message.snapshot.version, problems: message.problems },
            "parts of the zones have problems and are not served",
          );
        }
        onSnapshot(message.snapshot, inputs);
        settle(message.order);
        return;
      }
      case "failed": {
        const failure = `zones and steering could not be compiled: ${message.reason}`;
        // The thread also compiles by itself, when a geo file has changed; then no caller learns of the failure.
        if (!waiting.some((one) => one.order <= message.order)) log.error({ failure }, "DNS keeps answering as before");
        settle(message.order, new NearcastError("INTERNAL", failure));
        return;
      }
      case "log":
        log[message.level](message.details, message.message);
    }
  }

  function start(): Worker {
    const started = new Worker(new URL("./compiler-thread.ts", import.meta.url), { workerData: settings });
    sentFleet = undefined;
    sentZones = null;
    started.on("message", take);
    started.on("error", (error: Error) => {
      log.error({ error }, "the compiler thread failed; it is started again");
    });
    started.on("exit", () => {
      if (isClosed) return;
      cancelRestart = clock.after(restartMs, restart);
      restartMs = Math.min(2 * restartMs, restartDelayMs.max);
    });
    return started;
  }

  function restart(): void {
    thread = start();
    if (latest !== undefined) send(latest);
  }

  thread = start();
  return {
    compile(inputs) {
      latest = inputs;
      order++;
      send(inputs);
      return new Promise((resolve, reject) => waiting.push({ order, resolve, reject }));
    },
    async close() {
      isClosed = true;
      cancelRestart?.();
      settle(order, new NearcastError("NOT_READY", "DNS is stopped"));
      await thread.terminate();
    },
  };
}
