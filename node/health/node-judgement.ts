/**
 * Applies the rules of consensus.ts to the prober's state.
 *
 *   sight, answers ──▶ judgeNode() ──▶ judgement ──▶ publish() ──▶ health
 *   any node's state changed ──▶ judgeIsolation() ──▶ judges the others again
 */
import type { ProbeSettings } from "#document/schema/probes.ts";
import { healthOf, isUnreachable, judge, noTestimony, testimonyOf } from "./consensus.ts";
import { boundedView, type View } from "./health-answer.ts";
import { forgetAnswer, type ProberState, type Watched } from "./prober-state.ts";
import { collect } from "./site-judgement.ts";

/** Judges one node again; returns true if its state has changed. Adds a node in trouble to the troubled ones. */
export function judgeNode(state: ProberState, one: Watched, settings: ProbeSettings): boolean {
  const { self, clock, log } = state.options;
  const nowMs = clock.monotonicMs();
  const { name, state: wanted } = one.node;
  const before = one.judgement;
  const { isUnproven } = one.sight;
  const testimony =
    one.sight.reach === "lost" && name !== self
      ? testimonyOf({ name, isUnproven }, state.heard, state.ownId, nowMs, settings)
      : noTestimony;
  const evidence = { sight: one.sight, testimony, isToDrain: wanted === "draining", isIsolated: state.isIsolated };
  one.judgement = judge(before, evidence, nowMs, settings);
  // Until it is lost, the last health answer of a node that fails to answer still counts.
  if (one.sight.reach === "lost" && one.sight.successes === 0) forgetAnswer(state, name);
  if (one.sight.reach !== "reached" || one.judgement.state === "down") state.troubled.add(one);
  publish(state, one, settings);
  const { state: after, reason } = one.judgement;
  if (after === before.state) return false;
  log.info({ node: name, before: before.state, state: after, reason }, "node changed its state");
  if (before.state === "unknown") one.first.resolve();
  return true;
}

/** Publishes the health of a node to the rest of the program. */
export function publish(state: ProberState, one: Watched, settings: ProbeSettings): void {
  const { name } = one.node;
  const before = state.health.get(name);
  const after = healthOf(one.judgement, one.sight, settings);
  const isSame = before?.state === after.state && before.contraryCount === after.contraryCount;
  if (isSame && before.reason === after.reason && before.isUnproven === after.isUnproven) return;
  state.health.set(name, after);
  if (!isSame) collect(state);
}

/** Rule 8, after any node's state changed. For the other nodes it changes only their reasons. */
export function judgeIsolation(state: ProberState, settings: ProbeSettings): void {
  const { self, log } = state.options;
  const here = state.watched.get(self)?.hostname;
  const others = [...state.watched.values()].filter((one) => one.hostname !== here);
  const isAlone = ({ sight, judgement }: Watched): boolean =>
    sight.reach === "lost" && judgement.wellSinceMs === undefined;
  const next = others.length > 0 && others.every(isAlone);
  if (next === state.isIsolated) return;
  state.isIsolated = next;
  if (next) log.warn({}, "this node reaches no other machine: DNS answers with its own site until it does");
  else log.info({}, "this node reaches other machines again");
  for (const one of others) {
    one.judgement = { ...one.judgement, falls: 0, fellMs: -Infinity };
    judgeNode(state, one, settings);
  }
}

/** What this node's health answer reports about other nodes. */
export function viewOf(state: ProberState): View {
  const { fleet, watched, ownId, isIsolated } = state;
  if (fleet === undefined) return {};
  const draining: string[] = [];
  const unreachable: string[] = [];
  const nowMs = state.options.clock.monotonicMs();
  for (const [name, { sight }] of watched) {
    if (name === state.options.self) continue;
    if (sight.reach === "reached" && sight.answer === "draining") draining.push(name);
    if (isUnreachable(sight, nowMs, fleet.probe)) unreachable.push(name);
  }
  return boundedView({
    unreachable,
    ...(draining.length > 0 ? { draining } : {}),
    watched: ownId,
    asksProof: true,
    ...(isIsolated ? { isIsolated } : {}),
  });
}
