/**
 * One request and its response over one connection. The head arrives first; the connection is free when the body has
 * ended, or has been read or given up.
 */
import type { Dispatcher } from "undici";
import { fewInterimResponses } from "#base/interim-responses.ts";
import { type BodyWatch, watchBody } from "#base/body-watch.ts";
import { type Connection, type Connections, returnConnection, takeConnection } from "./connections.ts";
import { createStatusLine } from "./status-line.ts";

export interface ExchangeWish {
  readonly method: "GET" | "HEAD";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** How long the origin may be silent in the middle of a body. */
  readonly bodyTimeoutMs: number;
}

export interface Exchange {
  readonly head: Promise<Dispatcher.ResponseData>;
  /** False while its connection is being opened: then nothing was sent. */
  readonly isConnected: () => boolean;
  /** The connection is free, or has ended. Never rejects. */
  readonly ended: Promise<void>;
  /** Ends it and its connection at once, in any state; head or body fail with the reason. */
  readonly cancel: (reason: Error) => void;
  /** Of its body. */
  readonly watch: BodyWatch;
}

export function beginExchange(connections: Connections, wish: ExchangeWish): Exchange {
  const { clock, pace } = connections;
  const connection = takeConnection(connections);
  const ended = Promise.withResolvers<void>();
  let isOver = false;
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    // In a turn of its own: undici reports the end before it is done with this request.
    queueMicrotask(() => {
      returnConnection(connections, connection);
      ended.resolve();
    });
  };
  const { watch, around } = watchBody({ clock, silenceMs: wish.bodyTimeoutMs, pace }, end);
  connection.received.bytes = 0;
  connection.received.bodyBytes = watch.bytes;
  connection.received.statusLine = createStatusLine();
  const head = send(connection, wish, around);
  // A body that was destroyed early: undici does not always report that its request is over.
  const bodyClosed = (): void => {
    if (isOver) return;
    connection.destroy(new Error("the body was given up"));
    end();
  };
  // A caller that needs the head awaits it; the failure of one that was given up must not end the process.
  head.then(({ body }) => body.once("close", bodyClosed), end);
  return {
    head,
    watch,
    isConnected: () => connection.isOpen,
    ended: ended.promise,
    cancel(reason) {
      if (isOver) return;
      connection.destroy(reason);
      end();
    },
  };
}

async function send(
  { request }: Connection,
  { method, path, headers }: ExchangeWish,
  around: (handler: Dispatcher.DispatchHandler) => Dispatcher.DispatchHandler,
): Promise<Dispatcher.ResponseData> {
  return await request({ method, path, headers, bodyTimeout: 0, onInfo: fewInterimResponses() }, around);
}
