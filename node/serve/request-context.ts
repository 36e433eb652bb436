/**
 * For whom a request is served, beside the order, which says what is wanted: orders are remembered and shared by many
 * requests, and this is of one alone. It goes along to every wait that is shared fairly between client networks, and
 * in the question to another node, which then asks on behalf of the same network.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { clientNetworkOf } from "#base/client-network.ts";

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

/** The context of a request over HTTP. */
export function contextOf(request: IncomingMessage, response: ServerResponse, id: string): RequestContext {
  return {
    id,
    clientNetwork: clientNetworkOf(request.socket.remoteAddress),
    signal: goneSignal(response),
  };
}

/** Aborted when the connection of this response ends before the response does. */
function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) gone.abort(new ClientGone());
  });
  return gone.signal;
}

/** What this node does unasked, such as fetching a variant before clients ask for it: in turn with the clients. */
export const ownWork: RequestContext = {
  id: "own-work",
  clientNetwork: "own-work",
  signal: new AbortController().signal,
};
