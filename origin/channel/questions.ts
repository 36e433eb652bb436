/**
 * Questions to nodes, sent over the feed to subscribers that introduced themselves, and answered by their requests
 * (routes/channel.ts). Nothing is kept: a question lives as long as the request that asked it.
 *
 *   ask() ──▶ each process of each target        answered, refused, too-large, malformed, unproven
 *                                                                                            by what it sends
 *                                                timed-out                                   by the deadline
 *                                                away                                        not connected
 */
import { randomBytes } from "node:crypto";
import type { Clock } from "#base/clock.ts";
import { counted } from "#base/counted.ts";
import { NearcastError } from "#base/errors.ts";
import {
  messageBytesMax,
  type NodeAnswer,
  type NodeQuestion,
  questionEventKind,
  type SentQuestion,
} from "#follow/channel/messages.ts";
import type { Seals } from "#follow/channel/seal.ts";
import { encodeEvent } from "../feed/encode.ts";
import type { Refusals, UnknownEdge } from "../refused-tokens.ts";
import type { ConnectedNodes, Connection, IntroducedConnection } from "./connections.ts";

/** A node of the fleet, as its document and the roster name it. */
export interface Target {
  readonly node: string;
  readonly site: string;
}

export type Outcome =
  | { outcome: "answered"; status: number; body: unknown }
  | { outcome: "refused"; reason: string }
  | { outcome: "too-large"; reason: string }
  | { outcome: "malformed"; reason: string }
  | { outcome: "timed-out"; reason: string }
  | { outcome: "unproven"; reason: string }
  | { outcome: "away"; reason: string };

/** The answer of one process of a node; a node that is away has one entry without a process. */
export type Answer = Target & { process?: number; tookMs?: number } & Outcome;

export interface Questions {
  /**
   * Asks all targets at once and waits for all of them, at most `waitMs`.
   * @throws NearcastError OVERLOADED when too many questions are being asked
   */
  readonly ask: (question: NodeQuestion, targets: readonly Target[], waitMs: number) => Promise<Answer[]>;
  /** Accepts a proven answer. @returns whether a question waits for it */
  readonly take: (connection: Connection, answer: NodeAnswer, sizeBytes: number) => boolean;
  /** An answer with an invalid proof arrived on this connection: settles the questions that wait for it. */
  readonly takeUnproven: (connection: Connection) => void;
  /** A proven but unreadable answer arrived, so its question is unknown. */
  readonly takeMalformed: (connection: Connection, reason: string) => void;
}

/** Each may hold up to answersBytesMax. */
const questionsMax = 4;
/** Size of all answers to one question: what the command reads of one response, minus the JSON around them. */
const answersBytesMax = 12 * 1024 * 1024;
/** The minimum share of an answer, so that a short answer of each node always fits. */
const answerBytesLeast = 4096;

interface Waiting {
  readonly connection: IntroducedConnection;
  readonly bytesMax: number;
  readonly settle: (outcome: Outcome) => void;
}

