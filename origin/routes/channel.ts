/**
 * What edges send to the origin besides following its feed (node/follow/channel): introductions, signs of life, answers
 * to questions, and purge reports. Each message names its connection to the feed, and proves that its sender knows the
 * fleet secret.
 */
import { NearcastError } from "#base/errors.ts";
import { parseForeignJson } from "#base/foreign-json.ts";
import { networkOf } from "#base/networks.ts";
import type { FailureLog } from "#base/failure-log.ts";
import { check, problemLines } from "#base/schema.ts";
import {
  introductionSchema,
  messageBytesMax,
  messageDepthMax,
  nodeAnswerSchema,
  presenceSchema,
  purgeReportSchema,
} from "#follow/channel/messages.ts";
import { channelField, type Purpose, sealField, type Seals } from "#follow/channel/seal.ts";
import type { FastifyRequest } from "fastify";
import { type Static, type TSchema, Type } from "typebox";
import type { ConnectedNodes, Connection, IntroducedConnection } from "../channel/connections.ts";
import type { IntroductionBudget } from "../channel/introductions.ts";
import type { PurgeReports } from "../channel/purge-reports.ts";
import type { Questions } from "../channel/questions.ts";
import { apiPath, type App } from "../http/app-type.ts";

export interface ChannelRouteDeps {
  readonly connected: ConnectedNodes;
  readonly questions: Questions;
  readonly purgeReports: PurgeReports;
  readonly introductions: IntroductionBudget;
  readonly seals: Seals;
}

type Message = Exclude<Purpose, "question">;

export function addChannelRoutes(app: App, deps: ChannelRouteDeps, failures: FailureLog): void {
  const { connected, questions, purgeReports } = deps;
  // In a separate scope: the proof covers the bytes as received.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("application/json", { parseAs: "string" }, (_request, text, done) => {
      done(null, text);
    });
    const take = <Schema extends TSchema>(
      path: string,
      purpose: Message,
      schema: Schema,
      summary: string,
      work: (connection: Connection, message: Static<Schema>, sizeBytes: number) => void,
    ): void => {
      (scope as App).post(
        `${apiPath}/channel/${path}`,
        {
          bodyLimit: messageBytesMax[purpose],
          config: {
            access: "edge-only",
            rawRequest: { mediaType: "application/json", description: "see node/follow/channel/messages.ts" },
          },
          schema: { summary, tags: ["channel"], response: { 204: Type.Null() } },
        },
        async (request, reply) => {
          const { connection, text } = proven(request, purpose, deps, failures);
          const message = read(schema, text);
          if (!message.ok) {
            if (purpose === "answer") questions.takeMalformed(connection, message.reason);
            throw new NearcastError("BAD_REQUEST", message.reason);
          }
          work(connection, message.value, Buffer.byteLength(text));
          connected.heard(connection);
          return await reply.code(204).send(null);
        },
      );
    };

    take(
      "introductions",
      "introduction",
      introductionSchema,
      "Say which node follows the feed over this connection, and what it understands",
      (connection, introduction) => {
        const before = connection.introduction;
        connected.introduce(connection, introduction);
        const { node, process, release } = introduction;
        if (before?.node === node && before.process === process && before.release === release) return;
        const facts = { node, process, release };
        failures.of(connection.address, "info", "INTRODUCTION", facts, "a node introduced itself");
      },
    );
    take("presence", "presence", presenceSchema, "Say that the node is there", (connection, presence) => {
      introducedOnly(connection).presence = presence;
    });
    take(
      "answers",
      "answer",
      nodeAnswerSchema,
      "Answer a question that came over the feed",
      (connection, answer, size) => {
        if (!questions.take(introducedOnly(connection), answer, size)) {
          throw new NearcastError("NOT_FOUND", "no question waits for this answer");
        }
      },
    );
    take(
      "purge-reports",
      "purge-report",
      purgeReportSchema,
      "Say what a purge found on this node",
      (connection, report) => {
        purgeReports.take(introducedOnly(connection), report);
      },
    );
  });
}

/** @throws NearcastError NOT_FOUND for a connection that has ended, OVERLOADED, FORBIDDEN for an invalid proof */
function proven(
  request: FastifyRequest,
  purpose: Message,
  { connected, questions, introductions, seals }: ChannelRouteDeps,
  failures: FailureLog,
): { connection: Connection; text: string } {
  const channel = String(request.headers[channelField] ?? "");
  const connection = connected.find(channel);
  if (connection === undefined) {
    throw new NearcastError("NOT_FOUND", `no feed connection has the channel that ${channelField} names`);
  }
  if (purpose === "introduction" && !introductions.take(networkOf(connection.address))) {
    throw new NearcastError("OVERLOADED", "too many introductions from this address; try again in a minute");
  }
  const text = typeof request.body === "string" ? request.body : "";
  if (seals.isSealed(purpose, channel, text, request.headers[sealField])) return { connection, text };
  if (purpose === "introduction" && connection.introduction === undefined) {
    connection.unprovenName = claimedName(text);
    failures.of(
      connection.address,
      "warn",
      "UNPROVEN_INTRODUCTION",
      { name: connection.unprovenName },
      "refused an introduction without a valid proof",
    );
  }
  if (purpose === "answer") questions.takeUnproven(connection);
  throw new NearcastError("FORBIDDEN", "the message has no valid proof of the fleet secret");
}

const nameless = "a node without a name";

function claimedName(text: string): string {
  try {
    const checked = check(introductionSchema, parseForeignJson(text, messageDepthMax));
    return checked.ok ? checked.value.node : nameless;
  } catch {
    return nameless;
  }
}

function read<Schema extends TSchema>(
  schema: Schema,
  text: string,
): { ok: true; value: Static<Schema> } | { ok: false; reason: string } {
  let value: unknown;
  try {
    value = parseForeignJson(text, messageDepthMax);
  } catch (error) {
    return { ok: false, reason: `the body can't be read: ${(error as Error).message}` };
  }
  const checked = check(schema, value);
  return checked.ok ? checked : { ok: false, reason: problemLines(checked.problems).slice(0, 5).join("; ") };
}

/** @throws NearcastError CONFLICT */
function introducedOnly(connection: Connection): IntroducedConnection {
  if (isIntroduced(connection)) return connection;
  throw new NearcastError("CONFLICT", "introduce the node first: POST /channel/introductions");
}

function isIntroduced(connection: Connection): connection is IntroducedConnection {
  return connection.introduction !== undefined;
}
