/** More connections than there may be: who has the most idle ones makes room. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test as testOnce, type TestContext } from "node:test";
import { levelFor } from "../../../node/front/crowd.ts";
import { seededRandom } from "#base/random.ts";
import { get, startFronted, test, turns } from "./fronted.ts";

testOnce("the level takes what is wanted, from the largest alone, and little more", () => {
  assert.equal(levelFor([10], 3), 7);
  assert.equal(levelFor([10, 2], 3), 7);
  assert.equal(levelFor([10, 8, 2], 6), 6);
  assert.equal(levelFor([5, 5, 5], 1), 4);
  assert.equal(levelFor([1, 1], 5), 0);
  const random = seededRandom(3);
  for (let round = 0; round < 500; round += 1) {
    const counts = Array.from({ length: 1 + Math.floor(random() * 20) }, () => 1 + Math.floor(random() * 100));
    const total = counts.reduce((sum, count) => sum + count, 0);
    const wanted = 1 + Math.floor(random() * total);
    const level = levelFor(counts, wanted);
    const gone = (to: number): number => counts.reduce((sum, count) => sum + Math.max(0, count - to), 0);
    assert.ok(gone(level) >= wanted && gone(level + 1) < wanted, JSON.stringify({ counts, wanted, level }));
  }
});

async function open(t: TestContext, port: number, localAddress: string): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, localAddress });
  t.after(() => socket.destroy());
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** The answer's first line, or "" when the connection closes without one. */
async function ask(socket: Socket, target: string): Promise<string> {
  socket.write(get(target));
  const [chunk] = (await Promise.race([once(socket, "data"), once(socket, "close").then(() => [""])])) as [Buffer | ""];
  return chunk.toString().split("\r\n", 1)[0] ?? "";
}

test("idle connections of one network make room for others; those of others stay, and so do busy ones", async (t) => {
  const fronted = await startFronted(t, { connectionsMax: 32 });
  const { port } = fronted.listener;
  const [calm, busy] = [await open(t, port, "127.0.7.1"), await open(t, port, "127.0.8.1")];
  assert.match(await ask(calm, "/hit/calm"), /200/);
  busy.write(get("/held/busy"));
  const held = await fronted.held();
  const crowd: Socket[] = [];
  const closed = new Set<Socket>();
  for (let count = 0; count < 100; count += 1) {
    const socket = await open(t, port, `127.0.8.${2 + (count % 50)}`);
    socket.on("close", () => closed.add(socket));
    crowd.push(socket);
  }
  for (let count = 0; count < 10; count += 1) {
    const visitor = await open(t, port, `127.1.${count}.1`);
    assert.match(await ask(visitor, "/hit/visitor"), /200/);
  }
  assert.match(await ask(calm, "/hit/again"), /200/);
  held.response.end("busy");
  const [answer] = (await once(busy, "data")) as [Buffer];
  assert.match(answer.toString(), /200/);
  assert.ok(closed.size >= 70, `${closed.size} of the crowd were closed`);
  assert.ok(!closed.has(crowd.at(-1) as Socket), "those that came last stay");
});

/** One network holds all connections, each with an incomplete request. */
async function crowdedBy(t: TestContext, begin: (socket: Socket) => Promise<void>): Promise<void> {
  const fronted = await startFronted(t, { connectionsMax: 32 });
  const { port } = fronted.listener;
  const calm = await open(t, port, "127.0.7.1");
  assert.match(await ask(calm, "/hit/calm"), /200/);
  for (let count = 0; count < 100; count += 1) await begin(await open(t, port, `127.0.8.${2 + (count % 50)}`));
  for (let count = 0; count < 10; count += 1) {
    const visitor = await open(t, port, `127.1.${count}.1`);
    assert.match(await ask(visitor, "/hit/visitor"), /200/);
  }
  assert.match(await ask(calm, "/hit/again"), /200/);
}

test("connections with incomplete heads make room, too", async (t) => {
  await crowdedBy(t, async (socket) => {
    socket.write("GET /hit/never HTTP/1.1\r\nHost: x\r\nX-");
    await turns();
  });
});

test("connections whose incomplete heads are in Node's parser make room, too", async (t) => {
  await crowdedBy(t, async (socket) => {
    socket.setNoDelay(true);
    for (let piece = 0; piece < 20; piece += 1) {
      socket.write(piece === 0 ? "GET /hit/never HTTP/1.1\r\n" : `X-${piece}: a\r\n`);
      await turns(1);
    }
  });
});

const beginnings: [name: string, bytes: string, isAnswered: boolean][] = [
  ["one letter of another method", "P", false],
  ["a request that the front can't read, answered", get("/a").replace("GET", "OPTIONS"), true],
  ["an answered request, and half of the next one", get("/a") + get("/b").slice(0, -4), true],
];

for (const [name, bytes, isAnswered] of beginnings) {
  test(`connections with nothing in progress make room: ${name}`, async (t) => {
    await crowdedBy(t, async (socket) => {
      socket.write(bytes);
      if (isAnswered) await Promise.race([once(socket, "data"), once(socket, "close")]);
      await turns();
    });
  });
}

test("a request that the front can't read is in progress as others are", async (t) => {
  const fronted = await startFronted(t, { connectionsMax: 32 });
  const { port } = fronted.listener;
  const busy = await open(t, port, "127.0.8.1");
  busy.write(get("/held").replace("GET", "OPTIONS"));
  const held = await fronted.held();
  for (let count = 0; count < 100; count += 1) await open(t, port, `127.0.8.${2 + (count % 50)}`);
  assert.match(await ask(await open(t, port, "127.1.1.1"), "/hit/visitor"), /200/);
  held.response.end("busy");
  const [answer] = (await once(busy, "data")) as [Buffer];
  assert.match(answer.toString(), /200/);
});
