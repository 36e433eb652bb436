/** The main thread's end of a pair, with a test in place of the lane. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { type Arena, openStreamCalls } from "#base/system-calls.ts";
import type { ClientConnection } from "../../../../node/front/client-connection.ts";
import {
  beginBytesMax,
  frameHead,
  frameHeadBytes,
  textOfBeginning,
  toLane,
  toMain,
} from "../../../../node/front/lane/frames.ts";
import { adoptPair } from "../../../../node/front/lane/lent-connection.ts";
import { needs } from "../../../support/needs.ts";
import { turnsUntil } from "../../../support/turns-until.ts";

interface Ends {
  lane: Socket;
  main: Socket;
  lent: { connection: ClientConnection; listener: number }[];
  /** The frames that the lane has got so far: kind and value, or kind and bytes. Without "taken". */
  frames: () => [kind: number, content: number | string][];
  taken: () => number;
}

function openEnds(t: TestContext): Ends | undefined {
  const calls = openStreamCalls();
  if (typeof calls === "string") {
    needs(t, false, calls);
    return undefined;
  }
  const arena: Arena = calls.mapArena(8);
  assert.equal(calls.pair(arena.address), 0);
  const [mine = -1, other = -1] = new Int32Array(calls.viewArena(arena).bytes);
  const lent: Ends["lent"] = [];
  const lane = new Socket({ fd: mine, readable: true, writable: true });
  const main = adoptPair(other, (connection, listener) => {
    connection.on("error", () => undefined);
    lent.push({ connection, listener });
  });
  t.after(() => {
    lane.destroy();
    main.destroy();
  });
  const chunks: Buffer[] = [];
  lane.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", () => undefined);
  const all = (): [number, number | string][] => readFrames(Buffer.concat(chunks));
  return {
    lane,
    main,
    lent,
    frames: () => all().filter(([kind]) => kind !== toLane.taken),
    taken: () => all().filter(([kind]) => kind === toLane.taken).length,
  };
}

function readFrames(bytes: Buffer): [number, number | string][] {
  const frames: [number, number | string][] = [];
  let at = 0;
  while (at < bytes.length) {
    const [kind, value] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
    at += frameHeadBytes;
    const length = kind === toLane.data ? value : 0;
    frames.push([kind, kind === toLane.data ? bytes.toString("latin1", at, at + length) : value]);
    at += length;
  }
  return frames;
}

const begin = (listener: number, address: string): Buffer =>
  Buffer.concat([
    frameHead(toMain.begin, beginBytesMax),
    Buffer.from(textOfBeginning({ listener, address, port: 5000, protocol: "http" }).padEnd(beginBytesMax)),
  ]);
const data = (text: string): Buffer => Buffer.concat([frameHead(toMain.data, text.length), Buffer.from(text)]);

