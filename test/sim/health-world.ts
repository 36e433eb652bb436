/**
 * A world for health, from one seed: nodes that each run the real prober, a network that delays, loses and cuts, clocks
 * that run apart, and faults. Time is virtual; every event is in one queue.
 *
 *   prober of a ──attempt──▶ packet ─(delay, loss, cut)─▶ node b: off, refusing, frozen, slow, or answers
 *        ▲                                                            │
 *        └───────────────── answer ◀─(delay, loss, cut)───────────────┘
 *
 * Packets that are lost are not sent again: TCP would, so 30 % of them lost each way here is worse than there. Half of
 * the attempts fail then.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { type Random, seededRandom } from "#base/random.ts";
import type { Fleet } from "#document/document.ts";
import type { HealthAnswer, ProbeResult } from "#health/health.ts";
import { openProber, type Prober } from "#health/prober.ts";

type Life = "ready" | "draining" | "starting" | "refusing" | "off";

/** One node's machine, and the process on it. */
export interface Machine {
  readonly name: string;
  readonly site: string;
  life: Life;
  /** Until then nothing happens in it: neither timers nor packets; virtual time. */
  frozenUntilMs: number;
  /** How long it takes to answer. */
  slowMs: number;
  /** It says nothing of itself or others, as older releases do. */
  isSilent: boolean;
  /** Absent while its process does not run. */
  prober: Prober | undefined;
  isJudged: boolean;
}

export interface World {
  readonly random: Random;
  readonly machines: readonly Machine[];
  nowMs: () => number;
  /** Part of the packets that are lost on their way. */
  setLoss: (part: number, from?: number, to?: number) => void;
  /** Nothing passes in this direction. */
  setCut: (from: number, to: number, isCut: boolean) => void;
  /** No connection is opened in this direction, as by a firewall; what is sent over others passes. */
  setBlocked: (from: number, to: number, isBlocked: boolean) => void;
  /** Whether attempts of one machine can reach the other, loss aside. */
  isOpen: (from: number, to: number) => boolean;
  /** Whether packets are lost between the two. */
  isLossy: (one: number, other: number) => boolean;
  heal: () => void;
  start: (at: number) => void;
  /** The process ends: `refusing` when its machine says so, `off` when all is silent. */
  kill: (at: number, life: "refusing" | "off") => void;
  /** Has `action` done after so long. */
  after: (delayMs: number, action: () => void) => void;
  /** Lets time pass. */
  run: (untilMs: number) => Promise<void>;
}

interface Event {
  dueMs: number;
  order: number;
  /** Whose process it happens in; -1: nobody's. */
  at: number;
  action: () => void;
}

