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

/** As passed by Node's `clientError`, or a refusal of what never becomes a request for the application. */
type ClientError = Error & { code?: string; reason?: string; bytesParsed?: number; rawPacket?: unknown };

/**
 * CONNECT (RFC 9110 §9.3.6): no listener is a proxy that opens tunnels. Its target is no resource, which could have a
 * list of allowed methods, so this is a 501 and not a 405.
 */
export const connectRefused = new NearcastError("NOT_IMPLEMENTED", "CONNECT");

export function answerUnreadable(error: ClientError, socket: Duplex): void {
  // The parser reports every further chunk, too. Closing now would reset the connection before the client reads the
  // response.
  if (isLingering(socket) && error.code !== "ECONNRESET") return;
  // Its last response may still be on its way to the client; then it closes. What comes meanwhile gets no response.
  if (socket.writableEnded && !socket.destroyed && error.code !== "ECONNRESET") return;
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
  if (error instanceof NearcastError) return error;
  switch (error.code ?? "") {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new NearcastError("REQUEST_TIMEOUT", "the request did not arrive completely in time");
    case "HPE_HEADER_OVERFLOW":
      return new NearcastError("HEADERS_TOO_LARGE", "the request line and header section are larger than the limit");
    case "HPE_PAUSED_H2_UPGRADE": // the beginning of HTTP/2 with prior knowledge
      return new NearcastError("VERSION_NOT_SUPPORTED", "HTTP/2");
    case "HPE_INVALID_VERSION":
      // The same code also stands for a request line that does not end behind its version.
      if (error.reason === "Invalid HTTP version") return new NearcastError("VERSION_NOT_SUPPORTED", error.reason);
      return notHttp();
    case "HPE_INVALID_METHOD":
      return hasMethod(error) ? new NearcastError("NOT_IMPLEMENTED", "the method is unknown") : notHttp();
    default:
      return notHttp();
  }
}

function notHttp(): NearcastError {
  return new NearcastError("BAD_REQUEST", "the request is not valid HTTP/1.1");
}

/** More of a packet can't belong to a request line with an unknown method. */
const lineBytesMax = 8192;

/**
 * Whether a request line has a method that the parser does not know, rather than none (RFC 9110 §9.1). The parser stops
 * at the first byte that no method of its list has, so this is known only if the rest of the line has arrived.
 */
function hasMethod({ rawPacket, bytesParsed = 0 }: ClientError): boolean {
  if (!Buffer.isBuffer(rawPacket)) return false;
  const start = rawPacket.lastIndexOf("\n", bytesParsed) + 1;
  const line = rawPacket.toString("latin1", start, start + lineBytesMax);
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^\s]+ HTTP\/1\.[01]\r?\n/.test(line);
}
