/**
 * A sink for the responses that the front sends itself, one after another on one connection. Head and body leave in
 * one write where they come together.
 */
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Sink } from "../deliver/sink.ts";

/** What every response has beside its own fields: as Node's server writes it, so that both lanes answer alike. */
export interface CommonFields {
  /** The value of Date for a response without one, made once per second. */
  readonly date: () => string;
  readonly keepAliveSeconds: number;
}

export interface LaneSink extends Sink {
  /** Until the response to the request that begins now has ended. */
  readonly begin: () => void;
}

/** A body up to here is copied behind its head: one buffer costs less than two to hand over. */
const joinedBytesMax = 8192;

export function openLaneSink(socket: Socket, common: CommonFields): LaneSink {
  let head: Buffer | null = null;
  let unwritten = 0;
  let isEnded = false;
  let whenClosed: PromiseWithResolvers<void> | undefined;
  let whenTaken: PromiseWithResolvers<void> | undefined;

  const isGone = (): boolean => socket.destroyed || socket.closed;
  const settle = (): void => {
    if (unwritten > 0 && !isGone()) return;
    whenTaken?.resolve();
    whenTaken = undefined;
    if (!isEnded && !isGone()) return;
    whenClosed?.resolve();
    whenClosed = undefined;
  };
  const written = (): void => {
    unwritten -= 1;
    settle();
  };
  const write = (bytes: Buffer): boolean => {
    unwritten += 1;
    return socket.write(bytes, written);
  };
  const writeBehindHead = (body: Buffer): boolean => {
    const first = head;
    head = null;
    if (first === null) return write(body);
    if (body.length <= joinedBytesMax) return write(Buffer.concat([first, body], first.length + body.length));
    socket.cork();
    write(first);
    const isReady = write(body);
    socket.uncork();
    return isReady;
  };
  socket.on("close", settle);

  return {
    begin() {
      head = null;
      isEnded = false;
    },
    head(status, fields) {
      head = headBlock(status, fields, common);
    },
    flush() {
      if (head !== null) write(head);
      head = null;
    },
    allowSilence: () => undefined, // what is stored is never silent
    write: writeBehindHead,
    end(chunk) {
      isEnded = true;
      if (chunk !== undefined && chunk.length > 0) writeBehindHead(chunk);
      else if (head !== null) {
        write(head);
        head = null;
      } else settle();
    },
    pendingBytes: () => socket.writableLength,
    taken() {
      if (unwritten === 0 || isGone()) return Promise.resolve();
      whenTaken ??= Promise.withResolvers();
      return whenTaken.promise;
    },
    drained: () =>
      new Promise((resolve) => {
        if (isGone() || !socket.writableNeedDrain) {
          resolve();
          return;
        }
        const done = (): void => {
          socket.off("drain", done).off("close", done);
          resolve();
        };
        socket.on("drain", done).on("close", done);
      }),
    isClosed: () => isGone() || (isEnded && unwritten === 0),
    closed() {
      if (isGone() || (isEnded && unwritten === 0)) return Promise.resolve();
      whenClosed ??= Promise.withResolvers();
      return whenClosed.promise;
    },
    isComplete: () => isEnded && unwritten === 0 && socket.errored === null,
    cut() {
      if (!(isEnded && unwritten === 0)) socket.destroy();
    },
  };
}

/** Characters that Node's server refuses in a field's value, too; line ends are the exception that splits fields. */
// oxlint-disable-next-line no-control-regex -- these are what is looked for
const unsendable = /[^\t\r\n\u0020-\u007e\u0080-\u00ff]/;

/** @throws TypeError for a field that can't be sent */
function headBlock(status: number, fields: readonly string[], { date, keepAliveSeconds }: CommonFields): Buffer {
  let block = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "unknown"}\r\n`;
  let hasDate = false;
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? "";
    if (name.length === 4 && name.toLowerCase() === "date") hasDate = true;
    block += `${name}: ${fields[index + 1]}\r\n`;
  }
  if (!hasDate) block += `Date: ${date()}\r\n`;
  block += `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveSeconds}\r\n\r\n`;
  if (unsendable.test(block)) throw new TypeError("a field has a character that can't be sent");
  return Buffer.from(block, "latin1");
}