export function openWorld(seed: number, fleet: Fleet): World {
  const random = seededRandom(seed);
  const nodes = fleet.sites.flatMap((site) => site.nodes.map((node) => ({ name: node.name, site: site.name })));
  const count = nodes.length;
  const table = <Value>(of: (from: number, to: number) => Value): Value[][] =>
    nodes.map((_, from) => nodes.map((__, to) => of(from, to)));
  const places = nodes.map(() => [random(), random()] as const);
  const delaysMs = table((from, to) => {
    const [a, b] = [places[from] ?? [0, 0], places[to] ?? [0, 0]];
    return 1 + 80 * Math.hypot(a[0] - b[0], a[1] - b[1]);
  });
  const loss = table(() => 0);
  const cut = table(() => false);
  const blocked = table(() => false);
  const machines = nodes.map(({ name, site }): Machine => ({
    name,
    site,
    life: "off",
    frozenUntilMs: 0,
    slowMs: 0,
    isSilent: false,
    prober: undefined,
    isJudged: false,
  }));
  const indexOf = new Map(nodes.map(({ name }, index) => [name, index]));
  const queue = openQueue();
  let nowMs = 0;
  /** Whether a prober has an answer that it has not looked at yet. */
  let isAnswered = false;

  const at = (index: number): Machine => machines[index] as Machine;
  const push = (inMs: number, where: number, action: () => void): Event => queue.push(nowMs + inMs, where, action);
  const cell = <Value>(rows: readonly (readonly Value[])[], from: number, to: number): Value =>
    rows[from]?.[to] as Value;

  /** Each process has its own idea of time: monotonic clocks run up to 1 % apart, wall clocks are hours off. */
  function clockOf(index: number): Clock {
    const rate = 0.99 + 0.02 * random();
    const wallMs = Date.UTC(2026, 0, 1) + (random() - 0.5) * 7_200_000;
    const startMs = nowMs;
    const after = (inMs: number, action: () => void): Cancel => {
      const { prober } = at(index);
      let isCancelled = false;
      push(inMs / rate, index, () => {
        // Timers end with their process.
        if (!isCancelled && at(index).prober === prober) action();
      });
      return () => {
        isCancelled = true;
      };
    };
    return {
      monotonicMs: () => (nowMs - startMs) * rate,
      wallMs: () => wallMs + nowMs * rate,
      after,
      every: () => () => undefined,
    };
  }

  function passes(from: number, to: number): boolean {
    return !cell(cut, from, to) && random() >= cell(loss, from, to);
  }

  /** A little of the delay is chance. */
  function delayMs(from: number, to: number): number {
    return cell(delaysMs, from, to) * (1 + 0.2 * random());
  }

  function attempt(from: number, to: number, timeoutMs: number): Promise<ProbeResult> {
    const { promise, resolve } = Promise.withResolvers<ProbeResult>();
    let isOver = false;
    const end = (result: ProbeResult): void => {
      if (isOver) return;
      isOver = true;
      isAnswered = true;
      resolve(result);
    };
    push(timeoutMs, from, () => {
      end({ outcome: "failed", reason: "timeout" });
    });
    const answer = (result: ProbeResult): void => {
      if (!passes(to, from)) return;
      push(delayMs(to, from), from, () => {
        end(result);
      });
    };
    if (cell(blocked, from, to) || !passes(from, to)) return promise;
    push(delayMs(from, to), to, () => {
      const machine = at(to);
      if (machine.life === "off") return;
      if (machine.life === "refusing") {
        answer({ outcome: "failed", reason: "connection refused" });
        return;
      }
      const { prober } = machine;
      push(machine.slowMs, to, () => {
        if (machine.prober === prober) answer(answerOf(machine));
      });
    });
    return promise;
  }

  function answerOf({ life, prober, isSilent }: Machine): ProbeResult {
    if (life !== "ready" && life !== "draining") return { outcome: "failed", reason: "status 503" };
    const answer: HealthAnswer | undefined = isSilent ? undefined : prober?.view();
    return { outcome: life, ...(answer === undefined ? {} : { answer }) };
  }

  function start(index: number): void {
    const machine = at(index);
    machine.isJudged = false;
    const clock = clockOf(index);
    const prober = openProber({
      self: machine.name,
      presence: () => (machine.life === "draining" ? "draining" : "ready"),
      answer: () => ({}),
      probe: (node, timeoutMs) => attempt(index, indexOf.get(node.name) ?? -1, timeoutMs),
      changed: () => undefined,
      judgedRound: () => undefined,
      clock,
      random,
      log: silentLog,
    });
    machine.prober = prober;
    machine.life = "ready";
    prober.watch(fleet);
    const judged = (): void => {
      if (machine.prober === prober) machine.isJudged = true;
    };
    void prober.judged().then(judged);
  }

  return {
    random,
    machines,
    nowMs: () => nowMs,
    setLoss(part, from, to) {
      for (const [a, row] of loss.entries()) {
        for (let b = 0; b < count; b++) {
          if ((from === undefined || from === a) && (to === undefined || to === b)) row[b] = part;
        }
      }
    },
    setCut(from, to, isCut) {
      (cut[from] ?? [])[to] = isCut;
    },
    setBlocked(from, to, isBlocked) {
      (blocked[from] ?? [])[to] = isBlocked;
    },
    isOpen: (from, to) => !cell(cut, from, to) && !cell(cut, to, from) && !cell(blocked, from, to),
    isLossy: (one, other) => cell(loss, one, other) > 0 || cell(loss, other, one) > 0,
    heal() {
      for (const rows of [cut, blocked]) for (const row of rows) row.fill(false);
      for (const row of loss) row.fill(0);
      for (const machine of machines) machine.slowMs = 0;
    },
    start,
    kill(index, life) {
      const machine = at(index);
      machine.prober?.close();
      machine.prober = undefined;
      machine.isJudged = false;
      machine.frozenUntilMs = 0;
      machine.life = life;
    },
    after(inMs, action) {
      push(inMs, -1, action);
    },
    async run(untilMs) {
      for (let next = queue.peek(); next !== undefined && next.dueMs <= untilMs; next = queue.peek()) {
        queue.pop();
        nowMs = Math.max(nowMs, next.dueMs);
        const frozenUntilMs = machines[next.at]?.frozenUntilMs ?? 0;
        if (frozenUntilMs > nowMs) {
          queue.push(frozenUntilMs, next.at, next.action);
          continue;
        }
        next.action();
        if (!isAnswered) continue;
        // Who waits for it goes on before the next event.
        isAnswered = false;
        await Promise.resolve();
      }
      nowMs = untilMs;
    },
  };
}

/** A binary heap of events; of the same moment, the one that was pushed first. */
function openQueue() {
  const heap: Event[] = [];
  let order = 0;
  const isBefore = (a: Event, b: Event): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
  return {
    peek: (): Event | undefined => heap[0],
    push(dueMs: number, at: number, action: () => void): Event {
      const event: Event = { dueMs, order: order++, at, action };
      let place = heap.length;
      while (place > 0) {
        const above = (place - 1) >> 1;
        const parent = heap[above] as Event;
        if (isBefore(parent, event)) break;
        heap[place] = parent;
        place = above;
      }
      heap[place] = event;
      return event;
    },
    pop(): void {
      const last = heap.pop();
      if (last === undefined || heap.length === 0) return;
      let place = 0;
      for (;;) {
        let child = 2 * place + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child += 1;
        if (isBefore(last, heap[child] as Event)) break;
        heap[place] = heap[child] as Event;
        place = child;
      }
      heap[place] = last;
    },
  };
}
