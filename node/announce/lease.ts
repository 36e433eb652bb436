/**
 * The main thread's side of the lease: decides whether this node may announce the anycast prefixes, and why.
 *
 *   self-check, each second ─▶ damping ─▶ may it? ──order──▶ lease-worker.ts ──BGP──▶ BIRD ──▶ routers
 *   roster, SIGTERM ─▶ drain ──────────────┘    ──beat───▶
 *
 * What withdraws the announcement, and how soon:
 *
 *   the process is killed, or exits       the kernel closes the connection, after it has freed the memory: some
 *                                         milliseconds, and 0.1 to 0.3 s for each GB in pages of 4 KiB
 *   the main thread is blocked            the worker sees no heartbeat for 250 ms
 *   the worker dies                       its sockets close with it: at once
 *   the whole process is frozen           BIRD's hold time, 3 s
 *   own answers are wrong                 1 to 2.5 s (damping.ts), if another site is well
 *   drain()                               GRACEFUL_SHUTDOWN at once, withdrawn after `shutdownMs`
 *
 * In the first four cases the node withdraws without asking anyone. A node that knows of no other announcer stays
 * announced while its main thread is blocked, and after a drain: its DNS threads still answer, and its packets have
 * nowhere else to go. When its answers are wrong, the check itself may be at fault. So the node first asks over unicast
 * (`mayFall`) whether another site that announces the same prefixes is healthy. If none is, or none can be asked, the
 * announcement stays: bad service is better than none. For the same reason a node whose answers are correct again skips
 * its back-off while no other site is healthy.
 *
 * The state is one record, `Holding`. Events change its facts and call settle(), which gives orders and reports what
 * follows (lease-holding.ts, lease-state.ts). The checks are in lease-checks.ts, drains in lease-drain.ts, the thread's
 * other end in lease-thread.ts.
 */
import { isDeepStrictEqual } from "node:util";
import { firstDamping } from "./damping.ts";
import { aloneSlot, beatMs, beatSlot, silenceSlot } from "./heartbeat.ts";
import { keepChecking } from "./lease-checks.ts";
import { shutDown, undrain, withdraw } from "./lease-drain.ts";
import { type Holding, type LeaseOptions, newHolding, settle, show } from "./lease-holding.ts";
import type { LeaseState } from "./lease-state.ts";
import { endWorker, startWorker } from "./lease-thread.ts";

export interface Lease {
  readonly state: () => LeaseState;
  readonly setPrefixes: (prefixes: readonly string[], as: number | undefined) => void;
  /**
   * GRACEFUL_SHUTDOWN (RFC 8326) for `shutdownMs`, then the withdrawal; resolves after it, or at once when nothing is
   * announced. A node that is alone continues to announce with GRACEFUL_SHUTDOWN until another node announces, or until
   * close(); this still resolves.
   */
  readonly drain: () => Promise<void>;
  /** Announces again as soon as the node's answers have been correct for long enough, perhaps at once. */
  readonly undrain: () => void;
  /** Ends the wait of drain(). */
  readonly hurry: () => void;
  /** Runs work that can't be divided and takes about so long; the announcement stays meanwhile (heartbeat.ts). */
  readonly silently: (expectedMs: number, work: () => void) => void;
  /** Ends the session (NOTIFICATION 6/2), which withdraws everything, and the thread. */
  readonly close: () => Promise<void>;
}

const aloneEveryBeats = 10;

/** @throws NearcastError CANNOT_LISTEN when `announce.source` can't be the source of a session */
export function openLease(options: LeaseOptions): Lease {
  const holding = newHolding(options);
  const stopBeat = options.clock.every(beatMs, () => {
    beatOnce(holding);
  });
  startWorker(holding);
  void keepChecking(holding);
  return {
    state: () => holding.state,
    setPrefixes(prefixes, as) {
      setPrefixes(holding, prefixes, as);
    },
    drain: () => (holding.draining ??= shutDown(holding, holding.hurried.signal)),
    undrain() {
      undrain(holding);
    },
    hurry() {
      holding.hurried.abort(new Error("hurried"));
    },
    silently(expectedMs, work) {
      Atomics.store(holding.beat, silenceSlot, Math.ceil(expectedMs));
      try {
        work();
      } finally {
        // In this order: the thread must not find an old beat without the silence.
        Atomics.add(holding.beat, beatSlot, 1);
        Atomics.store(holding.beat, silenceSlot, 0);
      }
    },
    async close() {
      if (holding.facts.isClosed) return;
      holding.facts.isClosed = true;
      holding.hurried.abort(new Error("closed"));
      holding.cancelCheck?.();
      holding.cancelRestart?.();
      stopBeat();
      await endWorker(holding);
      show(holding);
    },
  };
}

/** Sends the heartbeat to the lease thread, and at times whether this node is the only announcer. */
function beatOnce(holding: Holding): void {
  const { options, facts, beat } = holding;
  const beats = Atomics.add(beat, beatSlot, 1);
  if (beats % aloneEveryBeats !== 0) return;
  const alone = options.isAlone(facts.wanted.prefixes);
  Atomics.store(beat, aloneSlot, Number(alone));
  if (facts.isStaying && !alone) void withdraw(holding);
}

function setPrefixes(holding: Holding, prefixes: readonly string[], as: number | undefined): void {
  const { facts } = holding;
  if (isDeepStrictEqual(facts.wanted, { prefixes, as })) return;
  // A node with nothing to announce is not checked, so the last result is obsolete.
  if (prefixes.length === 0) {
    facts.damping = firstDamping(holding.dampingSettings);
    facts.wrong = undefined;
    facts.fellBecause = undefined;
    facts.isKept = false;
  }
  facts.wanted = { prefixes: [...prefixes], as };
  settle(holding);
}
