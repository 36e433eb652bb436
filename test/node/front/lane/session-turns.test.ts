/** Many clients of a lane at once: what begins in the main thread, when, and for whom. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { ClientConnection } from "../../../../node/front/client-connection.ts";
import type { CountName } from "../../../../node/front/lane/counts.ts";
import type { LaneListenOptions } from "../../../../node/front/lane/lanes.ts";
import { newSessionsMax } from "../../../../node/front/session-turns.ts";
import { startClients } from "../../../support/client-crowd.ts";
import { sharedLanes } from "../../../support/shared-lanes.ts";
import { longestTurn } from "../../../support/turns.ts";
import { turnsUntil } from "../../../support/turns-until.ts";
import { get } from "../fronted.ts";

interface Scene {
  port: number;
  /** Of this listener alone. */
  count: (name: CountName) => number;
  /** Who had sessions, in order. */
  begun: string[];
  /** The most sessions that began in one turn of the event loop. */
  mostInTurn: () => number;
  lates: () => number;
  ends: () => number;
}

/** The main thread answers each request with `done` and closes; what is late, too. */
async function openScene(t: TestContext, waitsMs: Partial<LaneListenOptions["waitsMs"]> = {}) {
  const lanes = await sharedLanes(t);
  if (lanes === undefined) return undefined;
  const before = lanes.counts();
  const begun: string[] = [];
  const so = { most: 0, inTurn: 0, lates: 0, ends: 0 };
  const lent = (connection: ClientConnection): void => {
    begun.push(connection.remoteAddress ?? "");
    if (so.inTurn === 0) setImmediate(() => (so.inTurn = 0));
    so.inTurn += 1;
    so.most = Math.max(so.most, so.inTurn);
    connection.on("error", () => undefined);
    connection.on("late", () => {
      so.lates += 1;
      connection.end("late");
    });
    connection.on("end", () => {
      so.ends += 1;
      connection.destroySoon();
    });
    connection.on("data", (bytes: Buffer) => {
      if (bytes.toString().endsWith("\r\n\r\n")) connection.end("done");
    });
  };
  const listener = lanes.listen(
    { host: "127.0.0.1", port: 0 },
    {
      isSecure: false,
      sharesPort: false,
      waitsMs: { headers: 10_000, idle: 65_000, stalled: 120_000, ...waitsMs },
      connectionsMax: 10_000,
      bytesPerSecondMin: 1024,
      keepAliveSeconds: 60,
      lent,
    },
  );
  t.after(async () => {
    const drained = listener.drain();
    listener.cut();
    await drained;
  });
  return {
    port: listener.port,
    count: (name) => lanes.counts()[name] - before[name],
    begun,
    mostInTurn: () => so.most,
    lates: () => so.lates,
    ends: () => so.ends,
  } satisfies Scene;
}

/** Blocks the main thread, as work of another kind would. Lanes and other threads go on. */
function block(until: () => boolean): void {
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  const deadlineMs = performance.now() + 30_000;
  while (!until()) {
    assert.ok(performance.now() < deadlineMs, "it takes too long");
    Atomics.wait(nothing, 0, 0, 10);
  }
}

test("few sessions begin in a turn, however many clients ask at once", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const clients = startClients(t, { port: scene.port, clients: 1000, bytes: get("/a"), thenDo: "stay" });
  block(() => clients.sent() === 1000 && scene.count("open") === 1000);
  const { longestMs } = await longestTurn(() => turnsUntil(() => scene.begun.length === 1000, 10));
  assert.ok(scene.mostInTurn() <= newSessionsMax, `${scene.mostInTurn()} in one turn`);
  t.diagnostic(`the longest turn took ${longestMs.toFixed(1)} ms`);
});

test("clients that are gone before their session begins cost the main thread nothing", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const clients = startClients(t, { port: scene.port, clients: 1000, bytes: get("/a"), thenDo: "reset" });
  block(() => clients.sent() === 1000 && scene.count("accepted") === 1000 && scene.count("open") === 0);
  const last = startClients(t, { port: scene.port, clients: 1, bytes: get("/a"), thenDo: "stay" });
  await turnsUntil(() => last.sent() === 1 && scene.count("relayed") > 0, 10);
  await turnsUntil(() => scene.begun.length > 0, 10);
  assert.ok(scene.begun.length <= newSessionsMax + 1, `${scene.begun.length} sessions`);
});

test("networks take turns: a thousand clients of one don't delay one client of another", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const { port } = scene;
  const many = startClients(t, { port, clients: 1000, bytes: get("/a"), thenDo: "stay" });
  block(() => many.sent() === 1000 && scene.count("open") === 1000);
  const one = startClients(t, { port, address: "127.0.9.1", clients: 1, bytes: get("/a"), thenDo: "stay" });
  block(() => one.sent() === 1 && scene.count("open") === 1001);
  await turnsUntil(() => scene.begun.length === 1001, 10);
  const place = scene.begun.indexOf("127.0.9.1");
  assert.ok(place <= newSessionsMax + 2, `its session was number ${place + 1}`);
});

test("whoever waits for a session may close its sending side, or be late with its head", async (t) => {
  const scene = await openScene(t, { headers: 500 });
  if (scene === undefined) return;
  const { port } = scene;
  const asked = startClients(t, { port, clients: 100, bytes: "GET / HT", thenDo: "half-close" });
  const late = startClients(t, { port, clients: 100, bytes: "GET / HT", thenDo: "stay" });
  await turnsUntil(() => asked.sent() === 100 && late.sent() === 100, 10);
  await turnsUntil(() => scene.lates() === 100 && scene.ends() >= 100, 10);
  assert.ok(scene.mostInTurn() <= newSessionsMax, `${scene.mostInTurn()} in one turn`);
  assert.equal(scene.begun.length, 200);
});

test("clients that wait for a session for too long are closed", async (t) => {
  const scene = await openScene(t, { headers: 500 });
  if (scene === undefined) return;
  const clients = startClients(t, { port: scene.port, clients: 100, bytes: get("/a"), thenDo: "stay" });
  block(() => clients.sent() === 100 && scene.count("refused") === 100 - newSessionsMax);
  await turnsUntil(() => scene.begun.length === newSessionsMax && clients.closed() === 100, 10);
});
