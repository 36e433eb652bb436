/** Formats the nodes' reports on a purge for `nearcast purge`; pure. */
import { counted } from "#base/counted.ts";
import type { NodePurge, PurgeState } from "../../origin-answers.ts";
import { sizeText, tableLines } from "../../output.ts";

/** How many selectors are listed one by one. */
const toldMax = 20;

/** A selector for which no node held anything, with a possible explanation. */
export interface Unheld {
  /** For people: `name "alps.jpg"`. */
  what: string;
  hint: string | undefined;
}

/** @param isByNode one line per node, instead of their sum */
export function purgeLines(state: PurgeState, isByNode: boolean): string[] {
  const done = state.nodes.filter(({ state: one }) => one === "done");
  return [
    ...(isByNode ? tableOf(state.nodes) : [sumLine(done)]),
    ...missingLines(state),
    ...done
      .filter(({ isComplete }) => !isComplete)
      .map(({ node }) => `${node} could not read all of its disk cache: it may have dropped more than it counted`),
  ];
}

function tableOf(nodes: readonly NodePurge[]): string[] {
  const rows = nodes.map(({ node, site, state, tookMs, memory, disk, records }) => {
    const isDone = state === "done";
    return [
      node,
      site,
      state,
      tookMs === undefined ? undefined : `${tookMs} ms`,
      isDone ? heldText(memory) : undefined,
      isDone ? heldText(disk) : undefined,
      isDone ? records : undefined,
    ];
  });
  return tableLines(["NODE", "SITE", "STATE", "TIME", "IN MEMORY", "ON DISK", "PICTURES"], rows);
}

function sumLine(done: readonly NodePurge[]): string {
  if (done.length === 0) return "no node has reported yet";
  const sum = (of: (node: NodePurge) => number): number => done.reduce((total, node) => total + of(node), 0);
  const tier = (name: "memory" | "disk"): string =>
    heldText({ entries: sum((node) => node[name].entries), bytes: sum((node) => node[name].bytes) });
  const holders = done.filter(({ memory, disk, records }) => memory.entries + disk.entries + records > 0).length;
  const where = `${holders} of ${counted(done.length, "node")}`;
  const pictures = sum(({ records }) => records);
  const known = counted(pictures, "picture");
  return `matched on ${where}: ${tier("memory")} in memory, ${tier("disk")} on disk; ${known}`;
}

function heldText({ entries, bytes }: { entries: number; bytes: number }): string {
  return `${counted(entries, "entry", "entries")} (${sizeText(bytes)})`;
}

function missingLines({ nodes, anonymous }: PurgeState): string[] {
  const named = (state: string): string =>
    nodes
      .filter((node) => node.state === state)
      .map(({ node }) => node)
      .join(", ");
  const [waiting, away] = [named("waiting"), named("away")];
  return [
    ...(waiting === "" ? [] : [`not reported yet: ${waiting}`]),
    ...(away === "" ? [] : [`disconnected: ${away}; each applies the purge before it serves again`]),
    ...(anonymous === 0 ? [] : [`connected edges of an older release, which purge but do not report: ${anonymous}`]),
  ];
}

/** @param isKnownOfAll whether every node of the fleet has reported */
export function unheldLines(unheld: readonly Unheld[], isKnownOfAll: boolean): string[] {
  const who = isKnownOfAll ? "no node" : "no node that reported";
  const lines = unheld
    .slice(0, toldMax)
    .map(({ what, hint }) => `warning: ${who} held anything for the ${what}${hint === undefined ? "" : ` (${hint})`}`);
  const more = unheld.length - lines.length;
  return more > 0 ? [...lines, `warning: … and for ${more} more`] : lines;
}
