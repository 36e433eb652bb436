/** Bodies in memory that slow receivers hold: counted once, for as long as somebody has not taken them whole. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { openByteBudget } from "../../../node/deliver/byte-budget.ts";
import { type Sent, send, wholeBody } from "../../../node/deliver/deliver.ts";
import { type HeldBodies, openHeldBodies } from "../../../node/deliver/held-bodies.ts";
import { http1Sink } from "../../../node/http/http1-sink.ts";
import { listen } from "../../../node/http/listener.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { openTransfers } from "../../support/transfers.ts";
import { turnsUntil } from "../../support/turns-until.ts";

const mebibyte = 1024 * 1024;

function open(bytesMax: number) {
  const clock = fakeClock();
  const budget = openByteBudget(bytesMax, clock);
  return { clock, budget, held: openHeldBodies(budget) };
}

test("a body counts once, however many receive it, until the last has it", () => {
  const { budget, held } = open(1000);
  const body = Buffer.alloc(100);
  for (const share of ["a", "b", "c"]) assert.equal(held.take(body, share, 0), true);
  assert.equal(budget.counts().heldBytes, 100);
  held.free(body);
  held.free(body);
  assert.equal(budget.counts().heldBytes, 100);
  held.free(body);
  assert.deepEqual([budget.counts().heldBytes, held.count(), budget.counts().shares], [0, 0, 0]);
  held.free(body);
  assert.equal(budget.counts().heldBytes, 0);
});

test("past its share a network waits, others don't, and who waits for one body gets it together", async () => {
  const { budget, held, clock } = open(400);
  const [first, second] = [Buffer.alloc(100), Buffer.alloc(100)];
  assert.equal(held.take(first, "greedy", 0), true);
  assert.equal(held.take(second, "greedy", 0), false);
  const waiting = [held.take(second, "greedy", 1000), held.take(second, "greedy", 1000)];
  assert.equal(held.take(Buffer.alloc(100), "other", 0), true);
  held.free(first);
  assert.deepEqual([await waiting[0], await waiting[1]], [true, true]);
  assert.equal(budget.counts().heldBytes, 200);
  const third = held.take(first, "greedy", 1000);
  clock.advance(1000);
  assert.equal(await third, false);
  held.free(second);
  held.free(second);
  assert.equal(budget.counts().heldBytes, 100);
});

async function startServer(t: TestContext, bytesMax: number, body: () => Buffer) {
  const rules = openTransfers(systemClock, { bytesMax });
  const ends: (Sent["end"] | "refused")[] = [];
  const listener = await listen("127.0.0.1", 0, (_asked, response) => {
    const bytes = body();
    const head = { status: 200, fields: ["Content-Length", String(bytes.length)] };
    const context = { rules, share: () => "a network" };
    void (async () => {
      try {
        const sent = await send(head, { kind: "bytes", bytes }, wholeBody, http1Sink(response), context);
        ends.push(sent.end);
      } catch {
        ends.push("refused");
        response.writeHead(503).end();
      }
    })();
  });
  t.after(() => listener.close(0));
  return { rules, ends, port: listener.port };
}

/** A client that requests once and reads nothing. */
function startMute(t: TestContext, port: number): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.pause();
  socket.on("error", () => undefined);
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  t.after(() => socket.destroy());
  return socket;
}

test("clients that don't read hold no more than their share, whatever bodies they ask for", async (t) => {
  const bytesMax = 64 * mebibyte;
  const { rules, ends, port } = await startServer(t, bytesMax, () => Buffer.alloc(8 * mebibyte));
  const sockets = Array.from({ length: 20 }, () => startMute(t, port));
  await turnsUntil(() => rules.held.count() === 2 && rules.budget.counts().waiting === 18);
  assert.equal(rules.budget.counts().heldBytes, 16 * mebibyte, "a quarter of the budget");
  for (const socket of sockets) socket.destroy();
  await turnsUntil(() => ends.length === 20);
  assert.deepEqual([rules.budget.counts().heldBytes, rules.held.count()], [0, 0]);
  assert.deepEqual(new Set(ends), new Set(["gone"]));
});

test("one body that many receive slowly is held once, and each gets it whole", async (t) => {
  const hot = Buffer.alloc(8 * mebibyte, 7);
  const { rules, ends, port } = await startServer(t, 64 * mebibyte, () => hot);
  const sockets = Array.from({ length: 20 }, () => startMute(t, port));
  const heldBytes = (held: HeldBodies): number => (held.count() === 1 ? rules.budget.counts().heldBytes : -1);
  await turnsUntil(() => heldBytes(rules.held) === hot.length && rules.budget.counts().waiting === 0);
  let bytes = 0;
  for (const socket of sockets) {
    socket.on("data", (chunk) => (bytes += chunk.length));
    socket.resume();
  }
  await turnsUntil(() => bytes >= 20 * hot.length);
  for (const socket of sockets) socket.end();
  await turnsUntil(() => ends.length === 20);
  assert.deepEqual(new Set(ends), new Set(["complete"]));
  assert.equal(rules.budget.counts().heldBytes, 0);
});
