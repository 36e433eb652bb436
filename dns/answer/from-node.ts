/** Answers from the last name of the chain: a steered address, an RRset, or NODATA. */
import type { Snapshot } from "../snapshot.ts";
import { intAt } from "../wire/bytes.ts";
import { headerLength } from "../wire/message.ts";
import { recordTypes } from "../wire/numbers.ts";
import { nodeSteered, nodeTtlMax, nodeWords, setExtra, setWords, zoneMinimalAny } from "../zone/compiled-zones.ts";
import { hasSets, setOf } from "../zone/lookup.ts";
import { nodata, noerror } from "./outcomes.ts";
import { addNegativeSoa, addSet } from "./sections.ts";
import type { Client, Responding } from "./state.ts";
import { addHinted, answerSteered } from "./steered.ts";

/** Answers from the node at which the chain ended. */
export function answerFromNode(state: Responding, now: Snapshot, client: Client): number {
  const { type } = state.query;
  const { node } = state.chain.found;
  const compiled = now.zones;
  const steeredIndex = intAt(compiled.nodes, node * nodeWords + nodeSteered);
  if (steeredIndex >= 0 && (type === recordTypes.A || type === recordTypes.AAAA)) {
    const ttlMaxSeconds = intAt(compiled.nodes, node * nodeWords + nodeTtlMax);
    if (state.ownerAt === headerLength) {
      state.readyAnswer.steered = steeredIndex;
      state.readyAnswer.ttlMaxSeconds = ttlMaxSeconds;
    } else state.isSettled = false;
    return answerSteered(state, now, steeredIndex, ttlMaxSeconds, client);
  }
  let set = setOf(compiled, node, type);
  if (type === recordTypes.ANY && (hasSets(compiled, node) || steeredIndex >= 0)) {
    set = intAt(compiled.zones, state.zoneBase + zoneMinimalAny);
  }
  if (set < 0) {
    addNegativeSoa(state, compiled);
    return nodata;
  }
  const isHinted =
    (type === recordTypes.HTTPS || type === recordTypes.SVCB) && intAt(compiled.sets, set * setWords + setExtra) >= 0;
  if (isHinted) {
    state.isSettled = false;
    addHinted(state, now, set, client);
  } else addSet(state, compiled, set, state.ownerAt);
  return noerror;
}
