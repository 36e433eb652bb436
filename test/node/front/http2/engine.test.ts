/**
 * The engine between two byte streams: whatever the pieces and the windows are, the bytes are the same, and no window
 * is overrun; what a client costs beyond its allowance ends its connection.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import {
  code,
  data,
  flag,
  type Frame,
  frame,
  get,
  headers,
  ping,
  post,
  preface,
  reset,
  setting,
  settings,
  settingsAck,
  type,
  windowUpdate,
} from "../../../conformance/http2/frames.ts";
import { heldBytesOf } from "../../../../node/front/http2/connection.ts";
import { bodyOf, openMemoryServer } from "./memory-server.ts";

const start = Buffer.concat([Buffer.from(preface), settings(), settingsAck]);

function openReader() {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes: Buffer): Frame[] => {
    rest = Buffer.concat([rest, bytes]);
    const frames: Frame[] = [];
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const length = rest.readUIntBE(0, 3);
      const payload = rest.subarray(9, 9 + length);
      frames.push({ type: rest[3] ?? 0, flags: rest[4] ?? 0, stream: rest.readUInt32BE(5), payload });
      rest = rest.subarray(9 + length);
    }
    return frames;
  };
}

const goawayCode = (frames: readonly Frame[]): number | undefined =>
  frames.find((one) => one.type === type.goaway)?.payload.readUInt32BE(4);

/** One random client: it opens streams, changes its windows, and gives its bytes in random pieces. */
function runClient(seed: number): void {
  const random = seededRandom(seed);
  const server = openMemoryServer(random() < 0.5 ? 40 * 1024 : 80 * 1024);
  const readFrames = openReader();
  const below = (most: number): number => Math.floor(random() * most);
  let initial = 65_535;
  let connectionWindow = 65_535;
  const streams = new Map<number, { window: number; wanted: Buffer; got: Buffer[]; isEnded: boolean }>();
  let queue: Buffer = start;
  let next = 1;
  const where = `SEED=${seed}`;
  const take = (bytes: Buffer): void => {
    for (const one of readFrames(bytes)) {
      assert.notEqual(one.type, type.goaway, where);
      assert.ok(one.payload.length <= 16_384, where);
      const stream = streams.get(one.stream);
      if (one.type === type.headers) assert.equal(one.flags & flag.endHeaders, flag.endHeaders, where);
      if (one.type !== type.data || stream === undefined) continue;
      assert.ok(!stream.isEnded, where);
      stream.window -= one.payload.length;
      connectionWindow -= one.payload.length;
      assert.ok(
        one.payload.length === 0 || (stream.window >= 0 && connectionWindow >= 0),
        `${where}: a window is overrun`,
      );
      stream.got.push(one.payload);
      if ((one.flags & flag.endStream) !== 0) stream.isEnded = true;
    }
  };
  /** Windows count from the moment when the server can know of them. */
  const flush = (): void => {
    while (queue.length > 0) {
      const piece = queue.subarray(0, 1 + below(random() < 0.1 ? 4000 : 40));
      queue = queue.subarray(piece.length);
      take(server.give(piece));
    }
  };
  const isOver = (): boolean => [...streams.values()].every(({ isEnded }) => isEnded);
  for (let step = 0; step < 400 && !(step > 60 && isOver()); step += 1) {
    const what = random();
    if (step < 60 && what < 0.3 && [...streams.values()].filter(({ isEnded }) => !isEnded).length < 90) {
      const length = 1 + below(random() < 0.2 ? 200_000 : 3000);
      streams.set(next, { window: initial, wanted: bodyOf(length), got: [], isEnded: false });
      queue = Buffer.concat([queue, headers(next, get(random() < 0.5 ? `/${length}` : `/file/${length}`))]);
      next += 2;
    } else if (what < 0.4) {
      const size = below(random() < 0.5 ? 100 : 100_000);
      flush(); // a smaller window counts from now on, and larger ones before the bytes that use them
      for (const stream of streams.values()) stream.window += size - initial;
      initial = size;
      queue = settings([setting.initialWindowSize, size]);
    } else if (what < 0.7) {
      const more = 1 + below(random() < 0.5 ? 50 : 300_000);
      connectionWindow += more;
      queue = Buffer.concat([queue, windowUpdate(0, more)]);
    } else {
      for (const [id, stream] of streams) {
        if (stream.isEnded || random() < 0.5) continue;
        const more = 1 + below(random() < 0.2 ? 50 : 200_000);
        stream.window += more;
        queue = Buffer.concat([queue, windowUpdate(id, more)]);
      }
    }
    if (random() < 0.7) flush();
    if (random() < 0.05) {
      server.takes(false);
      flush();
      take(server.takes(true));
    }
    server.skip(1000);
  }
  flush();
  for (const [id, { isEnded, window }] of streams) {
    if (!isEnded)
      take(
        server.give(Buffer.concat([windowUpdate(id, 2 ** 31 - 1 - Math.max(0, window)), windowUpdate(0, 1_000_000)])),
      );
  }
  for (const [id, { wanted, got, isEnded }] of streams) {
    assert.ok(isEnded, `${where}: stream ${id} has ended`);
    assert.ok(Buffer.concat(got).equals(wanted), `${where}: stream ${id} has its bytes`);
  }
  assert.equal(server.connection.streams.size, 0, where);
}

