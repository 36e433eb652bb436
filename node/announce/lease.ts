/**
 * The lease of the anycast prefixes, seen from the main thread: whether this node may announce them, and why.
 *
 *   self-check, each second ─▶ damping ─▶ may it? ──order──▶ lease-worker.ts ──BGP──▶ BIRD ──▶ routers
 *   roster, SIGTERM ─▶ drain ──────────────┘    ──beat───▶
 *
 * What takes the announcement back, and how soon:
 *
 *   the process is killed, or exits       the kernel closes the connection, after it has freed the memory: some
 *                                         milliseconds, and 0.1 to 0.3 s for each GB in pages of 4 KiB
 *   the main thread is blocked            the worker sees no heartbeat for 250 ms
 *   the worker dies                       its sockets are closed with it: at once
 *   the whole process is frozen           BIRD's hold time, 3 s
 *   own answers are wrong                 1 to 2.5 s (damping.ts), if another site is well
 *   drain()                               GRACEFUL_SHUTDOWN at once, withdrawn after `shutdownMs`
 *
 * The first four are deaths: a dead node falls silent by itself and asks nobody; but a node that knows of no other that
 * announces the same is not withdrawn for a blocked main thread, nor at the end of a drain: its threads still answer
 * names, and packets to it have nowhere else to go. Wrong answers are an illness, and a
 * check can be wrong itself: before it falls the node asks (`mayFall`) whether another site that announces the same is
 * well, over unicast. If none is, or nobody can be asked, it stays: a client that is served badly is better off than
 * one whose packets have nowhere to go. For the same reason a node that fell, and is right again, does not wait out
 * its back-off while no other site is well.
 */
import { isDeepStrictEqual } from "node:util";
import { Worker } from "node:worker_threads";
import { type Cancel, type Clock, sleep } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { addressAfter } from "#base/ip-text.ts";
import { aloneSlot, beatMs, beatSlot, sharedSlots } from "./beat.ts";
import { addressText, parseAddress, parsePrefix } from "./bgp/prefix.ts";
import { checked, type DampingSettings, fall, firstDamping, isWrong, rise, usualDamping } from "./damping.ts";
import type { FromLeaseWorker, LeaseOrder, LeaseWord, LeaseWorkerStart } from "./lease-worker.ts";
import { withoutNextHop } from "./routes.ts";
import type { SelfCheck } from "./self-check.ts";
import type { SessionState } from "./session.ts";

export interface LeaseState {
  readonly session: SessionState;
  /** The prefixes that BIRD has from us at this moment. */
  readonly announced: readonly string[];
  /** From drain() until undrain(). */
  readonly isShuttingDown: boolean;
  /** Why it is as it is, a sentence for people. */
  readonly reason: string;
  /** Since when this reason holds, in ms since 1970. */
  readonly sinceMs: number;
  /** How often it had to take back its announcement since the start; drains don't count. */
  readonly falls: number;
  /** The last NOTIFICATION and who sent it, such as `BIRD said 2/2 bad peer AS`. */
  readonly lastNotification: string | null;
}

/** The `announce` part of an edge's configuration. */
export interface LeaseSettings {
  readonly neighbor: { readonly host: string; readonly port: number };
  readonly source: string;
  readonly holdSeconds: number;
  readonly nextHops: readonly string[];
  /** Of the session's TCP MD5 key; absent: any user of this machine could take the lease. */
  readonly keyFile?: string;
  readonly shutdownMs: number;
}

export interface LeaseOptions {
  readonly announce: LeaseSettings;
  /** 0 for the first (or only) process of this machine; the session comes from `announce.source` plus this. */
  readonly processIndex: number;
  /** The fleet's AS number; undefined: nothing can be announced. */
  readonly as: number | undefined;
  readonly prefixes: readonly string[];
  readonly selfCheck: () => Promise<SelfCheck>;
  /** Whether another site announces these prefixes and is well, asked over unicast. A failure counts as no. */
  readonly mayFall: (prefixes: readonly string[]) => Promise<boolean> | boolean;
  /** Whether, as far as is known without asking, no other node announces these prefixes. Asked twice a second. */
  readonly isAlone: (prefixes: readonly string[]) => boolean;
  /** Called after each change of the state; for the first time before openLease returns. */
  readonly changed?: (state: LeaseState) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Other than the usual figures, such as a shorter `upMs`. */
  readonly damping?: Partial<DampingSettings>;
}

