/**
 * The class of all failures, and the catalogue of their codes.
 *
 * Expected outcomes (a miss, NXDOMAIN, a bad signature) are return values; a NearcastError is thrown when an operation
 * can't continue. Only the catalogue defines the HTTP status, who caused the failure, and whether a retry may help.
 * deploy/docs/errors.md is generated from it.
 */

export type ErrorSource = "client" | "origin" | "disk" | "internal";

interface ErrorKind {
  /** HTTP status of the response if the failure reaches a client. */
  readonly status: number;
  readonly source: ErrorSource;
  readonly retryable: boolean;
  /** A sentence for people, the same for every occurrence (RFC 9457 `title`). */
  readonly title: string;
}

const client = (status: number, title: string): ErrorKind => ({ status, source: "client", retryable: false, title });

export const errorCatalogue = {
  BAD_REQUEST: client(400, "The request can't be read"),
  BAD_PARAMETER: client(400, "A parameter has a value outside its range"),
  BAD_PATH: client(400, "The path is not a valid name"),
  BAD_FLEET: client(422, "The fleet document has problems"),
  UNKNOWN_SITE: client(422, "The fleet document has no such site"),
  UNAUTHORIZED: client(401, "A valid bearer token is required"),
  FORBIDDEN: client(403, "The token does not allow this request"),
  NOT_FOUND: client(404, "There is nothing under this name"),
  UNKNOWN_HOST: client(421, "This host is not served here"),
  METHOD_NOT_ALLOWED: client(405, "This method is not allowed here"),
  REQUEST_TIMEOUT: client(408, "The request took too long to arrive"),
  CONFLICT: client(409, "Someone else changed this in the meantime"),
  DANGEROUS_FLEET: client(409, "The fleet document would take down zones, sites or hosts in use"),
  NODE_CONFLICT: client(409, "This conflicts with the nodes of the fleet"),
  GONE: client(410, "This was deleted"),
  PRECONDITION_FAILED: client(412, "The precondition does not hold"),
  BODY_TOO_LARGE: client(413, "The body is larger than the limit"),
  URI_TOO_LONG: client(414, "The request target is longer than the limit"),
  UNSUPPORTED_IMAGE: client(415, "The bytes are not a picture of a supported type"),
  RANGE_NOT_SATISFIABLE: client(416, "The range is outside the body"),
  BROKEN_IMAGE: client(422, "The picture can't be decoded"),
  TOO_MANY_PIXELS: client(422, "The picture has more pixels than the limit"),
  HEADERS_TOO_LARGE: client(431, "The request's header fields are larger than the limit"),
  NOT_IMPLEMENTED: client(501, "The server does not implement what the request needs"),
  NOT_CACHED: client(504, "The request accepts only a cached response, and there is none"),
  VERSION_NOT_SUPPORTED: client(505, "The server does not support this version of HTTP"),
  LOOP_DETECTED: client(508, "The request is in a loop"),
  OVERLOADED: { status: 503, source: "internal", retryable: true, title: "The server is overloaded" },
  NETWORK_OVERLOADED: {
    status: 503,
    source: "internal",
    retryable: true,
    title: "Too many pictures are waiting to be rendered for this client's network",
  },
  SOURCE_QUARANTINED: {
    status: 503,
    source: "internal",
    retryable: true,
    title: "This picture will not be rendered for a while, because its decoder failed repeatedly",
  },
  NOT_READY: { status: 503, source: "internal", retryable: true, title: "This node is not ready to serve" },
  ORIGIN_UNREACHABLE: { status: 502, source: "origin", retryable: true, title: "The origin can't be reached" },
  ORIGIN_BUSY: {
    status: 503,
    source: "origin",
    retryable: true,
    title: "Too many requests are waiting for the origin",
  },
  ORIGIN_TIMEOUT: { status: 504, source: "origin", retryable: true, title: "The origin did not answer in time" },
  ORIGIN_BAD_ANSWER: { status: 502, source: "origin", retryable: true, title: "The origin sent an invalid response" },
  ORIGIN_REFUSED: { status: 502, source: "origin", retryable: false, title: "The origin refuses this node's token" },
  ORIGIN_NOT_ALLOWED: {
    status: 502,
    source: "origin",
    retryable: false,
    title: "This edge does not allow the origin's address",
  },
  PEER_UNREACHABLE: { status: 502, source: "internal", retryable: true, title: "Another node can't be reached" },
  DECODER_CRASHED: { status: 502, source: "internal", retryable: true, title: "The decoder of the picture crashed" },
  DECODER_TIMEOUT: { status: 502, source: "internal", retryable: true, title: "Decoding took longer than the limit" },
  DECODER_MEMORY: {
    status: 502,
    source: "internal",
    retryable: false,
    title: "Decoding took more memory than the limit",
  },
  CANNOT_LISTEN: { status: 500, source: "internal", retryable: false, title: "Listening on an address failed" },
  DISK_FAILED: { status: 500, source: "disk", retryable: true, title: "The disk failed" },
  INTERNAL: { status: 500, source: "internal", retryable: false, title: "An internal error occurred" },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorCatalogue;

/**
 * Failures of this program, whose stack shows where. The others are ordinary results, which thousands of requests a
 * second may have: something that a client or an origin did, or a limit that was reached. Capturing a stack costs more
 * than refusing a request.
 */
const codesWithStack: ReadonlySet<ErrorCode> = new Set(["CANNOT_LISTEN", "DISK_FAILED", "INTERNAL"]);

/** Makes an error that is an ordinary result, without a stack. V8 offers only Error.stackTraceLimit for this. */
export function withoutStack<Failure extends Error>(make: () => Failure): Failure {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return make();
  } finally {
    Error.stackTraceLimit = before;
  }
}

