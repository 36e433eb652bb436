/**
 * GET /feed: the event log as an endless stream of server-sent events.
 *
 *   hello {originId, oldestSeq, latestSeq, channel} first, always; `channel` is a nonce for routes/channel.ts
 *   reset {originId, latestSeq, reason}             events after `since` are not kept, or `since` is not ours
 *   purge | fleet | secret | roster                 all after `since`, then each one when it happens (`id`: its number)
 *   question {body, seal}                           without a number, to introduced subscribers (channel/)
 *   :                                               a comment as heartbeat
 */
import type { ServerResponse } from "node:http";
import { Type } from "typebox";
import { NearcastError } from "#base/errors.ts";
import { networkOf } from "#base/networks.ts";
import type { ConnectedNodes } from "../channel/connections.ts";
import type { Tokens } from "../token/tokens.ts";
import type { FeedHub, FeedSink } from "../feed/hub.ts";
import { type App, feedPath } from "../http/app-type.ts";
import { addressOf } from "../http/write-request.ts";

const feedQuery = Type.Object(
  {
    since: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description: "number of the last event that the client has; without it, only new events are sent",
      }),
    ),
  },
  { additionalProperties: false },
);

export interface FeedRouteDeps {
  readonly feed: FeedHub;
  readonly connected: ConnectedNodes;
  readonly tokens: Pick<Tokens, "isAccepted">;
}

export function addFeedRoute(app: App, { feed, connected, tokens }: FeedRouteDeps): void {
  app.route({
    method: ["GET", "HEAD"],
    url: feedPath,
    exposeHeadRoute: false,
    config: {
      access: "edge",
      rawResponse: {
        mediaType: "text/event-stream",
        description: "hello, reset, purge, fleet, secret, roster and question events; `id` is their number",
      },
    },
    schema: {
      summary: "Follow the feed: all events after `since`, then new ones as they happen",
      tags: ["feed"],
      querystring: feedQuery,
      response: { 200: Type.Any() },
    },
    handler: async (request, reply) => {
      const since = request.query.since ?? readLastEventId(request.headers["last-event-id"]);
      const { raw } = reply;
      const { token } = request;
      const address = addressOf(request);
      const stillAccepted = (): boolean => token !== null && tokens.isAccepted(token);
      raw.statusCode = 200;
      raw.setHeader("content-type", "text/event-stream; charset=utf-8");
      raw.setHeader("cache-control", "no-store");
      // Tells a proxy in between (nginx supports it) to forward each event at once.
      raw.setHeader("x-accel-buffering", "no");
      raw.setHeader("x-request-id", request.id);
      // A HEAD is no subscription: it would never end.
      if (request.method === "HEAD") {
        raw.end();
        reply.hijack();
        return;
      }
      let gone: (() => void) | undefined;
      let isClosed = false;
      const sink = sinkOf(raw, stillAccepted);
      // A subscriber with the writer token is not an edge.
      const connection = token?.kind === "edge" ? connected.open({ address, send: sink.write }) : undefined;
      // A feed never ends by itself, so a client that closes its side is gone; other responses would still be sent.
      raw.socket?.once("end", () => raw.destroy());
      raw.once("close", () => {
        isClosed = true;
        if (connection !== undefined) connected.close(connection);
        gone?.();
      });
      raw.on("error", () => undefined); // The connection broke: "close" follows.
      const guest = {
        network: networkOf(address),
        tokenId: token?.id ?? "",
        provenAs: () => connection?.introduction,
      };
      gone = await feed.subscribe(sink, guest, since, connection && { channel: connection.channel });
      if (isClosed) gone();
      reply.hijack();
    },
  });
}

/** Sent by a browser's EventSource when it reconnects. */
function readLastEventId(header: string | string[] | undefined): number | undefined {
  if (header === undefined || header === "") return undefined;
  const seq = /^\d{1,15}$/.test(String(header)) ? Number(header) : undefined;
  if (seq === undefined) throw new NearcastError("BAD_PARAMETER", "Last-Event-ID must be the number of an event");
  return seq;
}

/** @param stillAccepted called at each write, so a retired token ends its feeds with the next heartbeat */
function sinkOf(response: ServerResponse, stillAccepted: () => boolean): FeedSink {
  return {
    write: (bytes) => {
      if (!stillAccepted()) response.destroy();
      if (!response.destroyed && !response.writableEnded) response.write(bytes);
    },
    waitingBytes: () => response.writableLength,
    drained: async () => {
      if (!response.writableNeedDrain || response.destroyed) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      response.once("drain", resolve).once("close", resolve);
      await promise;
      response.off("drain", resolve).off("close", resolve);
    },
    end: () => response.end(),
    cut: () => response.destroy(),
  };
}
