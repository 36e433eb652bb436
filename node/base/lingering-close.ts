/**
 * Closes a connection so that the last answer arrives (RFC 9112 §9.6).
 *
 * A socket that is closed while the client's bytes are unread sends a reset, which may destroy the response in transit.
 * So the server closes its own side first, reads and drops what still arrives, and closes the socket when the client
 * does, or after `timeoutMs`.
 */
import type { Socket } from "node:net";

const lingering = new WeakSet<Socket>();

/** Whether the connection is closing: what arrives on it now gets no answer. */
export function isLingering(socket: Socket): boolean {
  return lingering.has(socket);
}

/** The caller must ensure that something reads the socket: Node's HTTP parser does, unless a request was paused. */
export function closeLingering(socket: Socket, timeoutMs: number): void {
  if (lingering.has(socket) || socket.destroyed) return;
  lingering.add(socket);
  socket.end();
  // Uses a timer of Node instead of a Clock, since it only guards the end of a socket.
  const timer = setTimeout(() => {
    socket.destroy();
  }, timeoutMs);
  timer.unref();
  socket.once("close", () => {
    clearTimeout(timer);
  });
}
