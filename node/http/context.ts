/** The context of a request over HTTP/1.1. It also notices when the client leaves. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { clientNetworkOf } from "#base/client-network.ts";
import type { Cancel, Clock } from "#base/clock.ts";
import { withoutStack } from "#base/errors.ts";
import type { RequestContext } from "../serve/request-context.ts";

/** The reason of a context's signal. */
export class ClientGone extends Error {
  constructor() {
    super("the client closed its connection before the response was complete");
  }
}

/**
 * A client that has closed its sending side either waits for its response (RFC 9112 §9.6) or is gone; most clients that
 * leave look like this. It gets its response if that begins within this time.
 */
const halfClosedMs = 2000;
/** Fields that can reduce the response to a head alone, or to a part. */
const partialFields = ["range", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since"];

export function contextOf(
  request: IncomingMessage,
  response: ServerResponse,
  id: string,
  clock: Clock,
): RequestContext {
  const { method, headers, socket } = request;
  const { remoteAddress } = socket;
  let clientNetwork: string | undefined;
  let signal: AbortSignal | undefined;
  // Whatever a hit does not need is made on first use.
  return {
    id,
    get clientNetwork() {
      clientNetwork ??= clientNetworkOf(remoteAddress);
      return clientNetwork;
    },
    isWhole: method === "GET" && partialFields.every((name) => headers[name] === undefined),
    get signal() {
      signal ??= departureOf(request, response, clock);
      return signal;
    },
  };
}

/** Aborted when the client has left. Requests of one connection come one at a time, so the listeners are few. */
function departureOf({ socket }: IncomingMessage, response: ServerResponse, clock: Clock): AbortSignal {
  const gone = new AbortController();
  const leave = (): void => {
    gone.abort(withoutStack(() => new ClientGone()));
  };
  if (response.closed) {
    if (!response.writableFinished) leave();
    return gone.signal;
  }
  // A connection that was reset before its request was read has no remote address.
  if (socket.remoteAddress === undefined) {
    leave();
    return gone.signal;
  }
  let cancel: Cancel = () => undefined;
  const halfClosed = (): void => {
    cancel = clock.after(halfClosedMs, () => {
      // Once the response has begun, the next write shows whether anyone is there.
      if (!response.headersSent) leave();
    });
  };
  if (socket.readableEnded) halfClosed();
  else socket.once("end", halfClosed);
  response.once("close", () => {
    socket.off("end", halfClosed);
    cancel();
    if (!response.writableFinished) leave();
  });
  return gone.signal;
}
