/**
 * For whom a request is served, beside the order, which says what is wanted: orders are remembered and shared by many
 * requests, and this is of one alone. It goes along to every wait that is shared fairly between client networks, and
 * in the question to another node, which then asks on behalf of the same network.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { clientNetworkOf } from "#base/client-network.ts";
import type { Cancel, Clock } from "#base/clock.ts";

export interface RequestContext {
  /** Of the request, as in the log. */
  readonly id: string;
  /** As base/client-network.ts writes it. */
  readonly clientNetwork: string;
  /** Aborted when the client has gone before its response was complete. */
  readonly signal: AbortSignal;
}

/** The reason of a context's signal. */
class ClientGone extends Error {
  constructor() {
    super("the client closed its connection before the response was complete");
  }
}

/**
 * A client that has closed its sending side either waits for its response (RFC 9112 §9.6) or is gone: most that leave
 * look like this. It gets its response if that begins within this time.
 */
const halfClosedMs = 2000;

/** The context of a request over HTTP. */
export function contextOf(
  request: IncomingMessage,
  response: ServerResponse,
  id: string,
  clock: Clock,
): RequestContext {
  const { socket } = request;
  const gone = new AbortController();
  let cancel: Cancel = () => undefined;
  const forget = onEnd(socket, () => {
    cancel = clock.after(halfClosedMs, () => {
      // Once it has begun, the next write tells whether anyone is there.
      if (!response.headersSent) gone.abort(new ClientGone());
    });
  });
  response.once("close", () => {
    forget();
    cancel();
    if (!response.writableFinished) gone.abort(new ClientGone());
  });
  return { id, clientNetwork: clientNetworkOf(socket.remoteAddress), signal: gone.signal };
}

/** One listener per connection, however many pipelined requests it carries. */
const endings = new WeakMap<Socket, Set<() => void>>();

/** Calls `ended` when the client has closed its sending side. @returns stops that */
function onEnd(socket: Socket, ended: () => void): () => void {
  if (socket.readableEnded) {
    ended();
    return () => undefined;
  }
  let waiting = endings.get(socket);
  if (waiting === undefined) {
    const all = new Set<() => void>();
    endings.set(socket, all);
    socket.once("end", () => {
      for (const one of all) one();
    });
    waiting = all;
  }
  waiting.add(ended);
  return () => waiting.delete(ended);
}

/** What this node does unasked, such as fetching a variant before clients ask for it: in turn with the clients. */
export const ownWork: RequestContext = {
  id: "own-work",
  clientNetwork: "own-work",
  signal: new AbortController().signal,
};
