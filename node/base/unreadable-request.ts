/**
 * Answers input that Node's HTTP parser can't read, in the same form as all other errors. There is no request, only a
 * socket. For a server's `clientError`.
 */
import { randomBytes } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { NearcastError, problemOf } from "./errors.ts";
import { inertFields } from "./inert-fields.ts";
import { closeLingering, isLingering } from "./lingering-close.ts";

/** What a client that is still sending gets to read its refusal. */
const lingerMs = 2000;

/** As Node's `clientError` gives it. */
type ClientError = Error & { code?: string };

export function answerUnreadable(error: ClientError, socket: Socket): void {
  // The parser reports every further piece, too. Closing now would reset the connection before the refusal is read.
  if (isLingering(socket) && error.code !== "ECONNRESET") return;
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = problemOf(whatIsWrong(error), randomBytes(8).toString("hex"));
  const body = `${JSON.stringify(problem)}\n`;
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    "Content-Type: application/problem+json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${problem.requestId}`,
    "Cache-Control: no-store",
    ...Object.entries(inertFields).map(([name, value]) => `${name}: ${value}`),
    "Connection: close",
  ];
  socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
  closeLingering(socket, lingerMs);
}

function whatIsWrong(error: ClientError): NearcastError {
  switch (error.code ?? "") {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new NearcastError("REQUEST_TIMEOUT", "the request did not arrive completely in time");
    case "HPE_HEADER_OVERFLOW":
      return new NearcastError("HEADERS_TOO_LARGE", "the request line and header section are larger than the limit");
    default:
      return new NearcastError("BAD_REQUEST", "the request is not valid HTTP/1.1");
  }
}
