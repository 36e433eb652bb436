/**
 * Answers input that Node's HTTP parser can't parse, in the same form as all other errors. Handles a server's
 * `clientError`, where there is no request, only a socket.
 */
import { randomBytes } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { NearcastError, problemOf } from "./errors.ts";
import { inertFields } from "./inert-fields.ts";
import { closeLingering, isLingering } from "./lingering-close.ts";

/** The time that a client that is still sending has to read the error response. */
const lingerMs = 2000;

/** As passed by Node's `clientError`. */
type ClientError = Error & { code?: string };

export function answerUnreadable(error: ClientError, socket: Duplex): void {
  // The parser reports every further chunk, too. Closing now would reset the connection before the client reads the
  // response.
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
