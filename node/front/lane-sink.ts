/**
 * A sink for the responses that the front sends itself, one after another on one connection. When head and body are
 * available together, they leave in one write.
 */
import { STATUS_CODES } from "node:http";
import type { ClientConnection } from "./client-connection.ts";
import type { Sink } from "../deliver/sink.ts";
import { isEncrypted } from "./relay.ts";

/** The fields of every response, besides its own. They match those of Node's server, so that both answer alike. */
export interface CommonFields {
  /** The value of Date for a response without one, made once per second. */
  readonly date: () => string;
  readonly keepAliveSeconds: number;
  /** Where head and body are joined. Whoever leaves bytes in it that the system has not taken replaces it. */
  joined: Buffer;
}

/** Up to this size, head and body leave in one write: copying them costs less than handing over two buffers. */
export const joinedBytesMax = 80 * 1024;

/** A body in memory of up to this size is copied behind its head. */
const copiedBytesMax = 16 * 1024;

export interface LaneSink extends Sink {
  /**
   * Sends a whole response, head and body, which `write` puts into a buffer of joinedBytesMax, returning its length.
   * @returns the buffer that holds the bytes that the system has not taken
   */
  readonly endWith: (write: (target: Buffer) => number) => Buffer;
  /** To be called before each request: prepares the sink for its response. */
  readonly begin: () => void;
}

export function openLaneSink(socket: ClientConnection, common: CommonFields): LaneSink {
  // A lent connection is encrypted by its lane, later.
  const encryptsAtOnce = isEncrypted(socket) && socket.offerBack === undefined;
  let head: string | null = null;
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
  /** Writes the beginning of the shared buffer, which is replaced if it still holds bytes that were not taken. */
  const writeShared = (length: number): void => {
    write(common.joined.subarray(0, length));
    // TLS has encrypted what it was given, unless that waits behind an earlier write.
    const isCopied = encryptsAtOnce && socket.writableLength === length;
    if (socket.writableLength > 0 && !isCopied) common.joined = Buffer.allocUnsafeSlow(joinedBytesMax);
  };
  /** @returns the buffer that holds the bytes that the system has not taken */
  const writeJoined = (first: string, body: Uint8Array): Buffer => {
    const length = first.length + body.length;
    if (length > common.joined.length) {
      const own = Buffer.allocUnsafeSlow(length);
      own.write(first, "latin1");
      own.set(body, first.length);
      write(own);
      return own;
    }
    const { joined } = common;
    joined.write(first, "latin1");
    joined.set(body, first.length);
    writeShared(length);
    return joined;
  };
  const writeBehindHead = (body: Buffer): boolean => {
    const first = head;
    head = null;
    if (first === null) return write(body);
    if (body.length <= copiedBytesMax) {
      writeJoined(first, body);
      return !socket.writableNeedDrain;
    }
    socket.cork();
    write(Buffer.from(first, "latin1"));
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
    head(status, fields, block = null) {
      head = headText(status, fields, block, common);
    },
    flush() {
      if (head !== null) write(Buffer.from(head, "latin1"));
      head = null;
    },
    allowSilence: () => undefined, // what is stored is never silent
    write: writeBehindHead,
    end(chunk) {
      isEnded = true;
      if (chunk !== undefined && chunk.length > 0) writeBehindHead(chunk);
      else if (head !== null) {
        write(Buffer.from(head, "latin1"));
        head = null;
      } else settle();
    },
    endBorrowed(chunk) {
      isEnded = true;
      const first = head ?? "";
      head = null;
      return writeJoined(first, chunk);
    },
    endWith(fill) {
      isEnded = true;
      const { joined } = common;
      writeShared(fill(joined));
      return joined;
    },
    pendingBytes: () => socket.writableLength,
    taken() {
      if (unwritten === 0 || isGone()) return Promise.resolve();
      whenTaken ??= Promise.withResolvers();
      return whenTaken.promise;
    },
    drained: () => (isGone() || !socket.writableNeedDrain ? Promise.resolve() : drainOf(socket)),
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

function drainOf(socket: ClientConnection): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  });
}

/** Characters that Node's server also refuses in a field value. */
// oxlint-disable-next-line no-control-regex -- these are what is looked for
const unsendable = /[^\t\u0020-\u007e\u0080-\u00ff]/;
/** The same for a block, in which line ends separate the fields. */
// oxlint-disable-next-line no-control-regex -- these are what is looked for
const unsendableInBlock = /[^\t\r\n\u0020-\u007e\u0080-\u00ff]/;

/**
 * Blocks as text, and whether they have a Date. Decoded and checked once per block, because objects are sent many
 * times.
 */
const textOfBlock = new WeakMap<Buffer, { readonly text: string; readonly hasDate: boolean }>();

/** @throws TypeError for a field that can't be sent */
function knownText(block: Buffer): { readonly text: string; readonly hasDate: boolean } {
  let known = textOfBlock.get(block);
  if (known === undefined) {
    const text = block.toString("latin1");
    if (unsendableInBlock.test(text)) throw new TypeError("a field has a character that can't be sent");
    known = { text, hasDate: /^date:/im.test(text) };
    textOfBlock.set(block, known);
  }
  return known;
}

const noBlock = { text: "", hasDate: false };

/** @throws TypeError for a field that can't be sent */
function headText(
  status: number,
  fields: readonly string[],
  block: Buffer | null,
  { date, keepAliveSeconds }: CommonFields,
): string {
  const { text, hasDate } = block === null ? noBlock : knownText(block);
  let isDated = hasDate;
  let own = "";
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? "";
    if (name.length === 4 && name.toLowerCase() === "date") isDated = true;
    const line = `${name}: ${fields[index + 1]}`;
    if (unsendable.test(line)) throw new TypeError("a field has a character that can't be sent");
    own += `${line}\r\n`;
  }
  const dated = isDated ? "" : `Date: ${date()}\r\n`;
  const start = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "unknown"}\r\n`;
  return `${start}${text}${own}${dated}Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveSeconds}\r\n\r\n`;
}
