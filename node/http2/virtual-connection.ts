/**
 * An HTTP/1.1 connection within this process: Node's server reads one request from it, and writes the response of an
 * HTTP/2 stream to it.
 */
import { Duplex } from "node:stream";

/** What Node's server and the application use of a connection, besides the stream itself. */
export interface VirtualConnection extends Duplex {
  readonly remoteAddress: string | undefined;
  /** Whether the client's connection uses TLS; the same name as in TLS sockets. */
  readonly encrypted: boolean;
  setTimeout: (timeMs: number) => VirtualConnection;
  destroySoon: () => void;
}

export interface VirtualEvents {
  /** Bytes from the server. It gets to write more when `done` is called. */
  readonly written: (bytes: Buffer, done: () => void) => void;
  /** The server has ended the connection. */
  readonly ended: () => void;
  /** The connection is closed, by either side. */
  readonly closed: () => void;
}

export interface OpenedVirtual {
  readonly connection: VirtualConnection;
  /** Closes the connection if nothing has moved on it for as long as the server allows. */
  readonly sweep: (nowMs: number) => void;
}

/** @param client the connection that the request came on */
export function openVirtual(
  { remoteAddress, encrypted }: Pick<VirtualConnection, "remoteAddress" | "encrypted">,
  nowMs: () => number,
  events: VirtualEvents,
): OpenedVirtual {
  let movedMs = nowMs();
  let silenceMs = 0;
  const duplex = new Duplex({
    allowHalfOpen: true,
    decodeStrings: true,
    // The request is pushed as a whole; nothing follows it.
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      movedMs = nowMs();
      events.written(chunk, () => {
        movedMs = nowMs();
        done();
      });
    },
    final(done) {
      events.ended();
      done();
    },
    destroy(error, done) {
      events.closed();
      done(error);
    },
  });
  const connection: VirtualConnection = Object.assign(duplex, {
    remoteAddress,
    encrypted,
    setTimeout(timeMs: number) {
      silenceMs = timeMs;
      return connection;
    },
    destroySoon() {
      if (duplex.writable) duplex.end();
      if (duplex.writableFinished) duplex.destroy();
      else duplex.once("finish", () => duplex.destroy());
    },
  });
  return {
    connection,
    sweep(now) {
      if (silenceMs === 0 || now - movedMs < silenceMs || duplex.destroyed) return;
      movedMs = now;
      if (!duplex.emit("timeout")) duplex.destroy();
    },
  };
}