export function openQuestions(parts: {
  connected: ConnectedNodes;
  refusals: Pick<Refusals, "unknownEdges">;
  seals: Seals;
  clock: Clock;
}): Questions {
  const { connected, refusals, seals, clock } = parts;
  const waiting = new Map<string, Waiting>();
  let asked = 0;

  function askOne(connection: IntroducedConnection, question: NodeQuestion, bytesMax: number, waitMs: number) {
    const { node, site, process } = connection.introduction;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const id = randomBytes(16).toString("base64url");
    const askedAtMs = clock.monotonicMs();
    const settle = (outcome: Outcome): void => {
      waiting.delete(id);
      cancel();
      const tookMs = Math.round(clock.monotonicMs() - askedAtMs);
      resolve({ node, site, process, tookMs, ...outcome });
    };
    const cancel = clock.after(waitMs, () => {
      settle({ outcome: "timed-out", reason: `no answer within ${waitMs} ms` });
    });
    waiting.set(id, { connection, bytesMax, settle });
    const body = JSON.stringify({ id, bytesMax, question } satisfies SentQuestion);
    const seal = seals.seal("question", connection.channel, body) ?? "";
    connection.send(encodeEvent(questionEventKind, undefined, JSON.stringify({ body, seal })));
    return promise;
  }

  function settleAll({ channel }: Connection, outcome: Outcome): void {
    for (const one of waiting.values()) if (one.connection.channel === channel) one.settle(outcome);
  }

  return {
    async ask(question, targets, waitMs) {
      if (asked >= questionsMax) {
        throw new NearcastError(
          "OVERLOADED",
          `the origin is asking ${questionsMax} questions, the most at a time; try again in a moment`,
        );
      }
      asked += 1;
      try {
        const byNode = Map.groupBy(connected.introduced(), ({ introduction }) => introduction.node);
        const present = targets.flatMap(({ node }) => byNode.get(node) ?? []);
        const away = targets.filter(({ node }) => !byNode.has(node));
        // The first answer may be larger than the others: one node's view of a large fleet is better than none.
        const share = Math.floor((answersBytesMax - messageBytesMax.answer) / Math.max(1, present.length - 1));
        const bytesMaxOf = (index: number): number =>
          index === 0 ? messageBytesMax.answer : Math.min(messageBytesMax.answer, Math.max(answerBytesLeast, share));
        const answers = await Promise.all(
          present.map((connection, index) => askOne(connection, question, bytesMaxOf(index), waitMs)),
        );
        const why = (target: Target): Outcome => whyAway(target, connected, refusals.unknownEdges());
        return [...answers, ...away.map((target): Answer => ({ ...target, ...why(target) }))];
      } finally {
        asked -= 1;
      }
    },
    take(connection, answer, sizeBytes) {
      const one = waiting.get(answer.id);
      if (one?.connection.channel !== connection.channel) return false;
      one.settle(outcomeOf(answer, sizeBytes, one.bytesMax));
      return true;
    },
    takeUnproven(connection) {
      settleAll(connection, {
        outcome: "unproven",
        reason: "its answer has no valid proof of the fleet secret",
      });
    },
    takeMalformed(connection, reason) {
      settleAll(connection, { outcome: "malformed", reason: `its answer is not valid: ${reason}` });
    },
  };
}

function outcomeOf(answer: NodeAnswer, sizeBytes: number, bytesMax: number): Outcome {
  const tooLarge = (bytes: number): Outcome => ({
    outcome: "too-large",
    reason: `its answer must not be larger than ${bytesMax} bytes (got ${bytes})`,
  });
  if (sizeBytes > bytesMax) return tooLarge(sizeBytes);
  switch (answer.outcome) {
    case "answered":
      return { outcome: "answered", status: answer.status, body: answer.body };
    case "refused":
      return { outcome: "refused", reason: answer.reason };
    case "too-large":
      return tooLarge(answer.sizeBytes);
  }
}

function whyAway({ node }: Target, connected: ConnectedNodes, unknownEdges: readonly UnknownEdge[]): Outcome {
  if (connected.all().some(({ unprovenName }) => unprovenName === node)) {
    return {
      outcome: "unproven",
      reason: "a connection under this name has no valid proof of the fleet secret",
    };
  }
  const anonymous = connected.anonymousCount();
  const mayBe =
    anonymous === 0
      ? ""
      : `, or its release can't answer questions (${counted(anonymous, "subscriber")} did not introduce themselves)`;
  return { outcome: "away", reason: `it is not connected to the origin${mayBe}${refusedLately(unknownEdges)}` };
}

/** An unknown token does not identify its node, so any node that is away may have presented it. */
function refusedLately([last, ...others]: readonly UnknownEdge[]): string {
  if (last === undefined) return "";
  const { address, agoMs } = last;
  const more = others.length === 0 ? "" : `, and from ${counted(others.length, "more address", "more addresses")}`;
  return (
    `; a request with an unknown edge token from ${address} was refused ${Math.round(agoMs / 1000)} s ago${more}: ` +
    "if that was this node, write the current edge token into its token file"
  );
}
