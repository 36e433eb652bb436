/**
 * HTTP/2 by hand (RFC 9113, RFC 7541): frames onto a socket as a test writes them, and the frames that come back, read
 * by a parser that is not Node's.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { TestContext } from "node:test";

/** §6 */
export const type = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** §7 */
export const code = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSize: 6,
  refused: 7,
  cancel: 8,
  compression: 9,
  connect: 10,
  calm: 11,
} as const;

/** §6.5.2 */
export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

export interface Frame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

/** @param length told in the header; by default, that of the payload */
export function frame(kind: number, flags: number, stream: number, payload: Buffer, length = payload.length): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head.writeUInt8(kind, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, 4 * index);
  return bytes;
}

export function settings(...pairs: (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, 6 * index);
    payload.writeUInt32BE(value >>> 0, 6 * index + 2);
  }
  return frame(type.settings, 0, 0, payload);
}

export const settingsAck = frame(type.settings, flag.ack, 0, Buffer.alloc(0));

export function ping(text = "pingpong", flags = 0): Buffer {
  return frame(type.ping, flags, 0, Buffer.from(text));
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame(type.windowUpdate, 0, stream, uint32(increment));
}

export function reset(stream: number, why: number = code.cancel): Buffer {
  return frame(type.reset, 0, stream, uint32(why));
}

export function data(stream: number, bytes: Buffer | string, flags = 0): Buffer {
  return frame(type.data, flags, stream, Buffer.from(bytes));
}

/** A number with a prefix of some bits (RFC 7541 §5.1). */
export function integer(value: number, prefixBits: number, firstBits = 0): Buffer {
  const most = 2 ** prefixBits - 1;
  if (value < most) return Buffer.from([firstBits | value]);
  const bytes = [firstBits | most];
  let left = value - most;
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) | 0x80);
  bytes.push(left);
  return Buffer.from(bytes);
}

/** Without Huffman coding (§5.2). */
export function string(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([integer(bytes.length, 7), bytes]);
}

/** Literals that are not indexed, by new names (§6.2.2). @param list names and values in turn */
export function block(...list: string[]): Buffer {
  const parts: Buffer[] = [];
  for (let index = 0; index < list.length; index += 2) {
    parts.push(Buffer.from([0]), string(list[index] ?? ""), string(list[index + 1] ?? ""));
  }
  return Buffer.concat(parts);
}

/** A request's fields. `/hit` is answered at once, `/held` never. */
export function get(path = "/hit", ...more: string[]): string[] {
  return [":method", "GET", ":scheme", "http", ":path", path, ":authority", "x", ...more];
}

export function post(path = "/held", ...more: string[]): string[] {
  return get(path, ...more).with(1, "POST");
}

/** A HEADERS frame with a whole field section. */
export function headers(stream: number, list: readonly string[], flags: number = flag.endStream): Buffer {
  return frame(type.headers, flag.endHeaders | flags, stream, block(...list));
}

export interface Raw {
  socket: Socket;
  send: (...bytes: (Buffer | string)[]) => void;
  /** All frames so far. */
  frames: readonly Frame[];
  isClosed: () => boolean;
  /** Resolves with the first frame like this, of those that were not awaited yet; undefined: the connection closed. */
  next: (isWanted: (frame: Frame) => boolean) => Promise<Frame | undefined>;
  /** Resolves when the other side has closed the connection. */
  closed: () => Promise<void>;
}

/** What never comes fails the test by this; nothing is measured with it. */
const patienceMs = 10_000;

/** A connection on which nothing was sent yet. */
export async function openRaw(
  t: TestContext,
  at: { address: string; port: number; localAddress?: string },
): Promise<Raw> {
  const { address, port, localAddress } = at;
  const socket = connect({
    host: address,
    port,
    noDelay: true,
    ...(localAddress === undefined ? {} : { localAddress }),
  });
  t.after(() => {
    socket.destroy();
  });
  const frames: Frame[] = [];
  const awaited = new Set<Frame>();
  const listeners = new Set<() => void>();
  let rest: Buffer = Buffer.alloc(0);
  let isClosed = false;
  const look = (): void => {
    for (const listener of listeners) listener();
  };
  socket.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const length = rest.readUIntBE(0, 3);
      const payload = rest.subarray(9, 9 + length);
      frames.push({ type: rest[3] ?? 0, flags: rest[4] ?? 0, stream: rest.readUInt32BE(5), payload });
      rest = rest.subarray(9 + length);
    }
    look();
  });
  socket.on("error", () => undefined); // a reset is an end like others; what matters is what came before it
  socket.on("close", () => {
    isClosed = true;
    look();
  });
  socket.on("end", () => socket.end());
  socket.setTimeout(patienceMs, () => socket.destroy(new Error("nothing has come")));
  await once(socket, "connect");
  const until = async <T>(find: () => T | undefined): Promise<T> =>
    await new Promise((resolve) => {
      const check = (): void => {
        const found = find();
        if (found === undefined) return;
        listeners.delete(check);
        resolve(found);
      };
      listeners.add(check);
      check();
    });
  return {
    socket,
    send(...bytes) {
      socket.write(Buffer.concat(bytes.map((part) => Buffer.from(part as string, "latin1"))));
    },
    frames,
    isClosed: () => isClosed,
    async next(isWanted) {
      const found = await until(
        () => frames.find((one) => !awaited.has(one) && isWanted(one)) ?? (isClosed || undefined),
      );
      if (found === true) return undefined;
      awaited.add(found);
      return found;
    },
    async closed() {
      await until(() => isClosed || undefined);
    },
  };
}

/** A connection on which both sides have sent and acknowledged their settings. */
export async function openFrames(
  t: TestContext,
  at: { address: string; port: number; localAddress?: string },
  ...own: (readonly [id: number, value: number])[]
): Promise<Raw> {
  const raw = await openRaw(t, at);
  raw.send(preface, settings(...own));
  await raw.next((one) => one.type === type.settings && one.flags === 0);
  raw.send(settingsAck);
  await raw.next((one) => one.type === type.settings && one.flags === flag.ack);
  return raw;
}