test("frames that arrive byte by byte are the same connection", async (t) => {
  const ends = openEnds(t);
  if (ends === undefined) return;
  const { lane, lent, frames } = ends;
  const bytes = Buffer.concat([begin(7, "2001:db8::1"), data("GET "), data("/"), frameHead(toMain.end, 0)]);
  for (const byte of bytes) {
    lane.write(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  await turnsUntil(() => lent.length === 1);
  const [{ connection, listener } = {}] = lent;
  assert.ok(connection !== undefined);
  assert.deepEqual([listener, connection.remoteAddress], [7, "2001:db8::1"]);
  let text = "";
  connection.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await once(connection, "end");
  assert.deepEqual([text, connection.bytesRead], ["GET /", 5]);
  connection.write("one");
  connection.cork();
  connection.write("two");
  connection.write("three");
  connection.uncork();
  connection.destroySoon();
  await once(connection, "close");
  await turnsUntil(() => frames().length === 4);
  assert.deepEqual(frames(), [
    [toLane.data, "one"],
    [toLane.data, "twothree"],
    [toLane.end, 0],
    [toLane.closed, 0],
  ]);
});

test("what comes for a session that is over is ignored; each session ends with one `closed`", async (t) => {
  const ends = openEnds(t);
  if (ends === undefined) return;
  const { lane, lent, frames } = ends;
  lane.write(Buffer.concat([begin(1, "192.0.2.1"), data("a")]));
  await turnsUntil(() => lent.length === 1);
  lent[0]?.connection.destroy();
  lane.write(Buffer.concat([data("late"), frameHead(toMain.end, 0), frameHead(toMain.gone, 0)]));
  lane.write(Buffer.concat([begin(1, "192.0.2.2"), data("b"), frameHead(toMain.leave, 0), frameHead(toMain.leave, 0)]));
  await turnsUntil(() => lent[1]?.connection.closed === true);
  lane.write(Buffer.concat([begin(1, "192.0.2.3"), frameHead(toMain.gone, 0)]));
  await turnsUntil(() => lent[2]?.connection.closed === true && frames().length === 3);
  assert.deepEqual(
    lent.map(({ connection }) => [connection.remoteAddress, connection.errored?.message]),
    [
      ["192.0.2.1", undefined],
      ["192.0.2.2", undefined],
      ["192.0.2.3", "read ECONNRESET"],
    ],
  );
  assert.deepEqual(
    frames(),
    lent.map(() => [toLane.closed, 0]),
  );
});

test("a session is taken in the turn after it began, or else over", async (t) => {
  const ends = openEnds(t);
  if (ends === undefined) return;
  const { lane, lent, frames, taken } = ends;
  lane.write(begin(1, "192.0.2.1"));
  await turnsUntil(() => lent.length === 1 && taken() === 1);
  lane.write(Buffer.concat([frameHead(toMain.leave, 0), begin(1, "192.0.2.2"), frameHead(toMain.leave, 0)]));
  await turnsUntil(() => frames().length === 2);
  lane.write(begin(1, "192.0.2.3"));
  await turnsUntil(() => taken() === 2);
  assert.equal(lent.length, 3);
});

test("an offer names the bytes that were read, not those that wait", async (t) => {
  const ends = openEnds(t);
  if (ends === undefined) return;
  const { lane, lent, frames } = ends;
  lane.write(Buffer.concat([begin(1, "192.0.2.1"), data("12345")]));
  await turnsUntil(() => lent.length === 1);
  const [{ connection } = {}] = lent;
  assert.ok(connection !== undefined);
  connection.once("data", () => {
    connection.pause();
    lane.write(data("678"));
  });
  await turnsUntil(() => connection.readableLength === 3);
  connection.offerBack?.();
  connection.resume();
  await turnsUntil(() => connection.readableLength === 0);
  connection.offerBack?.();
  await turnsUntil(() => frames().length === 2);
  assert.deepEqual(frames(), [
    [toLane.idle, 5],
    [toLane.idle, 8],
  ]);
});

test("a connection that is destroyed with bytes that the pair has not taken ends the pair", async (t) => {
  const ends = openEnds(t);
  if (ends === undefined) return;
  const { lane, main, lent } = ends;
  lane.write(begin(1, "192.0.2.1"));
  await turnsUntil(() => lent.length === 1);
  lane.pause();
  const [{ connection } = {}] = lent;
  assert.ok(connection !== undefined);
  connection.write(Buffer.alloc(4 * 1024 * 1024));
  assert.ok(connection.writableLength > 0);
  connection.destroy();
  await turnsUntil(() => main.closed);
  lane.resume();
  await once(lane, "close");
});

test("the timer of setTimeout() begins anew when something moves", async (t) => {
  const ends = openEnds(t);
  if (ends === undefined) return;
  const { lane, lent } = ends;
  lane.write(begin(1, "192.0.2.1"));
  await turnsUntil(() => lent.length === 1);
  const [{ connection } = {}] = lent;
  assert.ok(connection !== undefined);
  let timeouts = 0;
  connection.on("timeout", () => (timeouts += 1));
  connection.on("data", () => undefined);
  connection.setTimeout(1000);
  assert.equal(connection.timeout, 1000);
  for (let move = 0; move < 12; move += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (move % 2 === 0) lane.write(data("x"));
    else connection.write("y");
  }
  assert.equal(timeouts, 0);
  await once(connection, "timeout");
  connection.setTimeout(0);
  assert.equal(connection.timeout, 0);
});
