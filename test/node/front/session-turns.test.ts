/** Many clients of the main thread at once: which sessions with Node's server begin, when, and for whom. */
import assert from "node:assert/strict";
import { type ClientHttp2Session, constants } from "node:http2";
import { test as testOnce, type TestContext } from "node:test";
import { newSessionsMax, openSessionTurns } from "../../../node/front/session-turns.ts";
import { startClients } from "../../support/client-crowd.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { longestTurn } from "../../support/turns.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { exchange } from "../http/raw.ts";
import { get as get2, openSession, responseOf, startRequest } from "../http2/ask.ts";
import { startHttp2 } from "../http2/started.ts";
import { get, startFronted, test } from "./fronted.ts";

type ThenDo = Parameters<typeof startClients>[1]["thenDo"];

const notInLane = "clients of a lane wait there";

testOnce("a few begin per turn, networks in turn; who leaves or waits too long does not begin", () => {
  const clock = fakeClock();
  const scheduled: (() => void)[] = [];
  const turns = openSessionTurns(clock, 1000, (run) => scheduled.push(run));
  const begun: string[] = [];
  const refused: string[] = [];
  const take = (network: string, name: string): (() => void) => {
    const begin = (): void => {
      begun.push(name);
    };
    const one = { sinceMs: 0, begin, refuse: () => void refused.push(name) };
    if (turns.take(() => network, one)) begin();
    return () => {
      turns.leave(network, one);
    };
  };
  const nextTurn = (): string[] => {
    begun.length = 0;
    scheduled.shift()?.();
    return [...begun];
  };
  for (let at = 0; at < newSessionsMax; at += 1) take("A", `first ${at}`);
  assert.equal(begun.length, newSessionsMax);
  const leaves: (() => void)[] = [];
  for (let at = 0; at < 2 * newSessionsMax; at += 1) leaves.push(take("A", `A${at}`));
  take("B", "B0");
  leaves[0]?.();
  assert.deepEqual(nextTurn(), ["A1", "B0", ...Array.from({ length: newSessionsMax - 2 }, (_, at) => `A${at + 2}`)]);
  take("B", "B1");
  clock.advance(1000);
  take("B", "B2");
  turns.sweep();
  assert.deepEqual(refused, [...Array.from({ length: newSessionsMax }, (_, at) => `A${at + newSessionsMax}`), "B1"]);
});

/** A thousand clients that are connected. They ask while the main thread is blocked, so it finds all their requests. */
async function ask(t: TestContext, port: number, about: { clients?: number; bytes?: string; thenDo?: ThenDo } = {}) {
  const { clients = 1000, bytes = get("/a"), thenDo = "stay" } = about;
  const crowd = startClients(t, { port, first: get("/hit/first"), clients, bytes, thenDo });
  await turnsUntil(() => crowd.answered() === clients, 10);
  return crowd;
}

test("few sessions begin in a turn, however many clients ask at once", { notInLane }, async (t) => {
  const so = { most: 0, inTurn: 0, answered: 0 };
  const { listener } = await startFronted(t, {
    application(_asked, response) {
      if (so.inTurn === 0) setImmediate(() => (so.inTurn = 0));
      so.inTurn += 1;
      so.answered += 1;
      so.most = Math.max(so.most, so.inTurn);
      response.end("done");
    },
  });
  const crowd = await ask(t, listener.port);
  const { longestMs } = await longestTurn(async () => {
    crowd.go();
    block(() => crowd.sent() === 1000);
    await turnsUntil(() => so.answered === 1000, 10);
  });
  t.diagnostic(`the longest turn took ${longestMs.toFixed(1)} ms; ${so.most} sessions began in one turn`);
  // A turn of the event loop, as seen from here, may end with the beginning of the next one.
  assert.ok(so.most <= 2 * newSessionsMax, `${so.most} in one turn`);
});