test("whatever the pieces and windows are, all bytes arrive, and no window is overrun", () => {
  const first = seedOr(2033);
  for (let seed = first; seed < first + rounds(60, 3000); seed += 1) runClient(seed);
});

test("streams share the connection: one frame of each in turn", () => {
  const server = openMemoryServer();
  const readFrames = openReader();
  const opened = [1, 3, 5].map((id) => headers(id, get("/100000")));
  const frames = readFrames(server.give(Buffer.concat([start, windowUpdate(0, 1_000_000), ...opened])));
  const order = frames.filter((one) => one.type === type.data).map(({ stream }) => stream);
  assert.deepEqual(order.slice(0, 9), [1, 3, 5, 1, 3, 5, 1, 3, 5]);
});

test("a client that reads nothing gets no more than one output's worth, and nothing is read from it", () => {
  const server = openMemoryServer();
  server.give(start);
  server.takes(false);
  for (let count = 0; count < 3000; count += 1) server.give(ping());
  server.give(Buffer.concat(Array.from({ length: 90 }, (_, index) => headers(1 + index * 2, get("/100000")))));
  assert.ok(server.unsentBytes() < 200 * 1024, `${server.unsentBytes()} bytes wait`);
  assert.ok(server.targets.length < 20);
});

test("random bytes, and damaged frames, end in GOAWAY or are read, within bounds", () => {
  const seed = seedOr(2034);
  const random = seededRandom(seed);
  const kinds = [
    () => headers(1 + 2 * Math.floor(random() * 20), get("/300")),
    () => headers(1 + 2 * Math.floor(random() * 20), post("/later"), 0),
    () => data(1 + 2 * Math.floor(random() * 20), "x".repeat(random() * 100), random() < 0.5 ? flag.endStream : 0),
    () => reset(1 + 2 * Math.floor(random() * 20)),
    () => windowUpdate(Math.floor(random() * 20), Math.floor(random() * 1000)),
    () => settings([Math.floor(random() * 8), Math.floor(random() * 100_000)]),
    () => ping(),
    () =>
      frame(
        Math.floor(random() * 12),
        Math.floor(random() * 256),
        Math.floor(random() * 9),
        Buffer.alloc(random() * 50),
      ),
  ];
  for (let count = 0; count < rounds(300, 20_000); count += 1) {
    const server = openMemoryServer();
    server.give(start);
    for (let step = 0; step < 100; step += 1) {
      const one = kinds[Math.floor(random() * kinds.length)]?.() ?? ping();
      if (random() < 0.02) one[Math.floor(random() * one.length)] = Math.floor(random() * 256);
      server.give(one);
      const { connection } = server;
      assert.ok(connection.streams.size <= 100 && connection.forgotten.size <= 256, `SEED=${seed}, ${count}`);
      assert.ok(connection.frame === null || connection.frame.length <= 32_768);
      if (connection.phase === "failed") break;
    }
  }
});

for (const [claim, sent, cause] of [
  ["PING", () => ping(), "frames"],
  ["SETTINGS", () => settings([setting.initialWindowSize, 1]), "frames"],
  ["PRIORITY", () => frame(type.priority, 0, 1, Buffer.alloc(5)), "frames"],
  ["empty DATA", () => data(1, ""), "frames"],
  ["WINDOW_UPDATE by 1", () => windowUpdate(1, 1), "frames"],
  ["WINDOW_UPDATE of the connection by 1", () => windowUpdate(0, 1), "frames"],
  ["unknown frames", () => frame(0x42, 0, 0, Buffer.alloc(0)), "frames"],
] as const) {
  test(`a flood of ${claim} ends the connection, and a slow one does not`, () => {
    const open = Buffer.concat([start, settings([setting.initialWindowSize, 0]), headers(1, post("/later"), 0)]);
    const fast = openMemoryServer();
    fast.give(open);
    let frames: Frame[] = [];
    const readFrames = openReader();
    let count = 0;
    for (; count < 20_000 && goawayCode(frames) === undefined; count += 1) frames = readFrames(fast.give(sent()));
    assert.equal(goawayCode(frames), code.calm);
    assert.ok(count > 1000, `${count} frames were allowed`);
    assert.deepEqual(fast.floods, [cause]);
    const slow = openMemoryServer();
    slow.give(open);
    for (let second = 0; second < 100; second += 1) {
      for (let one = 0; one < 200; one += 1) slow.give(sent());
      slow.skip(1000);
    }
    assert.equal(slow.connection.phase, "open");
  });
}

