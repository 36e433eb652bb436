/** What lanes do by themselves: accept, wait, close, and count. Most of what a client sees is in the front's tests. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { loadKoffi } from "#base/koffi.ts";
import { systemClock } from "#base/clock.ts";
import type { ClientConnection } from "../../../../node/front/client-connection.ts";
import {
  type LaneListener,
  type LaneListenOptions,
  lanesMissing,
  openLanes,
  type Lanes,
} from "../../../../node/front/lane/lanes.ts";
import { keptLog } from "../../../support/kept-log.ts";
import { needs } from "../../../support/needs.ts";
import { sharedLanes } from "../../../support/shared-lanes.ts";
import { turnsUntil } from "../../../support/turns-until.ts";
import { openLine } from "../../http/raw.ts";
import { get } from "../fronted.ts";
import { openDescriptors, socketsOn } from "./seen-from-outside.ts";

const rules: Omit<LaneListenOptions, "lent"> = {
  isSecure: false,
  sharesPort: false,
  waitsMs: { headers: 10_000, idle: 65_000, stalled: 120_000 },
  connectionsMax: 10_000,
  bytesPerSecondMin: 1024,
  keepAliveSeconds: 60,
};

interface Opened {
  port: number;
  listener: LaneListener;
  /** Connections that were lent, in their order. */
  lent: ClientConnection[];
}

/** Listens on a port of its own; `serve` gets each connection that is lent. */
function listen(
  t: TestContext,
  lanes: Lanes,
  serve: (connection: ClientConnection) => void,
  options: Partial<LaneListenOptions> = {},
  host = "127.0.0.1",
): Opened {
  const lent: ClientConnection[] = [];
  const listener = lanes.listen(
    { host, port: 0 },
    {
      ...rules,
      ...options,
      lent(connection) {
        lent.push(connection);
        connection.on("error", () => undefined);
        serve(connection);
      },
    },
  );
  t.after(async () => {
    const drained = listener.drain();
    listener.cut();
    await drained;
  });
  return { port: listener.port, listener, lent };
}

/** Answers each request whose head is in one piece, and gives the connection back. */
function answering(connection: ClientConnection): void {
  connection.on("data", (chunk: Buffer) => {
    for (const [, target] of chunk.toString().matchAll(/GET (\S+) /g)) connection.write(`<${target}>`);
    connection.offerBack?.();
  });
  connection.on("end", () => connection.destroySoon());
}

const at = (port: number, address = "127.0.0.1"): { port: number; address: string } => ({ port, address });

test("a lane takes an idle connection back, and lends it again for the next request", async (t) => {
  const lanes = await sharedLanes(t);
  if (lanes === undefined) return;
  const { port, lent } = listen(t, lanes, answering);
  const line = await openLine(at(port));
  line.send(get("/1"));
  await line.until((text) => text === "</1>");
  line.send(get("/2"));
  await line.until((text) => text.endsWith("</2>"));
  assert.equal(lent.length, 1, "while requests follow each other, it stays lent");
  await turnsUntil(() => lent[0]?.destroyed === true, 10);
  assert.equal(line.socket.closed, false);
  line.send(get("/3"));
  await line.until((text) => text.endsWith("</3>"));
  assert.equal(lent.length, 2);
  assert.deepEqual(
    lent.map(({ remoteAddress }) => remoteAddress),
    ["127.0.0.1", "127.0.0.1"],
  );
});

test("an offer is ignored when more has been sent meanwhile", async (t) => {
  const lanes = await sharedLanes(t);
  if (lanes === undefined) return;
  const { port, lent } = listen(t, lanes, (connection) => {
    let seen = 0;
    connection.on("data", (chunk: Buffer) => {
      seen += chunk.toString().split("GET ").length - 1;
      connection.offerBack?.(); // as if each piece ended a request
      if (seen === 50) connection.end("all");
    });
  });
  const line = await openLine(at(port));
  line.socket.setNoDelay(true);
  // None of these is whole for the lane, since their heads continue in the next piece.
  for (let count = 0; count < 50; count += 1) line.send(`${get("/a").slice(0, -2)}X: `);
  line.send("\r\n\r\n");
  await line.until((text) => text === "all");
  assert.equal(lent.length, 1);
});

test("the lane closes silent clients, and says that a head is late that does not become complete", async (t) => {
  const lanes = await sharedLanes(t);
  if (lanes === undefined) return;
  const waitsMs = { headers: 600, idle: 1500, stalled: 120_000 };
  const late = (connection: ClientConnection): void => {
    answering(connection);
    connection.on("late", () => connection.end("late"));
  };
  const { port, lent } = listen(t, lanes, late, { waitsMs });
  const [silent, kept, slow] = [await openLine(at(port)), await openLine(at(port)), await openLine(at(port))];
  kept.send(get("/kept"));
  slow.send("GET /slow HTTP/1.1\r\n");
  await slow.until((text) => text === "late");
  assert.equal(await silent.rest(), "");
  assert.equal(kept.socket.closed, false, "it has had an answer");
  assert.equal(await kept.rest(), "</kept>");
  slow.socket.end();
  await slow.rest();
  assert.equal(lent.length, 2, "nobody else sees a client that sends nothing");
});