test("clients that are gone before their session begins cost no session", { notInLane }, async (t) => {
  const { listener, seen, relays } = await startFronted(t);
  const crowd = await ask(t, listener.port, { thenDo: "reset" });
  crowd.go();
  block(() => crowd.sent() === 1000);
  await turnsUntil(() => crowd.closed() === 1000, 10);
  assert.match(await exchange(listener, get("/last", "Connection: close")), /^HTTP\/1.1 200/);
  const begun = seen.filter((one) => one === "server /a").length;
  assert.ok(begun <= 4 * newSessionsMax, `${begun} sessions`);
  await turnsUntil(() => relays() === 0, 10);
});

test("a client of another network does not wait for a thousand of one", { notInLane }, async (t) => {
  const { listener, seen } = await startFronted(t);
  const { port } = listener;
  const crowd = await ask(t, port);
  const other = startClients(t, {
    port,
    address: "127.0.9.1",
    first: get("/hit"),
    clients: 1,
    bytes: get("/other"),
    thenDo: "stay",
  });
  await turnsUntil(() => other.answered() === 1, 10);
  crowd.go();
  block(() => crowd.sent() === 1000);
  other.go();
  block(() => other.sent() === 1);
  await turnsUntil(
    () => seen.includes("server /a") && seen.filter((one) => one.startsWith("server")).length === 1001,
    10,
  );
  const place = seen.filter((one) => one.startsWith("server")).indexOf("server /other");
  assert.ok(place < 500, `its session was number ${place + 1}`);
});

test("whoever waits may send more, and close its sending side", { notInLane }, async (t) => {
  const { listener, seen, relays } = await startFronted(t);
  const body = "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
  const bytes = get("/a") + get("/hit/b") + get("/c") + body;
  const crowd = await ask(t, listener.port, { clients: 100, bytes, thenDo: "half-close" });
  const odd = await ask(t, listener.port, { clients: 100, bytes: body.replace("/b", "/odd"), thenDo: "half-close" });
  crowd.go();
  odd.go();
  block(() => crowd.sent() === 100 && odd.sent() === 100);
  await turnsUntil(() => crowd.closed() === 100 && odd.closed() === 100 && relays() === 0, 10);
  const times = (what: string): number => seen.filter((one) => one === what).length;
  for (const what of ["server /a", "server /c", "server /b", "server /odd"]) assert.equal(times(what), 100, what);
  assert.equal(times("front /hit/b") + times("server /hit/b"), 100);
});

testOnce("streams of HTTP/2 take turns, too, and those that are reset before theirs cost no session", async (t) => {
  const { listener, seen, virtuals } = await startHttp2(t);
  const sessions = await Promise.all(Array.from({ length: 200 }, () => openSession(t, listener)));
  const all = sessions.map((session) => startRequest(session, get2("/a")));
  const responses = Promise.all(all.map(responseOf));
  let most = 0;
  let before = 0;
  await turnsUntil(() => {
    most = Math.max(most, seen.length - before);
    before = seen.length;
    return seen.length === 200;
  });
  assert.ok(most <= 2 * newSessionsMax, `${most} in one turn`);
  for (const { status, code } of await responses) assert.deepEqual({ status, code }, { status: 200, code: 0 });

  for (const session of sessions) startRequest(session, get2("/reset")).close(constants.NGHTTP2_CANCEL);
  const last = await responseOf(startRequest(sessions[0] as ClientHttp2Session, get2("/last")));
  assert.equal(last.status, 200);
  const begun = seen.filter((one) => one === "server /reset").length;
  assert.ok(begun <= 100, `${begun} sessions`);
  await turnsUntil(() => virtuals() === 0);
});

/** Blocks the main thread, as work of another kind would. Other threads go on. */
function block(until: () => boolean): void {
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  const deadlineMs = performance.now() + 30_000;
  while (!until()) {
    assert.ok(performance.now() < deadlineMs, "it takes too long");
    Atomics.wait(nothing, 0, 0, 10);
  }
}
