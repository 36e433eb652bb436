import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { alternating, connectToFirst } from "../../../../node/fetch/upstream/happy-eyeballs.ts";
import { startHangingListener } from "../../../support/hanging-listener.ts";

const never = new AbortController().signal;

function keepAlive(t: TestContext): void {
  const alive = setInterval(() => undefined, 1000); // the clock's timers do not
  t.after(() => {
    clearInterval(alive);
  });
}

/** A listener on this address, at the port of another one. */
async function listenOn(t: TestContext, host: string, port = 0): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.resume();
  });
  server.listen(port, host);
  await once(server, "listening");
  t.after(() => void server.close());
  return (server.address() as AddressInfo).port;
}

test("families alternate, beginning with the first", () => {
  const rows: [addresses: string[], order: string[]][] = [
    [
      ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"],
      ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"],
    ],
    [
      ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"],
      ["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"],
    ],
    [["192.0.2.1"], ["192.0.2.1"]],
    [[], []],
  ];
  for (const [addresses, order] of rows) assert.deepEqual(alternating(addresses), order);
});

test("an address that refuses is followed by the next at once", async (t) => {
  keepAlive(t);
  const port = await listenOn(t, "127.0.0.1");
  // Its quarter of a second never ends.
  const standing = { ...systemClock, after: () => () => undefined };
  const socket = await connectToFirst(["127.0.0.99", "127.0.0.98", "127.0.0.1"], port, standing, never);
  t.after(() => socket.destroy());
  assert.equal(socket.remoteAddress, "127.0.0.1");
});

test("an address that is silent is followed by the next after a quarter of a second", async (t) => {
  keepAlive(t);
  const port = Number(new URL((await startHangingListener(t)).url).port);
  await listenOn(t, "127.0.0.97", port);
  const startMs = performance.now();
  const socket = await connectToFirst(["127.0.0.1", "127.0.0.97"], port, systemClock, never);
  t.after(() => socket.destroy());
  assert.equal(socket.remoteAddress, "127.0.0.97");
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs >= 240 && tookMs < 2500, `${tookMs.toFixed()} ms`);
});

test("when all fail, the first failure is reported; a signal ends all attempts", async (t) => {
  keepAlive(t);
  await assert.rejects(connectToFirst(["127.0.0.99", "127.0.0.98"], 1, systemClock, never), {
    code: "ECONNREFUSED",
    address: "127.0.0.99",
  });
  const port = Number(new URL((await startHangingListener(t)).url).port);
  const ending = new AbortController();
  const waiting = connectToFirst(["127.0.0.1"], port, systemClock, ending.signal);
  ending.abort(new Error("gone"));
  await assert.rejects(waiting, /gone/);
  await assert.rejects(connectToFirst(["127.0.0.1"], port, systemClock, ending.signal), /gone/);
});
