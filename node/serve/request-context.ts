/**
 * The client of a request. An order says what is requested, and is remembered and shared by many requests; a context
 * belongs to one request. Every wait that is fair between client networks gets it, and requests to other nodes carry
 * it, so that they act for the same network.
 */
export interface RequestContext {
  /** The request's ID, as in the log. */
  readonly id: string;
  /** As base/client-network.ts writes it. */
  readonly clientNetwork: string;
  /** Whether the client wants the whole body, rather than a head or a part: then a small body is read at once. */
  readonly isWhole: boolean;
  /** Aborted when the client has left before its response began. */
  readonly signal: AbortSignal;
}

/** The same request, which may also end for another reason. */
export function until(context: RequestContext, ending: AbortSignal | undefined): RequestContext {
  if (ending === undefined) return context;
  const { id, clientNetwork, isWhole, signal } = context;
  return { id, clientNetwork, isWhole, signal: AbortSignal.any([signal, ending]) };
}

/** For work on behalf of a client that has its response: it continues when the client leaves. */
export function unending(context: RequestContext): RequestContext {
  return { ...context, signal: ownWork.signal };
}

/**
 * For what this node does unasked, such as fetching a variant before clients request it: it takes turns with clients.
 */
export const ownWork: RequestContext = {
  id: "own-work",
  clientNetwork: "own-work",
  isWhole: true,
  signal: new AbortController().signal,
};
