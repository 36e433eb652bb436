/**
 * Answers input that is no request (base/unreadable-request.ts) when its turn comes: behind the responses to the
 * requests before it, and never in place of one of them.
 *
 *   nothing is running ───────────────▶ answered at once
 *   the body of the only request ─────▶ that request gets this response, unless its own has begun
 *   other requests are running ───────▶ they are answered first
 *   the body of an answered request ──▶ the connection closes, because that request has its response
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { closeLingering } from "#base/lingering-close.ts";
import { answerUnreadable } from "#base/unreadable-request.ts";

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** Of a connection. */
interface Line {
  /** Requests whose responses are not complete, oldest first. */
  readonly running: Exchange[];
  newest: IncomingMessage;
  /** What has come behind them. */
  error: Error | undefined;
}

/** How long a client has to read its last response. */
const lingerMs = 2000;

const lines = new WeakMap<Socket, Line>();

/** A request has begun. Call this once for each. */
export function noteRequest(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request;
  const line: Line = lines.get(socket) ?? { running: [], newest: request, error: undefined };
  line.newest = request;
  lines.set(socket, line);
  const exchange = { request, response };
  line.running.push(exchange);
  response.once("close", () => {
    line.running.splice(line.running.indexOf(exchange), 1);
    answerInTurn(line, socket);
  });
}

/** For `clientError`, and for what else ends the use of a connection. */
export function answerBrokenInput(error: Error & { code?: string }, socket: Socket): void {
  const line = lines.get(socket);
  if (line === undefined || error.code === "ECONNRESET") {
    answerUnreadable(error, socket);
    return;
  }
  line.error ??= error;
  answerInTurn(line, socket);
}

/** Whether a request of this connection is complete, or its response has begun. */
export function isAnswering(socket: Socket): boolean {
  return lines.get(socket)?.running.some((exchange) => !isCutOff(exchange)) ?? false;
}

function answerInTurn({ running, newest, error }: Line, socket: Socket): void {
  const [first, ...others] = running;
  if (error === undefined || others.length > 0 || socket.destroyed) return;
  if (first === undefined && !newest.complete) closeLingering(socket, lingerMs);
  else if (first === undefined || isCutOff(first)) answerUnreadable(error, socket);
}

/** Its body can't be read further, so it never becomes complete. */
function isCutOff({ request, response }: Exchange): boolean {
  return !request.complete && !response.headersSent;
}
