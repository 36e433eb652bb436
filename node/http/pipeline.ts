/**
 * Serves the pipelined requests (RFC 9112 §9.3.2) of a connection one at a time: the next request begins when the
 * previous response has been sent, in another turn of the event loop. So a connection takes the memory of one response
 * and the time of one request per turn, however many requests it sends at once.
 *
 *   arrived ──▶ nothing in progress? begin
 *          └──▶ wait ──▶ begin, in order
 *                └── too many: no more is read from the connection, and the last response closes it
 *
 * No request here has a useful body, and reading one can cost far more than sending it (a chunk may have one byte). So
 * a request with a body is the last one of its connection, and its body is not read. The same holds for one with
 * Upgrade.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/**
 * Beyond this, the client repeats the rest on a new connection (§9.3.2). Until then the connection must be read:
 * otherwise it does not show that its client has left.
 */
const waitingMax = 99;

export interface Pipeline {
  readonly arrived: (request: IncomingMessage, response: ServerResponse) => void;
  /** Whether this connection has responses in progress or to come. */
  readonly isAnswering: (connection: Duplex) => boolean;
  /** Something that is no request has come on this connection: it gets what is under way, then the word for that. */
  readonly broken: (connection: IncomingMessage["socket"], error: Error) => void;
}

interface Line {
  isAnswering: boolean;
  readonly waiting: [IncomingMessage, ServerResponse][];
  /** No further request is wanted. */
  isFull: boolean;
  /** What has come behind the requests. */
  error: Error | undefined;
}

/**
 * @param events.begun called when a request begins without having waited
 * @param events.idle called each time that a connection has no requests left
 * @param events.unwanted called when nothing more is wanted from a connection: it closes after its responses
 * @param events.broken called for what is no request, when the requests before it are answered
 */
export function openPipeline(
  application: RequestListener,
  events: {
    begun: (connection: IncomingMessage["socket"]) => void;
    idle: (connection: IncomingMessage["socket"]) => void;
    unwanted: (connection: IncomingMessage["socket"]) => void;
    broken: (connection: IncomingMessage["socket"], error: Error) => void;
  },
): Pipeline {
  const lines = new WeakMap<Duplex, Line>();

  function begin(line: Line, request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    line.isAnswering = true;
    response.once("close", () => {
      next(line, socket);
    });
    application(request, response);
  }

  /** Called when a response has been sent, and one turn later for the request that waits. */
  function next(line: Line, socket: IncomingMessage["socket"]): void {
    if (isClosing(socket)) line.waiting.length = 0;
    line.isAnswering = line.waiting.length > 0;
    if (!line.isAnswering) {
      if (line.error === undefined || isClosing(socket)) events.idle(socket);
      else events.broken(socket, line.error);
      return;
    }
    setImmediate(() => {
      const [request, response] = line.waiting.shift() ?? [];
      if (request === undefined || response === undefined || isClosing(socket)) next(line, socket);
      else begin(line, request, response);
    });
  }

  return {
    arrived(request, response) {
      const { socket } = request;
      let line = lines.get(socket);
      if (line === undefined) {
        line = { isAnswering: false, waiting: [], isFull: false, error: undefined };
        lines.set(socket, line);
      }
      if (line.isFull) return;
      if (isLast(request)) {
        line.isFull = true;
        response.shouldKeepAlive = false;
        events.unwanted(socket);
      }
      if (!line.isAnswering) {
        events.begun(socket);
        begin(line, request, response);
        return;
      }
      line.waiting.push([request, response]);
      if (line.waiting.length < waitingMax) return;
      line.isFull = true;
      response.shouldKeepAlive = false;
      events.unwanted(socket);
    },
    isAnswering(connection) {
      return lines.get(connection)?.isAnswering ?? false;
    },
    broken(connection, error) {
      const line = lines.get(connection);
      if (line?.isAnswering !== true) events.broken(connection, error);
      else if ((error as NodeJS.ErrnoException).code === "ECONNRESET") connection.destroy();
      // Behind the last request that is wanted come its body, or nothing (a timeout), and what nobody answers. Its
      // response does not wait for them, and ends under its own rules; then the connection closes anyway.
      else if (!line.isFull) line.error ??= error;
    },
  };
}

/**
 * Whether no other response can be sent. Node's server ends some connections with a response that the client did not
 * ask to be the last: one to `Expect: 100-continue`, or a 304 in HTTP/1.0.
 */
function isClosing({ destroyed, writableEnded }: Duplex): boolean {
  return destroyed || writableEnded;
}

/**
 * Whether the connection closes after this request. What follows a request with `Upgrade` in the same segment is lost:
 * Node's parser stops there, also if the server ignores the field (RFC 9110 §7.8).
 */
function isLast({ headers }: IncomingMessage): boolean {
  return (
    headers["transfer-encoding"] !== undefined ||
    (headers["content-length"] ?? "0") !== "0" ||
    headers.upgrade !== undefined
  );
}
