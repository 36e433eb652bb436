/**
 * What is true in a world of health-world.ts, and whether what its nodes judge and answer fits it.
 *
 *   reach(a, b)      a's attempts at b pass, both processes run, and b is ready; loss does not count against it
 *   path(a, b)       reach(a, b), or a node c that speaks: reach(a, c) and reach(c, b)
 *
 * Since when each reach has held without a break, and when it last did, is written down at each change of the world;
 * the promises are held against that:
 *
 *   - no answer is empty
 *   - when each path has been broken for 3 s, in one of its steps, no answer names the node's site, nor its own address
 *   - with one path for so long that everyone had the time to judge, nobody judges the node down; paths that lose
 *     packets are left out, as nobody can promise that of chance: what it may cost is counted by the hour
 *     (health-sim.test.ts)
 */
import assert from "node:assert/strict";
import type { Fleet } from "#document/document.ts";
import type { NodeHealth, SiteStates } from "#health/health.ts";
import { planOf } from "../../dns/steer/candidates.ts";
import type { World } from "./health-world.ts";

/** The promise of the issue: a dead site is out within this. */
const outWithinMs = 3000;
/** Time to recover in: two answers of a node that was lost, and its answer. */
const settledMs = 8000;

export interface Referee {
  /** To be called after each change of the world. */
  changed: () => void;
  /** @throws AssertionError naming what is broken */
  check: () => void;
  /** Whether every judgement is the truth now; the first that is not, in answers. */
  disagreement: () => string | undefined;
}

interface Answer {
  readonly states: SiteStates;
  readonly live: Fleet;
  readonly sites: readonly string[];
}

