/**
 * The main thread's end of the pairs (frames.ts): turns each session into a connection for the front.
 *
 * Bytes that the front writes count as sent when the pair has them. Pair and lane hold little, so the front still
 * learns how fast a client reads.
 */
import { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { ClientConnection } from "../client-connection.ts";
import { type Beginning, beginBytesMax, frameHead, frameHeadBytes, readBeginning, toLane, toMain } from "./frames.ts";

/** A new connection, with the listener that accepted it. */
export type Lent = (connection: ClientConnection, listener: number) => void;

/** The main thread's end of a pair. */
interface End {
  readonly socket: Socket;
  readonly lent: Lent;
  current: Session | null;
  /** An incomplete frame head, or "begin". */
  rest: Buffer | null;
  /** What is missing of the data frame that is being read. */
  leftBytes: number;
}

interface Session {
  readonly connection: ClientConnection;
  /** The client's bytes so far. */
  receivedBytes: number;
  /** Restarts the timer of setTimeout(). */
  moved: () => void;
}

/**
 * Takes over one end of a pair.
 * @param descriptor a local stream that never blocks; it is closed together with the result
 */
export function adoptPair(descriptor: number, lent: Lent): Socket {
  const socket = new Socket({ fd: descriptor, readable: true, writable: true });
  const end: End = { socket, lent, current: null, rest: null, leftBytes: 0 };
  socket.on("data", (chunk: Buffer) => {
    read(end, end.rest === null ? chunk : Buffer.concat([end.rest, chunk]));
  });
  socket.on("error", () => undefined); // followed by "close"
  socket.on("end", () => socket.destroy());
  socket.on("close", () => end.current?.connection.destroy(resetError()));
  return socket;
}

function read(end: End, bytes: Buffer): void {
  let at = 0;
  while (at < bytes.length) {
    if (end.leftBytes > 0) {
      const piece = bytes.subarray(at, at + end.leftBytes);
      end.leftBytes -= piece.length;
      at += piece.length;
      receive(end, piece);
      continue;
    }
    if (bytes.length - at < frameHeadBytes) break;
    const [kind, value] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
    if (kind === toMain.begin && bytes.length - at < frameHeadBytes + beginBytesMax) break;
    at += frameHeadBytes;
    if (kind === toMain.begin) {
      begin(end, readBeginning(bytes.toString("latin1", at, at + beginBytesMax).trimEnd()));
      at += beginBytesMax;
    } else take(end, kind, value);
  }
  end.rest = at < bytes.length ? bytes.subarray(at) : null;
}

function receive({ socket, current }: End, piece: Buffer): void {
  if (current === null) return; // for a session that is over
  current.receivedBytes += piece.length;
  current.moved();
  if (!current.connection.push(piece)) socket.pause();
}

function take(end: End, kind: number, value: number): void {
  const { current } = end;
  switch (kind) {
    case toMain.data:
      end.leftBytes = value;
      return;
    case toMain.end:
      current?.connection.push(null);
      return;
    case toMain.late:
      current?.connection.emit("late");
      return;
    case toMain.gone:
      current?.connection.destroy(resetError());
      return;
    case toMain.leave:
      current?.connection.destroy();
      return;
    default:
      throw new Error(`frame ${kind} from a lane`);
  }
}

function resetError(): Error {
  return Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET", syscall: "read" });
}

function begin(end: End, beginning: Beginning): void {
  const session = openSession(end, beginning);
  end.current = session;
  end.lent(session.connection, beginning.listener);
  setImmediate(() => {
    // Otherwise "closed" has said so.
    if (end.current === session) end.socket.write(frameHead(toLane.taken, 0));
  });
}

function openSession(end: End, { address, protocol }: Beginning): Session {
  const { socket } = end;
  let timer: NodeJS.Timeout | undefined;
  let isBusy = true;
  let writtenBytes = 0;
  const send = (chunks: readonly Buffer[], done: (error?: Error | null) => void): void => {
    session.moved();
    const lengthBytes = chunks.reduce((sum, { length }) => sum + length, 0);
    writtenBytes += lengthBytes;
    socket.cork();
    socket.write(frameHead(toLane.data, lengthBytes));
    for (const chunk of chunks.slice(0, -1)) socket.write(chunk);
    const last = chunks.at(-1);
    // Calls back at once if the system took the bytes at once, as a socket does for its own writes.
    let isDone = false;
    const taken = (error?: Error | null): void => {
      if (isDone) return;
      isDone = true;
      session.moved();
      done(error);
    };
    if (last !== undefined) socket.write(last, taken);
    socket.uncork();
    if (socket.writableLength === 0) taken();
  };
  const stream = new Duplex({
    allowHalfOpen: true,
    read() {
      socket.resume();
    },
    write(chunk: Buffer, _encoding, done) {
      send([chunk], done);
    },
    writev(chunks, done) {
      send(
        chunks.map(({ chunk }) => chunk as Buffer),
        done,
      );
    },
    final(done) {
      socket.write(frameHead(toLane.end, 0));
      done();
    },
    destroy(error, done) {
      clearTimeout(timer);
      if (end.current === session) end.current = null;
      // What the pair has not taken is not for the client any more: without the pair, the lane closes the connection.
      if (socket.writableLength > 0) socket.destroy();
      else socket.write(frameHead(toLane.closed, 0));
      socket.resume(); // what still comes is dropped
      done(error);
    },
  });
  const connection = Object.assign(stream, {
    remoteAddress: address,
    encrypted: protocol !== "http",
    bytesRead: 0,
    bytesWritten: 0,
    timeout: 0,
    setTimeout(timeMs: number) {
      clearTimeout(timer);
      connection.timeout = timeMs;
      // Uses a timer of Node instead of a Clock, as sockets do.
      timer = timeMs === 0 ? undefined : setTimeout(() => stream.emit("timeout"), timeMs).unref();
      return connection;
    },
    destroySoon() {
      if (stream.writable) stream.end();
      if (stream.writableFinished) stream.destroy();
      else stream.once("finish", () => stream.destroy());
    },
    setBusy(isNow: boolean) {
      if (isBusy === isNow || stream.destroyed) return;
      isBusy = isNow;
      socket.write(frameHead(toLane.busy, Number(isNow)));
    },
    offerBack() {
      // A response in progress is followed by another offer.
      if (stream.writableLength > 0 || stream.destroyed) return;
      socket.write(frameHead(toLane.idle, session.receivedBytes - stream.readableLength));
    },
  });
  Object.defineProperty(connection, "bytesRead", { get: () => session.receivedBytes });
  Object.defineProperty(connection, "bytesWritten", { get: () => writtenBytes });
  const session: Session = {
    connection,
    receivedBytes: 0,
    moved() {
      timer?.refresh();
    },
  };
  return session;
}