export interface Lease {
  readonly state: () => LeaseState;
  readonly setPrefixes: (prefixes: readonly string[], as: number | undefined) => void;
  /**
   * GRACEFUL_SHUTDOWN (RFC 8326) for `shutdownMs`, then the withdrawal; resolves after it, at once when nothing is
   * announced. Who is alone stays announced so until another announces, or until close(); this resolves all the same.
   */
  readonly drain: () => Promise<void>;
  /** Announces again as soon as its answers have been right for long enough, which they may be already. */
  readonly undrain: () => void;
  /** Ends the wait of drain(). */
  readonly hurry: () => void;
  /** Ends the session (NOTIFICATION 6/2), which withdraws everything, and the thread. */
  readonly close: () => Promise<void>;
}

/** From the start of one check to the start of the next; how much that is spread, so that processes are not in step. */
const checkMs = { right: 1000, wrong: 500, spread: 0.1 } as const;
/** A check that has not ended by then is wrong, whatever it waits for. */
const checkMsMost = 900;
const aloneEveryBeats = 10;
/** How long the others may take to say whether they are well. */
const askMsMost = 500;
/** A thread that dies is started again after so long; doubled each time. */
const restartMs = { first: 1000, most: 30_000 } as const;
/** How long the withdrawal, and the thread's own end, may take. */
const goodbyeMs = 1000;

const silent: LeaseWord = {
  session: "idle",
  announced: [],
  reason: "",
  lastNotification: null,
  families: [],
  isStalled: false,
};

