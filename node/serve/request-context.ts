/**
 * For whom a request is served, beside the order, which says what is wanted: orders are remembered and shared by many
 * requests, and this is of one alone. It goes along to every wait that is shared fairly between client networks, and
 * in the question to another node, which then asks on behalf of the same network.
 */
export interface RequestContext {
  /** Of the request, as in the log. */
  readonly id: string;
  /** As base/client-network.ts writes it. */
  readonly clientNetwork: string;
  /** Whether the client wants the whole body, rather than a head or a part: then a small body is read at once. */
  readonly isWhole: boolean;
  /** Aborted when the client has left before its response began. */
  readonly signal: AbortSignal;
}

/** What this node does unasked, such as fetching a variant before clients ask for it: in turn with the clients. */
export const ownWork: RequestContext = {
  id: "own-work",
  clientNetwork: "own-work",
  isWhole: true,
  signal: new AbortController().signal,
};