export class NearcastError extends Error {
  readonly code: ErrorCode;
  /** Facts for programs, such as the list of problems. Sent to clients only for 4xx. */
  readonly facts: Readonly<Record<string, unknown>>;

  /**
   * @param detail what happened this time: what, where, the allowed range. Clients see it for 4xx only; there it must
   *   not name anything on the machine.
   */
  constructor(
    code: ErrorCode,
    detail: string,
    options: { cause?: unknown; facts?: Readonly<Record<string, unknown>> } = {},
  ) {
    const stackLimit = Error.stackTraceLimit;
    if (!codesWithStack.has(code)) Error.stackTraceLimit = 0;
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    Error.stackTraceLimit = stackLimit;
    this.name = "NearcastError";
    this.code = code;
    this.facts = options.facts ?? {};
  }

  get status(): number {
    return errorCatalogue[this.code].status;
  }

  get source(): ErrorSource {
    return errorCatalogue[this.code].source;
  }

  get retryable(): boolean {
    return errorCatalogue[this.code].retryable;
  }
}

/** The error itself if it is a NearcastError; any other value wrapped as INTERNAL. */
export function asNearcastError(thrown: unknown): NearcastError {
  if (thrown instanceof NearcastError) return thrown;
  return new NearcastError("INTERNAL", thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
}

/** A body of type application/problem+json (RFC 9457), with two extension members: our `code` and the request's id. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  requestId: string;
  detail?: string;
  [fact: string]: unknown;
}

/**
 * The part of an error that a client may see: detail and facts for 4xx; for 5xx only code and request id, so that no
 * message, path or address of this machine leaks.
 */
export function problemOf(error: NearcastError, requestId: string): Problem {
  const kind = errorCatalogue[error.code];
  const problem: Problem = {
    type: `urn:nearcast:error:${error.code}`,
    title: kind.title,
    status: kind.status,
    code: error.code,
    requestId,
  };
  // The catalogue's members come last: a fact of the same name must not override them.
  return kind.status < 500 ? { ...problem, detail: error.message, ...error.facts, ...problem } : problem;
}

/** A failure that another request met a moment ago, for one that gets it instead of asking again. */
export function keptFailure(error: NearcastError): NearcastError {
  return new NearcastError(error.code, error.message, { cause: error, facts: { ...error.facts, isKept: true } });
}

export function isKeptFailure({ facts }: NearcastError): boolean {
  return facts["isKept"] === true;
}
