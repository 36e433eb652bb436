/**
 * Connects a client to Node's HTTP server for everything that the front does not answer. To the server, a relay is a
 * connection; bytes that the server writes to it go out on the client's connection.
 */
import { Duplex } from "node:stream";
import type { ClientConnection } from "./client-connection.ts";

/** What Node's server and the application use of a connection, besides the stream itself. */
export interface Relay extends Duplex {
  readonly remoteAddress: string | undefined;
  /** Whether the client's connection uses TLS; the same name as in TLS sockets. */
  readonly encrypted: boolean;
  setTimeout: (timeMs: number) => Relay;
  destroySoon: () => void;
}

/** Whether a connection, or a relay of one, uses TLS. */
export function isEncrypted(connection: object): boolean {
  return "encrypted" in connection && connection.encrypted === true;
}

/**
 * @param socket the client's; when it closes, so does the relay
 * @param events.wanted called when the server can take more of what the client sends
 * @param events.destroyed called when the server is done with the connection, to close it
 */
export function openRelay(socket: ClientConnection, events: { wanted: () => void; destroyed: () => void }): Relay {
  const relay = new Duplex({
    allowHalfOpen: true,
    decodeStrings: false,
    read: events.wanted,
    write(chunk: Buffer | string, encoding, done) {
      const taken = onceTaken(done);
      socket.write(chunk, encoding, taken);
      if (socket.writableLength === 0) taken();
    },
    writev(chunks, done) {
      const taken = onceTaken(done);
      socket.cork();
      for (const { chunk, encoding } of chunks.slice(0, -1)) socket.write(chunk as string, encoding);
      const last = chunks.at(-1);
      if (last !== undefined) socket.write(last.chunk as string, last.encoding, taken);
      socket.uncork();
      if (socket.writableLength === 0) taken();
    },
    final(done) {
      socket.end(() => {
        done();
      });
    },
    destroy(error, done) {
      events.destroyed();
      done(error);
    },
  });
  /** Calls back at once if the system took the bytes at once, as a socket does for its own writes. */
  const onceTaken = (done: () => void): ((error?: Error | null) => void) => {
    let isDone = false;
    return (error) => {
      if (isDone) return;
      isDone = true;
      // A broken connection is an ordinary end: a client that left did not send anything unreadable.
      if (error === undefined || error === null) done();
      else relay.destroy();
    };
  };
  const connection = Object.assign(relay, {
    remoteAddress: socket.remoteAddress,
    encrypted: isEncrypted(socket),
    setTimeout(timeMs: number) {
      socket.setTimeout(timeMs);
      return connection;
    },
    destroySoon() {
      if (relay.writable) relay.end();
      if (relay.writableFinished) relay.destroy();
      else relay.once("finish", () => relay.destroy());
    },
  });
  socket.on("timeout", () => relay.emit("timeout"));
  socket.on("close", () => relay.destroy());
  return connection;
}