test("a client that takes nothing of its response is disconnected", async (t) => {
  const lanes = await sharedLanes(t);
  if (lanes === undefined) return;
  const { port, lent } = listen(t, lanes, (connection) => connection.write(Buffer.alloc(32 * 1024 * 1024)), {
    waitsMs: { headers: 10_000, idle: 10_000, stalled: 500 },
  });
  const line = await openLine(at(port));
  line.socket.pause();
  line.send(get("/large"));
  await turnsUntil(() => lent[0]?.destroyed === true, 10);
  assert.equal((lent[0]?.errored as NodeJS.ErrnoException | null)?.code, "ECONNRESET");
});

test("2,000 clients at once are answered, however often they ask; nothing stays behind", async (t) => {
  const lanes = await sharedLanes(t);
  if (lanes === undefined) return;
  const { port } = listen(t, lanes, answering);
  const before = openDescriptors();
  const { accepted, open } = lanes.counts();
  const sockets = Array.from({ length: 2000 }, () => connect(port, "127.0.0.1"));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  for (let round = 0; round < 3; round += 1) {
    for (const socket of sockets) socket.write(get(`/${round}`));
    await Promise.all(
      sockets.map(async (socket) => {
        const [chunk] = (await once(socket, "data")) as [Buffer];
        assert.equal(chunk.toString(), `</${round}>`);
      }),
    );
  }
  assert.equal(lanes.counts().accepted - accepted, 2000);
  for (const socket of sockets) socket.destroy();
  await turnsUntil(() => lanes.counts().open === open, 10);
  // Pairs are kept for the next sessions, as many as a lane keeps.
  await turnsUntil(() => openDescriptors() <= before + 2 * 64, 10);
});

test("connections have no delay and are probed, as those of Node's server", async (t) => {
  const lanes = await sharedLanes(t);
  const koffi = loadKoffi();
  if (lanes === undefined || koffi === undefined) return;
  const { port } = listen(t, lanes, answering);
  const line = await openLine(at(port));
  line.send(get("/a"));
  await line.until((text) => text === "</a>");
  const getsockopt = koffi.load(null).func("int getsockopt(int, int, int, _Out_ int *, _Inout_ int *)") as (
    ...args: (number | number[])[]
  ) => number;
  const [accepted] = socketsOn(port, "accepted");
  assert.ok(accepted !== undefined);
  const option = (level: number, name: number): number | undefined => {
    const value = [0];
    assert.equal(getsockopt(accepted, level, name, value, [4]), 0);
    return value[0];
  };
  assert.equal(option(6, 1), 1, "TCP_NODELAY");
  assert.equal(option(1, 9), 1, "SO_KEEPALIVE");
  assert.equal(option(6, 4), 60, "TCP_KEEPIDLE");
});

test("an IPv6 client's address is what Node would say", async (t) => {
  const isThere = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"));
  if (!needs(t, isThere, "this machine has no ::1")) return;
  const lanes = await sharedLanes(t);
  if (lanes === undefined) return;
  const { port, lent } = listen(t, lanes, answering, {}, "::1");
  const line = await openLine(at(port, "::1"));
  line.send(get("/six"));
  await line.until((text) => text === "</six>");
  assert.equal(lent[0]?.remoteAddress, "::1");
});

test("several lanes share an address: clients are spread over them, and drain() waits for all", async (t) => {
  const missing = lanesMissing();
  if (!needs(t, missing === undefined, missing ?? "")) return;
  const lanes = await openLanes({ count: 3, clock: systemClock, log: keptLog().log });
  t.after(lanes.close);
  const { port, listener } = listen(t, lanes, answering);
  const lines = await Promise.all(Array.from({ length: 60 }, () => openLine(at(port))));
  for (const line of lines) line.send(get("/a"));
  await Promise.all(lines.map((line) => line.until((text) => text === "</a>")));
  assert.equal(lanes.counts().open, 60);
  assert.equal(socketsOn(port, "listening").length, 3);
  await listener.drain();
  await Promise.all(lines.map((line) => line.rest()));
  assert.equal(lanes.counts().open, 0);
  const refused = connect(port, "127.0.0.1");
  const [error] = (await once(refused, "error")) as [NodeJS.ErrnoException];
  assert.equal(error.code, "ECONNREFUSED");
  assert.throws(() => lanes.listen({ host: "192.0.2.1", port: 0 }, { ...rules, lent: () => undefined }), {
    code: "EADDRNOTAVAIL",
  });
});

test("without free descriptors, idle clients make room, and the lane serves on", async (t) => {
  const missing = lanesMissing();
  if (!needs(t, missing === undefined, missing ?? "")) return;
  const file = fileURLToPath(new URL("few-descriptors.ts", import.meta.url));
  const child = spawn("sh", ["-c", `ulimit -n 120; exec "${process.execPath}" "${file}"`], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  t.after(() => child.kill("SIGKILL"));
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  const sockets = Array.from({ length: 400 }, () => connect(port, "127.0.0.1").on("error", () => undefined));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  for (let round = 0; round < 20; round += 1) {
    const line = await openLine(at(port));
    line.send(get("/a", "Connection: close"));
    assert.ok((await line.rest()).endsWith("served"), `in round ${round}`);
  }
  for (const socket of sockets) socket.destroy();
  let told = { counts: { open: -1, refused: 0 }, restarts: -1 };
  await turnsUntil(async () => {
    child.send("tell");
    [told] = (await once(child, "message")) as [typeof told];
    return told.counts.open === 0;
  }, 50);
  assert.equal(told.restarts, 0);
  assert.ok(told.counts.refused > 0);
});
