/**
 * A server of HTTP/2 without a socket: the engine of node/front/http2/ between two byte streams. It answers `/N` with N
 * bytes that are the same for each path, `/file/N` with N bytes of a file, `/long/N` with a head of N bytes, and
 * `/later` never.
 */
import { newRequestHead, type RequestHead } from "../../../../node/front/request-head.ts";
import {
  type Connection,
  type Flood,
  type Host,
  limits,
  newConnection,
  type Stream,
} from "../../../../node/front/http2/connection.ts";
import { newFieldList } from "../../../../node/front/http2/hpack-decoder.ts";
import {
  encodedBytesMax,
  encodeFields,
  encodeLines,
  encodeStatus,
} from "../../../../node/front/http2/hpack-encoder.ts";
import { plainBytesMax, readPlainRequest } from "../../../../node/front/http2/plain-request.ts";
import { read } from "../../../../node/front/http2/reading.ts";
import {
  beginHeaders,
  closeAll,
  endHeaders,
  offer,
  pump,
  sendGoaway,
  sendSection,
} from "../../../../node/front/http2/sending.ts";

export function bodyOf(length: number): Buffer {
  return Buffer.alloc(length, "0123456789abcdefghijklmnopqrstuvw");
}

export interface MemoryServer {
  readonly connection: Connection;
  /** Gives bytes to the engine, and returns what it sends. */
  readonly give: (bytes: Buffer) => Buffer;
  /** While it does not take anything, the engine is blocked. */
  readonly takes: (isTaking: boolean) => Buffer;
  /** Says that no new streams are answered. */
  readonly drain: () => Buffer;
  /** The client's socket is gone. */
  readonly leave: () => void;
  /** Bytes that wait for the client. */
  readonly unsentBytes: () => number;
  readonly floods: Flood[];
  readonly closed: number[];
  readonly targets: string[];
  readonly skip: (ms: number) => void;
}

/** What a flush may leave in the output, if more follows. */
const heldBytesMax = 16 * 1024;

export function openMemoryServer(outputBytes = 80 * 1024): MemoryServer {
  let nowMs = 1000;
  let isTaking = true;
  let unsent: Buffer[] = [];
  let sent: Buffer[] = [];
  let waiting: Buffer = Buffer.alloc(0);
  const floods: Flood[] = [];
  const closed: number[] = [];
  const targets: string[] = [];
  const text = Buffer.alloc(plainBytesMax);
  const head: RequestHead = newRequestHead();
  const bytes = Buffer.alloc(outputBytes);
  const host: Host = {
    output: { bytes, start: 16, end: outputBytes, at: 16 },
    list: newFieldList(limits),
    flush(flushed, hasMore) {
      // As lanes do with TLS: the rest waits for what follows.
      const held = hasMore && isTaking ? (host.output.at - 16) % heldBytesMax : 0;
      const frames = Buffer.from(bytes.subarray(16, host.output.at - held));
      bytes.copyWithin(16, host.output.at - held, host.output.at);
      host.output.at = 16 + held;
      if (frames.length === 0) return;
      (isTaking ? sent : unsent).push(frames);
      flushed.isBlocked = !isTaking;
    },
    request(to, stream) {
      if (!readPlainRequest(host.list, text, head)) {
        targets.push("(not plain)");
        return;
      }
      const target = text.toString("latin1", head.targetStart, head.targetEnd);
      targets.push(target);
      if (target.startsWith("/long/")) sendLong(to, stream, Number(target.slice(6)));
      else if (target !== "/later") answer(to, stream, target, head.isHead);
    },
    readFile(_file, offset, at, lengthBytes) {
      bodyOf(offset + lengthBytes).copy(bytes, at, offset);
      return true;
    },
    closed(_connection, { id }) {
      closed.push(id);
    },
    mayReset: () => true,
    flooded(flood) {
      floods.push(flood);
    },
    malformed: () => undefined,
    nowMs: () => nowMs,
  };

  function answer(to: Connection, stream: Stream, target: string, isHead: boolean): void {
    const length = isHead ? 0 : Number(/\d+$/.exec(target)?.[0] ?? 0);
    const lines = Buffer.from(`Content-Length: ${length}\r\nConnection: keep-alive\r\nX-Long: ${"l".repeat(200)}\r\n`);
    const start = beginHeaders(to, host, 1024);
    const end = encodeLines(lines, 0, lines.length, bytes, encodeStatus(200, bytes, start));
    if (length > 0) {
      const isFile = target.startsWith("/file/");
      stream.source = isFile
        ? { kind: "file", file: 1, offset: 0, isOwn: false }
        : { kind: "memory", bytes: bodyOf(length), at: 0, copiedBytes: 0 };
    }
    endHeaders(to, host, stream, end, length === 0);
    if (length > 0) offer(to, stream, length, true);
  }

  function sendLong(to: Connection, stream: Stream, length: number): void {
    const fields = ["x-long", "l".repeat(length)];
    const section = Buffer.alloc(encodedBytesMax(fields) + 8);
    const end = encodeFields(fields, section, encodeStatus(200, section, 0));
    sendSection(to, host, stream, section.subarray(0, end), { isLast: true });
  }

  const connection = newConnection(nowMs);
  const settle = (): Buffer => {
    for (;;) {
      if (!connection.isBlocked) {
        const at = read(connection, host, waiting, 0, waiting.length, 16);
        const isStuck = at === 0 && waiting.length > 0;
        waiting = waiting.subarray(at);
        pump(connection, host, 64 * 1024);
        host.flush(connection, false);
        if (!isStuck && (waiting.length > 0 || canSend(connection)) && !connection.isBlocked) continue;
      }
      const frames = Buffer.concat(sent);
      sent = [];
      return frames;
    }
  };
  return {
    connection,
    give(more) {
      waiting = Buffer.concat([waiting, more]);
      return settle();
    },
    takes(now) {
      isTaking = now;
      if (!now) return Buffer.alloc(0);
      sent.push(...unsent);
      unsent = [];
      connection.isBlocked = false;
      return settle();
    },
    drain() {
      sendGoaway(connection, host, 0);
      return settle();
    },
    leave() {
      closeAll(connection, host);
    },
    unsentBytes: () => unsent.reduce((sum, { length }) => sum + length, 0),
    floods,
    closed,
    targets,
    skip(ms) {
      nowMs += ms;
    },
  };
}

function canSend({ turns, sendWindow, phase }: Connection): boolean {
  return phase !== "failed" && turns.length > 0 && sendWindow > 0;
}
