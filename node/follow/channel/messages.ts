/**
 * What an edge and the origin say to each other beside the feed's events. The edge opens every connection, so nothing
 * has to listen on a node.
 *
 *   origin ──▶ edge     hello {…, channel}                     on the feed: the nonce of this connection
 *   edge   ──▶ origin   introduction, then presence            POST /channel/introductions, /channel/presence
 *   origin ──▶ edge     question {body, seal}                  on the feed, without a number: it is never replayed
 *   edge   ──▶ origin   answer                                 POST /channel/answers
 *   edge   ──▶ origin   purge report                           POST /channel/purge-reports
 *
 * Each carries a proof (seal.ts). A release that knows none of this sees a field of hello and no more: questions go
 * only to those who introduced themselves. Whoever reads a message leaves out what it does not know.
 */
import { type Static, Type } from "typebox";
import { shortNameLengthMax } from "#document/roster.ts";
import { vocabularySchema } from "#document/vocabulary.ts";
import { heldSchema } from "#purge/purge-report.ts";

/** Kind of the event that carries a question. */
export const questionEventKind = "question";

/** An edge says that it is there this often; the origin takes one for gone after three of them. */
export const presenceIntervalMs = 10_000;

/** Octets of each message, at most. */
export const messageBytesMax = {
  /** The fleet document's vocabulary takes some 20 KiB. */
  introduction: 128 * 1024,
  presence: 1024,
  /** The status of a node in a fleet of two thousand nodes. */
  answer: 1024 * 1024,
  /** 2,100 selectors by their number, and some counts. */
  "purge-report": 64 * 1024,
} as const;

/** Levels that each message may be nested: an answer stands inside of the origin's own, which has a bound as well. */
export const messageDepthMax = 32;

const nodeName = Type.String({ pattern: "^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$", maxLength: shortNameLengthMax });
const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

export const introductionSchema = Type.Object({
  node: nodeName,
  site: nodeName,
  /** Which of the machine's processes this is, from 0. */
  process: Type.Integer({ minimum: 0, maximum: 63 }),
  processes: Type.Integer({ minimum: 1, maximum: 64 }),
  release: Type.String({ maxLength: 64, pattern: "^[\\x21-\\x7e]*$" }),
  understands: vocabularySchema,
});
export type Introduction = Static<typeof introductionSchema>;

export const presenceSchema = Type.Object({
  state: Type.String({ maxLength: 32, pattern: "^[a-z-]+$" }),
  fleetVersion: count,
  feedSeq: count,
});
export type Presence = Static<typeof presenceSchema>;

/**
 * All that can be asked. Everything here is read only; it is what the admin listener of a node tells its owner. To ask
 * for anything else, a node has to be of a release that knows it.
 */
export const nodeQuestionSchema = Type.Unsafe<NodeQuestion>({
  type: "object",
  discriminator: { propertyName: "kind" },
  required: ["kind"],
  oneOf: [
    Type.Object({ kind: Type.Literal("status") }, { additionalProperties: false }),
    Type.Object(
      {
        kind: Type.Literal("explain-url"),
        url: Type.String({ maxLength: 8192 }),
        accept: Type.Optional(Type.String({ maxLength: 2048 })),
      },
      { additionalProperties: false },
    ),
    Type.Object(
      {
        kind: Type.Literal("explain-name"),
        name: Type.String({ minLength: 1, maxLength: 1024 }),
        type: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9]{1,10}$" })),
        ip: Type.Optional(Type.String({ maxLength: 64 })),
      },
      { additionalProperties: false },
    ),
  ],
});
export type NodeQuestion =
  | { kind: "status" }
  | { kind: "explain-url"; url: string; accept?: string }
  | { kind: "explain-name"; name: string; type?: string; ip?: string };

/** The event's data: `body` is the JSON of a SentQuestion, which is what the proof is of. */
export const sealedQuestionSchema = Type.Object({ body: Type.String(), seal: Type.String() });

export const sentQuestionSchema = Type.Object({
  id: Type.String({ pattern: "^[A-Za-z0-9_-]{22}$" }),
  /** Octets that the answer's message may have. */
  bytesMax: Type.Integer({ minimum: 1024 }),
  /** Unchecked: a later origin may ask what this release does not know, which is refused. */
  question: Type.Unknown(),
});
export type SentQuestion = Static<typeof sentQuestionSchema>;

const answerId = { id: Type.String({ pattern: "^[A-Za-z0-9_-]{22}$" }) };
export const nodeAnswerSchema = Type.Unsafe<NodeAnswer>({
  type: "object",
  discriminator: { propertyName: "outcome" },
  required: ["outcome"],
  oneOf: [
    Type.Object({
      ...answerId,
      outcome: Type.Literal("answered"),
      status: Type.Integer({ minimum: 100, maximum: 599 }),
      body: Type.Unknown(),
    }),
    Type.Object({ ...answerId, outcome: Type.Literal("refused"), reason: Type.String({ maxLength: 500 }) }),
    Type.Object({ ...answerId, outcome: Type.Literal("too-large"), sizeBytes: count }),
  ],
});
export type NodeAnswer =
  /** As the admin listener would answer: an HTTP status, and JSON. */
  | { id: string; outcome: "answered"; status: number; body: unknown }
  /** The node's release does not know the question, or the node is busy. */
  | { id: string; outcome: "refused"; reason: string }
  | { id: string; outcome: "too-large"; sizeBytes: number };

const held = Type.Object({ entries: count, bytes: count });

/** What a purge found on one process of a node, counted when it was applied. */
export const purgeReportSchema = Type.Object({
  /** Number of the purge's event. */
  seq: count,
  memory: held,
  disk: held,
  /** Names of pictures about which something was known. */
  records: count,
  /** False while the disk cache was still being indexed: more may have been there. */
  isComplete: Type.Boolean(),
  held: heldSchema,
});
export type PurgeReport = Static<typeof purgeReportSchema>;
