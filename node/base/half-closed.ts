/**
 * Clients that half-close the connection after the last request (`printf … | nc -N`, a shutdown of the socket) still
 * wait for the response, and RFC 9112 §9.6 expects one. By default Node's server would close its own side at once.
 */
import type { Server } from "node:http";

/**
 * Answers the requests of a half-closed connection, then closes it. An endless response must listen for the socket's
 * "end" itself, because a client that has gone looks the same.
 */
export function answerHalfClosed(server: Server): void {
  // Node has had this property since 0.1, but its types don't declare it.
  Object.assign(server, { httpAllowHalfOpen: true });
}
