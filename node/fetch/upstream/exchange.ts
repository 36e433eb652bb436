/**
 * One request and its response over one connection. The head comes first; the connection is free when the body has
 * ended, been read or been given up.
 */
import type { Dispatcher } from "undici";
import { fewInterimResponses } from "#base/interim-responses.ts";
import { type BodyWatch, watchBody } from "#base/body-watch.ts";
import { type Connection, type Connections, returnConnection, takeConnection } from "./connections.ts";

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
  /** Ends it at once, with its connection, in whatever state; head or body fail with the reason. */
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
    // In a turn of its own: undici has not yet done with this request when it says so.
    queueMicrotask(() => {
      returnConnection(connections, connection);
      ended.resolve();
    });
  };
  const { watch, around } = watchBody({ clock, silenceMs: wish.bodyTimeoutMs, pace }, end);
  const head = send(connection, wish, around);
  // A body that was destroyed before its end: undici does not always say that its request is over.
  const bodyClosed = (): void => {
    if (isOver) return;
    connection.destroy(new Error("the body was given up"));
    end();
  };
  // Whoever needs the head waits for it; one that was given up must not end the process.
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