export function openReferee(world: World, fleet: Fleet): Referee {
  const { machines } = world;
  const count = machines.length;
  const never = -1;
  const tableOf = (value: number): Float64Array => new Float64Array(count * count).fill(value);
  /** Since when a reaches b; `never` while it does not. */
  const reachSinceMs = tableOf(never);
  /** The same, without loss. */
  const clearSinceMs = tableOf(never);
  /** When a last reached b. */
  const reachedMs = tableOf(never);
  const runsSinceMs = new Float64Array(count).fill(never);
  const indexOf = new Map(machines.map(({ name }, at) => [name, at]));
  /** The nodes of each site, in the document's order. */
  const members = fleet.sites.map(({ nodes }) =>
    nodes.map(({ name, addresses }) => ({ at: indexOf.get(name) ?? -1, name, addresses })),
  );
  const answers: (Answer | undefined)[] = machines.map(() => undefined);
  const steered = fleet.steering[0];
  assert(steered !== undefined);

  const runs = (at: number): boolean => {
    const machine = machines[at];
    return machine?.life === "ready" && machine.frozenUntilMs <= world.nowMs();
  };
  const speaks = (at: number): boolean => machines[at]?.isSilent === false;

  /** Since when there is the oldest path without loss from a to b that still is; `never` without one. */
  function clearPathSinceMs(a: number, b: number): number {
    let sinceMs = clearSinceMs[a * count + b] ?? never;
    for (let c = 0; c < count; c++) {
      if (c === a || c === b || !speaks(c)) continue;
      const [first, second] = [clearSinceMs[a * count + c] ?? never, clearSinceMs[c * count + b] ?? never];
      if (first === never || second === never) continue;
      const bothMs = Math.max(first, second);
      if (sinceMs === never || bothMs < sinceMs) sinceMs = bothMs;
    }
    return sinceMs;
  }

  function changed(): void {
    const nowMs = world.nowMs();
    /** Whoever thaws answers what came before, whatever was cut off meanwhile. */
    const thaws = machines.map((_, at) => runs(at) && runsSinceMs[at] === never);
    for (let a = 0; a < count; a++) {
      if (!runs(a)) runsSinceMs[a] = never;
      else if (runsSinceMs[a] === never) runsSinceMs[a] = nowMs;
      for (let b = 0; b < count; b++) {
        const reaches = a !== b && runs(a) && runs(b) && world.isOpen(a, b);
        const cell = a * count + b;
        const isLate = thaws[a] === true || thaws[b] === true;
        if (reaches || isLate || (reachSinceMs[cell] ?? never) !== never) reachedMs[cell] = nowMs;
        if (!reaches) reachSinceMs[cell] = never;
        else if (reachSinceMs[cell] === never) reachSinceMs[cell] = nowMs;
        if (!reaches || world.isLossy(a, b)) clearSinceMs[cell] = never;
        else if (clearSinceMs[cell] === never) clearSinceMs[cell] = nowMs;
      }
    }
  }

  /** When a last reached b, by itself or by another node. */
  function lastPathMs(a: number, b: number): number {
    const nowMs = world.nowMs();
    const lastMs = (from: number, to: number): number =>
      (reachSinceMs[from * count + to] ?? never) === never ? (reachedMs[from * count + to] ?? never) : nowMs;
    let pathMs = lastMs(a, b);
    for (let c = 0; c < count; c++) {
      if (c !== a && c !== b && speaks(c)) pathMs = Math.max(pathMs, Math.min(lastMs(a, c), lastMs(c, b)));
    }
    return pathMs;
  }

  /** Names of sites that node `at` answers with, and the document with the addresses that it gives. */
  function answerOf(at: number): Answer | undefined {
    const { site, prober } = machines[at] ?? {};
    const live = prober?.live();
    if (site === undefined || prober === undefined || live === undefined || steered === undefined) return undefined;
    const states = prober.sites();
    const before = answers[at];
    if (before?.states === states && before.live === live) return before;
    const plan = planOf({ fleet: live, self: site, states, keptShares: new Map() }, steered, 4);
    const answer = { states, live, sites: plan.names };
    answers[at] = answer;
    return answer;
  }

  function checkAnswers(a: number): void {
    const answer = answerOf(a);
    const own = machines[a];
    const health = own?.prober?.health();
    if (answer === undefined || own === undefined || health === undefined) return;
    const nowMs = world.nowMs();
    assert(answer.sites.length > 0, "an answer names no site");
    const isGone = (b: number): boolean => b !== a && nowMs - lastPathMs(a, b) > outWithinMs;
    // Whom nobody reaches may have no other to name; what it names then is as good as anything.
    const isOwnUp = health.get(own.name)?.state === "up";
    for (const [at, site] of answer.live.sites.entries()) {
      if (!answer.sites.includes(site.name)) continue;
      assert(site.addresses.length > 0, "an answer names a site without addresses");
      const those = members[at] ?? [];
      const first = those[0]?.at ?? 0;
      if (site.name !== own.site && isOwnUp && those.every((one) => isGone(one.at))) {
        assert.fail(`${own.name} names ${site.name} after 3 s: ${told(a, first)}`);
      }
      for (const { at: b, name, addresses } of those) {
        const isNamed = addresses.some((address) => site.addresses.includes(address));
        const isOtherUp = those.some((one) => one.name !== name && health.get(one.name)?.state === "up");
        if (isNamed && isOtherUp && isGone(b)) assert.fail(`${own.name} gives its address after 3 s: ${told(a, b)}`);
      }
    }
  }

  function told(a: number, b: number): string {
    const judged = machines[a]?.prober?.health().get(machines[b]?.name ?? "");
    return `${machines[b]?.name} is ${judged?.state} there: ${judged?.reason}`;
  }

  function checkJudgements(a: number): void {
    const nowMs = world.nowMs();
    const health = machines[a]?.prober?.health();
    if (health === undefined || nowMs - (runsSinceMs[a] ?? nowMs) < settledMs) return;
    for (let b = 0; b < count; b++) {
      if (a === b || !runs(b)) continue;
      const sinceMs = clearPathSinceMs(a, b);
      if (sinceMs === never || nowMs - sinceMs < settledMs) continue;
      const judged: NodeHealth | undefined = health.get(machines[b]?.name ?? "");
      // Held down: it fell three times in a short world.
      if (judged?.state === "down" && judged.reason.startsWith("fell ")) continue;
      if (judged?.state !== "up") assert.fail(`${machines[a]?.name} reaches, but ${told(a, b)}`);
    }
  }

  return {
    changed,
    check() {
      for (const [a, machine] of machines.entries()) {
        // What DNS answers from is older than the freezing; its own threads are not in this world.
        if (!runs(a) || !machine.isJudged) continue;
        if (world.nowMs() - (runsSinceMs[a] ?? 0) > outWithinMs) checkAnswers(a);
        checkJudgements(a);
      }
    },
    disagreement() {
      for (const [a, machine] of machines.entries()) {
        if (!runs(a)) continue;
        for (let b = 0; b < count; b++) {
          const wanted = runs(b) ? "up" : "down";
          if (machine.prober?.health().get(machines[b]?.name ?? "")?.state !== wanted) {
            return `${machine.name} disagrees: ${told(a, b)}`;
          }
        }
      }
      return undefined;
    },
  };
}
