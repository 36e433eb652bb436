/**
 * Clients that end their direction after the last request (`printf … | nc -N`, a shutdown of the socket) wait for the
 * answer all the same, and RFC 9112 §9.6 expects one. Node's server would end its own direction at once.
 */
import type { Server } from "node:http";

/**
 * Answers what a half-closed connection has asked, then closes it. An answer that has no end of its own must look for
 * the socket's "end" itself: a client that has gone looks the same.
 */
export function answerHalfClosed(server: Server): void {
  // A property that Node has had since 0.1, and its types do not.
  Object.assign(server, { httpAllowHalfOpen: true });
}
