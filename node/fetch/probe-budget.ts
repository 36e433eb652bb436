/**
 * Limits the probes of one address, whoever named it: nodes register themselves, so a hundred URLs of one victim must
 * not become a flood from every edge. Pure except for its own memory.
 *
 *   attempt at an address ─▶ within its rate and its connections? ─▶ begins
 *                               └─▶ held: it has a turn, and comes back then
 *
 * Nodes that share an address take turns, one each, so the surplus slows those nodes down and no others. An address is
 * an IPv4 address or an IPv6 /64: whoever has one address of that network has them all.
 */
import { networkOf } from "#base/networks.ts";

/**
 * With the usual settings a silent node is asked ten times a second (node/health/consensus.ts). This is room for three
 * of them, or for thirty that answer.
 */
export const attemptsPerSecondMax = 32;
/** With the usual settings an attempt lasts at most a second: as many as may begin in one. */
export const connectionsMax = 32;
/** With more nodes at one address its connections are closed after each answer: those that idle count as well. */
const keptMax = 16;

const spacingMs = 1000 / attemptsPerSecondMax;
/** The attempts of one second may begin at once. */
const burstMs = 1000 - spacingMs;
/** Time until another look at an address whose connections are all in use. */
const crowdedMs = 100;
/** A node that was not probed for this long is gone. The longest probe interval is a minute. */
const forgottenMs = 120_000;

interface Turn {
  readonly atMs: number;
  /** It was given to a node that was held, and waits for it. */
  readonly isOpen: boolean;
}

interface Lane {
  /** When the next attempt would begin if all kept the spacing. */
  nextMs: number;
  connections: number;
  /** By node: each has one. */
  readonly turns: Map<string, Turn>;
}

export type Admission =
  | {
      readonly outcome: "begins";
      /** Whether too many nodes share the address to keep its connections. */
      readonly isCrowded: boolean;
      /** To be called once, when the attempt has ended. */
      readonly ended: () => void;
    }
  | { readonly outcome: "held"; readonly waitMs: number };

export interface ProbeBudget {
  readonly admit: (address: string, node: string, nowMs: number) => Admission;
  /** How many addresses are remembered. */
  readonly size: () => number;
}

export function createProbeBudget(): ProbeBudget {
  const lanes = new Map<string, Lane>();
  let sweptMs = -Infinity;

  function sweep(nowMs: number): void {
    if (nowMs - sweptMs < forgottenMs) return;
    sweptMs = nowMs;
    for (const [network, { turns, connections }] of lanes) {
      for (const [node, { atMs }] of turns) if (nowMs - atMs > forgottenMs) turns.delete(node);
      if (turns.size === 0 && connections === 0) lanes.delete(network);
    }
  }

  return {
    admit(address, node, nowMs) {
      sweep(nowMs);
      const network = networkOf(address);
      const lane = lanes.get(network) ?? { nextMs: nowMs, connections: 0, turns: new Map<string, Turn>() };
      lanes.set(network, lane);
      const { turns } = lane;
      const turn = turns.get(node)?.isOpen === true ? turns.get(node) : undefined;
      const atMs = turn?.atMs ?? Math.max(lane.nextMs - burstMs, nowMs);
      if (turn === undefined) lane.nextMs = Math.max(lane.nextMs, nowMs) + spacingMs;
      const waitMs = Math.ceil(atMs - nowMs);
      if (waitMs > 0 || lane.connections >= connectionsMax) {
        turns.set(node, { atMs, isOpen: true });
        return { outcome: "held", waitMs: Math.max(waitMs, lane.connections >= connectionsMax ? crowdedMs : 0) };
      }
      turns.set(node, { atMs: nowMs, isOpen: false });
      lane.connections += 1;
      return {
        outcome: "begins",
        isCrowded: turns.size > keptMax,
        ended: () => {
          lane.connections -= 1;
        },
      };
    },
    size: () => lanes.size,
  };
}