test("streams that are reset at once end the connection", () => {
  const server = openMemoryServer();
  server.give(start);
  let id = 1;
  for (; server.connection.phase === "open" && id < 4000; id += 2)
    server.give(Buffer.concat([headers(id, get("/later")), reset(id)]));
  assert.deepEqual(server.floods, ["resets"]);
  assert.ok(id > 2 * 150 && id < 2 * 300, `${id}`);
});

test("a download pays for its WINDOW_UPDATEs", () => {
  const server = openMemoryServer();
  const readFrames = openReader();
  let bytes = server.give(
    Buffer.concat([start, settings([setting.initialWindowSize, 4096]), headers(1, get("/20000000"))]),
  );
  let got = 0;
  while (got < 20_000_000) {
    let more = 0;
    for (const one of readFrames(bytes)) if (one.type === type.data) more += one.payload.length;
    assert.ok(more > 0, `stopped after ${got} bytes`);
    got += more;
    bytes = server.give(Buffer.concat([windowUpdate(1, more), windowUpdate(0, more)]));
  }
  assert.deepEqual(server.floods, []);
});

test("behind GOAWAY, streams in progress end, and new ones are not answered", () => {
  const server = openMemoryServer();
  const readFrames = openReader();
  const first = readFrames(server.give(Buffer.concat([start, headers(1, get("/100000"))])));
  assert.equal(goawayCode(first), undefined);
  const drained = readFrames(server.drain());
  assert.equal(goawayCode(drained), code.none);
  assert.equal(drained.find((one) => one.type === type.goaway)?.payload.readUInt32BE(0), 1, "the last stream");
  const rest = readFrames(
    server.give(Buffer.concat([headers(3, get("/5")), windowUpdate(0, 100_000), windowUpdate(1, 100_000)])),
  );
  assert.ok(rest.every(({ stream }) => stream !== 3));
  assert.ok(rest.some(({ stream, flags }) => stream === 1 && (flags & flag.endStream) !== 0));
  assert.deepEqual(server.targets, ["/100000"]);
  assert.equal(server.connection.streams.size, 0);
});

test("a client that leaves has no streams any more", () => {
  const server = openMemoryServer();
  server.give(Buffer.concat([start, headers(1, get("/100000")), headers(3, get("/later"))]));
  server.leave();
  assert.deepEqual(server.closed, [1, 3]);
});

test("a long head goes out in several frames, and nothing comes between them", () => {
  const server = openMemoryServer();
  const frames = openReader()(
    server.give(Buffer.concat([start, headers(1, get("/100000")), headers(3, get("/long/50000"))])),
  );
  const at = frames.findIndex((one) => one.stream === 3 && one.type === type.headers);
  const kinds = frames.slice(at, at + 4).map((one) => [one.type, one.stream, one.flags]);
  assert.deepEqual(kinds, [
    [type.headers, 3, flag.endStream],
    [type.continuation, 3, 0],
    [type.continuation, 3, 0],
    [type.continuation, 3, flag.endHeaders],
  ]);
});

test("a smaller table of the client is answered in the next field section (RFC 7541 §4.2)", () => {
  const server = openMemoryServer();
  const frames = openReader()(
    server.give(
      Buffer.concat([start, settings([setting.headerTableSize, 0]), headers(1, get("/5")), headers(3, get("/5"))]),
    ),
  );
  const sections = frames.filter((one) => one.type === type.headers).map(({ payload }) => payload[0]);
  assert.deepEqual(sections, [0x20, 0x88]);
});

test("what has arrived of a frame takes memory, and not what it announces", () => {
  const server = openMemoryServer();
  server.give(start);
  const large = frame(type.headers, flag.endStream, 1, Buffer.alloc(16_384));
  server.give(large.subarray(0, 20));
  assert.ok(heldBytesOf(server.connection) <= 256);
  for (let at = 20; at < large.length; at += 1) server.give(large.subarray(at, at + 1));
  assert.ok(heldBytesOf(server.connection) <= 32_768);
});