/** @throws NearcastError CANNOT_LISTEN when `announce.source` can't be the source of a session */
export function openLease(options: LeaseOptions): Lease {
  const { announce, processIndex, selfCheck, mayFall, isAlone, changed, clock, random, log } = options;
  const dampingSettings = { ...usualDamping, ...options.damping };
  const sourceOctets = sourceOf(announce.source, processIndex);
  const source = addressText(sourceOctets);
  // The BGP identifier (RFC 4271 §4.2): BIRD's is its router id, a public address, so they never are the same.
  const identifier = sourceOctets.readUInt32BE(sourceOctets.length - 4);
  const beat = new Int32Array(new SharedArrayBuffer(sharedSlots * Int32Array.BYTES_PER_ELEMENT));

  let wanted = { prefixes: options.prefixes, as: options.as };
  let damping = firstDamping(dampingSettings);
  let phase: "serving" | "shutting-down" | "withdrawn" = "serving";
  /** The reason of the last check, when it was wrong. */
  let wrong: string | undefined;
  let fellBecause: string | undefined;
  let isKept = false;
  let hurried = new AbortController();
  let draining: Promise<void> | undefined;
  /** Drained, and still announced, being alone. */
  let isStaying = false;
  let isClosed = false;

  let worker: Worker | undefined;
  let word = silent;
  let lastTrouble = "";
  let stalls = 0;
  let restartAfterMs: number = restartMs.first;
  let cancelRestart: Cancel | undefined;
  let cancelLook: Cancel | undefined;
  let lastOrder: LeaseOrder | undefined;

  let state: LeaseState = {
    session: "idle",
    announced: [],
    isShuttingDown: false,
    reason: "starting",
    sinceMs: clock.wallMs(),
    falls: 0,
    lastNotification: null,
  };
  const waiting = new Set<() => void>();

  /** Orders what follows from everything that is known, and tells what has changed. */
  function settle(): void {
    if (isClosed) return;
    const isOn = damping.isUp && phase !== "withdrawn";
    const { prefixes, as } = wanted;
    const order: LeaseOrder = {
      kind: "order",
      stalls,
      session: as === undefined || prefixes.length === 0 ? null : { as, identifier, holdSeconds: announce.holdSeconds },
      wanted: {
        prefixes: isOn ? prefixes : [],
        nextHops: announce.nextHops,
        isShuttingDown: phase === "shutting-down",
      },
    };
    // Without a thread nobody is ordered; the next one is told when it starts.
    if (worker !== undefined && !isDeepStrictEqual(order, lastOrder)) {
      lastOrder = order;
      worker.postMessage(order);
    }
    show();
  }

  function show(): void {
    const reason = reasonNow();
    const next: LeaseState = {
      session: word.session,
      announced: word.announced,
      isShuttingDown: phase !== "serving",
      reason,
      sinceMs: reason === state.reason ? state.sinceMs : clock.wallMs(),
      falls: damping.falls,
      lastNotification: word.lastNotification,
    };
    if (isDeepStrictEqual(next, state)) return;
    const before = state.announced;
    state = next;
    tellLog(before, next);
    for (const wake of waiting) wake();
    changed?.(next);
  }

  function reasonNow(): string {
    const { prefixes, as } = wanted;
    if (isClosed) return "closed";
    if (prefixes.length === 0) return "the fleet document gives this site nothing to announce";
    if (as === undefined) return "the fleet document has no AS number";
    if (phase === "withdrawn") return "drained";
    if (!damping.isUp) return reasonDown();
    if (word.isStalled) return "withdrawn: the main thread stood still";
    if (word.session !== "established") return `no session with BIRD${word.reason === "" ? "" : `: ${word.reason}`}`;
    if (isStaying) return "drained, but no other node announces the same: it stays, with GRACEFUL_SHUTDOWN";
    if (phase === "shutting-down") return "draining: announced with GRACEFUL_SHUTDOWN";
    if (isKept) return `last healthy site: stays announced although ${wrong ?? "its answers were wrong"}`;
    const left = prefixes.filter((prefix) => !word.announced.includes(prefix));
    if (left.length === 0) return "announced: its own answers are right";
    const isHopless = withoutNextHop(left, announce.nextHops).length > 0;
    const isUnheard = left.some((prefix) => !word.families.includes(parsePrefix(prefix)?.family ?? 4));
    if (!isHopless && !isUnheard) return "is being announced";
    const why = isHopless ? "`nextHops` has no address of that family" : "BIRD has no channel of that family";
    return `${left.length < prefixes.length ? "announced, but not" : "can't announce"} ${left.join(", ")}: ${why}`;
  }

  function reasonDown(): string {
    const fell = fellBecause === undefined ? "" : `fell (${fellBecause}); `;
    if (wrong !== undefined) return `${fell}not announced: ${wrong}`;
    const seconds = Math.ceil(damping.needsMs / 1000);
    return `${fell}waits until its own answers were right for ${seconds} s`;
  }

  function tellLog(before: readonly string[], { announced, reason }: LeaseState): void {
    if (isDeepStrictEqual(before, announced)) return;
    if (announced.length > 0) log.info({ announced }, "the anycast prefixes are announced");
    else log.warn({ withdrawn: before, reason }, "the anycast prefixes are withdrawn");
  }

  /** Takes what the thread knows of BIRD; of the same trouble the log hears once. */
  function hear(next: LeaseWord): void {
    const wasEstablished = word.session === "established";
    word = next;
    if (next.session === "established") {
      restartAfterMs = restartMs.first;
      lastTrouble = "";
      if (!wasEstablished) log.info({ source }, "BIRD hears this node");
    } else if (next.session === "connecting" && next.reason !== lastTrouble) {
      lastTrouble = next.reason;
      const message = wasEstablished ? "the session with BIRD has ended" : "there is no session with BIRD";
      log.warn({ reason: next.reason }, message);
    }
    show();
  }

  function down(reason: string, stalledForMs: number | null): void {
    if (!damping.isUp) return;
    damping = fall(damping, stalledForMs, clock.monotonicMs(), dampingSettings);
    fellBecause = reason;
    isKept = false;
    log.warn({ reason, needsMs: damping.needsMs, strikes: damping.strikes }, "the lease of the anycast prefixes fell");
  }

  /** One check, and what follows from it. */
  async function look(): Promise<void> {
    const { prefixes } = wanted;
    const late = { ok: false, reason: "the self-check gave no result" } as const;
    const result = await inTime<SelfCheck>(checkMsMost, selfCheck, late);
    if (isClosed) return;
    damping = checked(damping, result.ok, clock.monotonicMs());
    wrong = result.ok ? undefined : result.reason;
    if (result.ok) isKept = false;
    const isIll = damping.isUp && isWrong(damping, dampingSettings);
    const isBack = !damping.isUp && result.ok && damping.falls > 0;
    // Where nothing is announced there is nothing to ask about.
    if (isIll && phase === "withdrawn") down(wrong ?? "", null);
    else if (isIll || isBack) {
      const hasOthers = await inTime(askMsMost, () => mayFall(prefixes), false);
      // A stall, or another document that the answer is not for, may have come meanwhile.
      const isAnswer = prefixes === wanted.prefixes;
      if (isIll && isAnswer && hasOthers) down(wrong ?? "", null);
      else if (isIll && isAnswer && damping.isUp) keep();
      else if (isBack && isAnswer && !hasOthers && damping.rights > 0) damping = rise(damping, clock.monotonicMs());
    }
    settle();
  }

  function keep(): void {
    if (!isKept)
      log.warn({ reason: wrong }, "its own answers are wrong, but no other site is well: it stays announced");
    isKept = true;
  }

  /** The work's result, or `otherwise` when it fails or takes longer. */
  async function inTime<Result>(
    limitMs: number,
    work: () => Promise<Result> | Result,
    otherwise: Result,
  ): Promise<Result> {
    const over = new AbortController();
    const late = sleep(clock, limitMs, over.signal).then(() => otherwise);
    late.catch(() => undefined); // aborted: the work was there in time
    try {
      return await Promise.race([work(), late]);
    } catch (error) {
      log.error({ err: error }, "a question of the lease failed");
      return otherwise;
    } finally {
      over.abort(new Error("over"));
    }
  }

  /** Looks now, and again and again until the lease is closed. */
  async function lookOn(): Promise<void> {
    const startedMs = clock.monotonicMs();
    if (wanted.prefixes.length > 0) await look();
    if (isClosed) return;
    const least = wrong === undefined ? checkMs.right : checkMs.wrong;
    const everyMs = least * (1 + checkMs.spread * (random() - 0.5));
    cancelLook = clock.after(Math.max(everyMs - (clock.monotonicMs() - startedMs), 10), () => {
      void lookOn();
    });
  }

  function startWorker(): void {
    const workerData: LeaseWorkerStart = { peer: announce.neighbor, source, keyFile: announce.keyFile, beat };
    const mine = new Worker(new URL("./lease-worker.ts", import.meta.url), {
      workerData,
      // Its work is a socket and a timer; a little heap keeps collections short.
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
    });
    worker = mine;
    mine.unref();
    stalls = 0;
    mine.on("message", (message: FromLeaseWorker) => {
      if (message.kind === "told") {
        hear(message.word);
        return;
      }
      ({ stalls } = message);
      down(`the main thread stood still for ${message.forMs} ms`, message.forMs);
      settle();
    });
    mine.on("error", (error: Error) => {
      log.error({ err: error }, "the thread that holds the lease failed");
    });
    mine.on("exit", () => {
      word = silent;
      worker = undefined;
      lastOrder = undefined;
      show();
      if (isClosed) return;
      down("the thread that holds the lease died", null);
      settle();
      cancelRestart = clock.after(restartAfterMs, startWorker);
      restartAfterMs = Math.min(2 * restartAfterMs, restartMs.most);
    });
    settle();
  }

  /** Resolves when nothing is announced any more, or when that takes too long. */
  async function withdrawn(): Promise<void> {
    let wake = (): void => undefined;
    const gone = new Promise<void>((resolve) => {
      wake = () => {
        if (state.announced.length === 0) resolve();
      };
    });
    waiting.add(wake);
    wake();
    await inTime(goodbyeMs, () => gone, undefined);
    waiting.delete(wake);
  }

  async function shutDown(signal: AbortSignal): Promise<void> {
    phase = state.announced.length > 0 ? "shutting-down" : "withdrawn";
    settle();
    if (phase === "withdrawn") return;
    await sleep(clock, announce.shutdownMs, signal).catch(() => undefined); // hurried: go on at once
    // Taken back meanwhile: undrain() has said what holds now.
    if (signal.reason === takenBack) return;
    if (isAlone(wanted.prefixes)) {
      log.warn({}, "no other node announces the anycast prefixes: they stay announced with GRACEFUL_SHUTDOWN");
      isStaying = true;
      return;
    }
    await withdraw();
  }

  async function withdraw(): Promise<void> {
    isStaying = false;
    phase = "withdrawn";
    settle();
    await withdrawn();
  }

  const stopBeat = clock.every(beatMs, () => {
    const beats = Atomics.add(beat, beatSlot, 1);
    if (beats % aloneEveryBeats !== 0) return;
    const alone = isAlone(wanted.prefixes);
    Atomics.store(beat, aloneSlot, Number(alone));
    if (isStaying && !alone) void withdraw();
  });
  startWorker();
  void lookOn();

  return {
    state: () => state,
    setPrefixes(prefixes, as) {
      if (isDeepStrictEqual(wanted, { prefixes, as })) return;
      // Who has nothing to announce is not checked, so what was known is not known any more.
      if (prefixes.length === 0) {
        damping = firstDamping(dampingSettings);
        wrong = undefined;
        fellBecause = undefined;
        isKept = false;
      }
      wanted = { prefixes: [...prefixes], as };
      settle();
    },
    drain: () => (draining ??= shutDown(hurried.signal)),
    undrain() {
      if (draining === undefined) return;
      hurried.abort(takenBack);
      hurried = new AbortController();
      draining = undefined;
      isStaying = false;
      phase = "serving";
      settle();
    },
    hurry() {
      hurried.abort(new Error("hurried"));
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      hurried.abort(new Error("closed"));
      cancelLook?.();
      cancelRestart?.();
      stopBeat();
      const last = worker;
      if (last !== undefined) {
        const ended = new Promise<void>((resolve) => {
          last.once("exit", () => {
            resolve();
          });
        });
        last.postMessage({ kind: "close" } satisfies LeaseOrder);
        await inTime(goodbyeMs, () => ended, undefined);
        await last.terminate();
      }
      show();
    },
  };
}

const takenBack = new Error("taken back");

function sourceOf(source: string, processIndex: number): Buffer {
  const octets = parseAddress(source) && parseAddress(addressAfter(source, processIndex));
  if (octets === undefined) throw new NearcastError("CANNOT_LISTEN", `announce.source: ${source} is no plain address`);
  return Buffer.from(octets);
}
