/**
 * Closes a connection so that the last response arrives (RFC 9112 §9.6).
 *
 * A socket that is closed while the client's bytes are unread sends a reset, which may destroy the response in transit.
 * So the server closes its own side first, reads and drops what still arrives, and closes the socket when the client
 * does, or after `timeoutMs`. Past `bytesMax` it reads no more.
 *
 * What is dropped is not parsed: Node's HTTP parser would call back for each chunk of a body, and a client that sends
 * chunks of a byte would keep it busy.
 */
import type { Duplex } from "node:stream";

/**
 * The largest picture of a default fleet, and a little more: some clients read the response only when they have sent
 * everything. Reading that much takes 0.1 s of CPU time.
 */
const droppedBytesMax = 128 * 1024 * 1024;

const lingering = new WeakSet<Duplex>();

/** Whether the connection is closing: what arrives on it now gets no response. */
export function isLingering(socket: Duplex): boolean {
  return lingering.has(socket);
}

/** Ends the use of the connection for HTTP: its parser gets nothing more to read. */
export function closeLingering(socket: Duplex, timeoutMs: number, bytesMax = droppedBytesMax): void {
  if (lingering.has(socket) || socket.destroyed) return;
  lingering.add(socket);
  socket.end();
  dropRest(socket, bytesMax);
  // Uses a timer of Node instead of a Clock, since it only guards the end of a socket.
  const timer = setTimeout(() => {
    socket.destroy();
  }, timeoutMs);
  timer.unref();
  socket.once("close", () => {
    clearTimeout(timer);
  });
}

function dropRest(socket: Duplex, bytesMax: number): void {
  let droppedBytes = 0;
  // It may be paused because nobody read a request's body; Node's server resumes it in the next tick.
  socket.resume();
  process.nextTick(() => {
    // These are the parser's. With another listener, Node also stops feeding the parser directly from the socket.
    socket.removeAllListeners("data");
    socket.on("data", (chunk: Buffer) => {
      droppedBytes += chunk.length;
      if (droppedBytes > bytesMax) socket.pause();
    });
  });
}
