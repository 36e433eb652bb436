/** More connections than there may be: who has the most idle ones makes room. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test as testOnce, type TestContext } from "node:test";
import { type Crowd, hasRoom, levelFor, type Member } from "../../../node/front/crowd.ts";
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

/** A crowd of these connections, and how often they were all looked at. */
function crowdOf(connectionsMax: number, list: readonly [network: string, is: Member["is"], count: number][]) {
  const present = new Set<Member>();
  let looks = 0;
  for (const [network, is, count] of list) {
    for (let index = 0; index < count; index += 1) {
      const member: Member = { network: () => network, is, close: () => void present.delete(member) };
      present.add(member);
    }
  }
  const members = (): Member[] => {
    looks += 1;
    return [...present];
  };
  const crowd: Crowd = { connectionsMax, groups: [{ size: () => present.size, members }], census: null };
  const left = (network: string, is: Member["is"]): number =>
    [...present].filter((one) => one.network() === network && one.is === is).length;
  const enters = (network: string, nowMs = 0): boolean => hasRoom(crowd, () => network, nowMs);
  return { present, enters, left, looks: () => looks };
}

testOnce("without idle ones, networks that have far more than the newcomer's make room, unread responses first", () => {
  const { enters, left } = crowdOf(128, [
    ["many", "busy", 60],
    ["many", "stalled", 40],
    ["few", "stalled", 20],
    ["two", "busy", 2],
    ["idle", "idle", 6],
  ]);
  assert.ok(enters("new"));
  assert.deepEqual([left("many", "busy"), left("many", "stalled"), left("few", "stalled")], [60, 36, 20]);
  assert.deepEqual([left("two", "busy"), left("idle", "idle")], [2, 2]);
});

testOnce("connections that were just opened stay as long as others can make room", () => {
  const networks = Array.from({ length: 50 }, (_, index): [string, "idle", number] => [`n${index}`, "idle", 2]);
  const { enters, left, present } = crowdOf(200, [["many", "stalled", 95], ["many", "idle", 5], ...networks]);
  assert.equal(present.size, 200);
  for (let time = 0; time < 5; time += 1) assert.ok(enters("new"));
  assert.deepEqual([left("many", "stalled"), left("many", "idle"), left("n0", "idle")], [87, 0, 2]);
  for (let index = 0; index < 100; index += 1) {
    assert.ok(enters("new"));
    const one: Member = { network: () => `v${index}`, is: "idle", close: () => void present.delete(one) };
    present.add(one);
  }
  assert.ok(present.size <= 200);
});

testOnce("a network makes no room for another that has half as much, nor for itself", () => {
  const { enters, present, looks } = crowdOf(100, [
    ["large", "stalled", 60],
    ["other", "busy", 30],
    ["small", "busy", 10],
  ]);
  for (let time = 0; time < 50; time += 1) assert.ok(!enters("large") && !enters("other"));
  assert.deepEqual([present.size, looks()], [100, 1], "for those who get no room, all are looked at once in a while");
  assert.ok(enters("small") && enters("new"));
  assert.equal(looks(), 2);
});

testOnce("a few connections of a network are never taken from it while they are in progress", () => {
  const networks = Array.from({ length: 64 }, (_, index): [string, "stalled", number] => [`n${index}`, "stalled", 100]);
  const { enters, present, looks } = crowdOf(6400, networks);
  assert.ok(!enters("new") && !enters("another"));
  assert.deepEqual([present.size, looks()], [6400, 1]);
  assert.ok(!enters("another", 100));
  assert.equal(looks(), 2);
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

test("connections that do not read their responses make room, those of the largest network alone", async (t) => {
  const fronted = await startFronted(t, { connectionsMax: 32 });
  const { port } = fronted.listener;
  const unread = async (localAddress: string): Promise<Socket> => {
    const socket = await open(t, port, localAddress);
    socket.pause().write(get("/large/20000000"));
    return socket;
  };
  const calm = await unread("127.0.7.1");
  const closed = new Set<Socket>();
  for (let count = 0; count < 40; count += 1) {
    const socket = await unread(`127.0.8.${2 + count}`);
    socket.on("close", () => closed.add(socket));
    await turns();
  }
  for (let count = 0; count < 10; count += 1) {
    const visitor = await open(t, port, `127.1.${count}.1`);
    assert.match(await ask(visitor, "/hit/visitor"), /200/);
  }
  const before = closed.size;
  for (let count = 0; count < 10; count += 1) await unread(`127.0.8.${100 + count}`);
  assert.ok(closed.size <= before, "they make no room for their own network");
  let received = 0;
  for await (const chunk of calm) {
    received += (chunk as Buffer).length;
    if (received > 20_000_000) break;
  }
});
