/**
 * Closes a connection so that the last answer arrives (RFC 9112 §9.6).
 *
 * A socket that is closed while bytes of the client are unread sends a reset, and the reset may destroy the answer on
 * its way. So the server ends its own direction first, reads and drops what still comes, and closes when the client
 * does, or after `timeoutMs`.
 */
import type { Socket } from "node:net";

const lingering = new WeakSet<Socket>();

/** Whether the connection is closing: what arrives on it now gets no answer. */
export function isLingering(socket: Socket): boolean {
  return lingering.has(socket);
}

/** The caller sees to it that somebody reads the socket: Node's HTTP parser does, unless a request was paused. */
export function closeLingering(socket: Socket, timeoutMs: number): void {
  if (lingering.has(socket) || socket.destroyed) return;
  lingering.add(socket);
  socket.end();
  // A timer of Node, not a Clock: it guards a socket's end and decides nothing.
  const timer = setTimeout(() => {
    socket.destroy();
  }, timeoutMs);
  timer.unref();
  socket.once("close", () => {
    clearTimeout(timer);
  });
}
