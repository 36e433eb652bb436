/**
 * The messages between an edge and the origin besides the feed's events. The edge opens every connection, so a node
 * needs no listener for them.
 *
 *   origin ──▶ edge     hello {…, channel}                     on the feed: the nonce of this connection
 *   edge   ──▶ origin   introduction, then presence            POST /channel/introductions, /channel/presence
 *   origin ──▶ edge     question {body, seal}                  on the feed, without a number: it is never replayed
 *   edge   ──▶ origin   answer                                 POST /channel/answers
 *   edge   ──▶ origin   purge report                           POST /channel/purge-reports
 *
 * Each carries a proof (seal.ts). A release without the channel only sees an unknown field of hello, because questions
 * go only to edges that introduced themselves. Readers ignore unknown fields.
 */
import { type Static, Type } from "typebox";
import { shortNameLengthMax } from "#document/roster.ts";
import { vocabularySchema } from "#document/vocabulary.ts";
import { heldSchema } from "#purge/purge-report.ts";

/** Kind of the event that carries a question. */
export const questionEventKind = "question";

/** How often an edge reports its presence. After three missed reports, the origin considers it gone. */
export const presenceIntervalMs = 10_000;

/** Maximum size of each message, in octets. */
export const messageBytesMax = {
  /** The vocabulary of the fleet document takes some 20 KiB. */
  introduction: 128 * 1024,
  presence: 1024,
  /** Enough for the status of a node in a fleet of two thousand nodes. */
  answer: 1024 * 1024,
  /** Enough for 2,100 selectors by their number, and some counts. */
  "purge-report": 64 * 1024,
} as const;

/** Maximum nesting depth of each message: the origin nests an answer in its own response, which has a limit as well. */
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
 * All questions. They only read, and return what a node's admin listener tells its operator. Any other question needs a
 * node with a release that knows it.
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

/** The event's data: `body` is the JSON of a SentQuestion; the proof covers it. */
export const sealedQuestionSchema = Type.Object({ body: Type.String(), seal: Type.String() });

export const sentQuestionSchema = Type.Object({
  id: Type.String({ pattern: "^[A-Za-z0-9_-]{22}$" }),
  /** Maximum size of the answer's message, in octets. */
  bytesMax: Type.Integer({ minimum: 1024 }),
  /** Unchecked: a later origin may ask a question that this release does not know. It refuses such a question. */
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
  /** The response of the admin listener: an HTTP status, and JSON. */
  | { id: string; outcome: "answered"; status: number; body: unknown }
  /** The node's release does not know the question, or the node is busy. */
  | { id: string; outcome: "refused"; reason: string }
  | { id: string; outcome: "too-large"; sizeBytes: number };

const held = Type.Object({ entries: count, bytes: count });

/** What a purge matched in one process of a node, counted when it was applied. */
export const purgeReportSchema = Type.Object({
  /** Number of the purge event. */
  seq: count,
  memory: held,
  disk: held,
  /** Number of matching source records. */
  records: count,
  /** False if a part of the disk cache could not be read: there may have been more matches. */
  isComplete: Type.Boolean(),
  held: heldSchema,
});
export type PurgeReport = Static<typeof purgeReportSchema>;
