/** Heads that never end: what they hold, and who pays when it is too much. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test as testOnce, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createUnfinished, hold, type Holder } from "../../../node/front/unfinished.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { openLine } from "../http/raw.ts";
import { type Fronted, get, startFronted, test } from "./fronted.ts";

const MiB = 1024 * 1024;
const holderOf = (network: string): Holder => ({ network: () => network, heldBytes: 0 });

testOnce("the networks that hold the most are named as soon as all together hold more than 32 MiB", () => {
  const unfinished = createUnfinished();
  const [small, large, other] = [holderOf("small"), holderOf("large"), holderOf("large")];
  assert.equal(hold(unfinished, small, 10 * MiB), undefined);
  assert.equal(hold(unfinished, large, 11 * MiB), undefined);
  assert.equal(hold(unfinished, other, 11 * MiB), undefined);
  assert.deepEqual(hold(unfinished, small, 10 * MiB + 1), new Set(["large"]));
  assert.equal(hold(unfinished, large, 0), undefined);
  assert.equal(unfinished.totalBytes, 21 * MiB + 1);
  hold(unfinished, small, 0);
  hold(unfinished, other, 0);
  assert.deepEqual([unfinished.totalBytes, unfinished.byNetwork.size], [0, 0]);
});

const headWithoutEnd = `GET / HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(80_000)}`;

/** Connections from a loopback address, each with these bytes: an incomplete head. */
async function sendHeads(
  t: TestContext,
  fronted: Fronted,
  localAddress: string,
  count: number,
  bytes = headWithoutEnd,
): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => {
    const socket = connect({ port: fronted.listener.port, host: "127.0.0.1", localAddress });
    socket.on("error", () => undefined);
    t.after(() => socket.destroy());
    return socket;
  });
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  for (const socket of sockets) socket.write(bytes);
  return sockets;
}

test("a network that sends endless heads loses them when there are too many; others keep theirs", async (t) => {
  const fronted = await startFronted(t);
  const honest = await openLine(fronted.listener);
  honest.send(get("/half/way").slice(0, -2));
  const greedy = await sendHeads(t, fronted, "127.0.9.1", 500); // 40 MB
  await turnsUntil(() => greedy.some(({ closed }) => closed));
  honest.send("\r\n");
  await honest.until((text) => text.endsWith("/half/way"));
  for (const socket of greedy) socket.destroy();
  await turnsUntil(() => greedy.every(({ closed }) => closed));
  // Nothing is held any more: as many come in as before.
  const next = await sendHeads(t, fronted, "127.0.8.1", 100);
  const line = await openLine(fronted.listener);
  line.send(get("/hit"));
  await line.until((text) => text.endsWith("/hit"));
  assert.ok(next.every(({ closed }) => !closed));
});

const wide = (target: string, lengthBytes: number): string => get(target, `X: ${"x".repeat(lengthBytes)}`);

test("so does one whose requests wait behind responses that do not end, wherever they wait", async (t) => {
  const rows: [where: string, count: number, bytes: string][] = [
    ["behind a response of the server", 500, get("/held") + wide("/next", 4000).repeat(30)],
    ["behind a response of the front", 500, get("/later") + wide("/next", 4000).repeat(30)],
    ["in the server, behind a response of its own", 80, wide("/held", 9000) + wide("/next", 80_000).repeat(8)],
  ];
  for (const [where, count, bytes] of rows) {
    const fronted = await startFronted(t);
    const honest = await openLine(fronted.listener);
    honest.send(get("/half/way").slice(0, -2));
    const greedy = await sendHeads(t, fronted, "127.0.9.1", count, bytes);
    const closed = (): number => greedy.filter((socket) => socket.closed).length;
    await turnsUntil(() => closed() > 0);
    // In a lane, the rest of them follows while this thread looks.
    await turnsUntil(() => closed() >= count / 8, 10).catch(() => assert.fail(`${where}: ${closed()} are closed`));
    honest.send("\r\n");
    await honest.until((text) => text.endsWith("/half/way"));
    for (const socket of greedy) socket.destroy();
    await turnsUntil(() => closed() === count);
  }
});

test("what is dropped behind a 400 is not held: it costs the others of its network nothing", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  line.send(get("/half/way").slice(0, -2));
  // Of the same network, and twice the limit in all; each gets its 400 after the first line.
  const garbage = "this is not HTTP\r\n\r\n".repeat(200_000);
  const clients = await sendHeads(t, fronted, "127.0.0.1", 16, garbage);
  const answers = await Promise.all(
    clients.map(async (socket) => {
      const [first] = (await once(socket, "data")) as [Buffer];
      return first.toString().slice(0, 12);
    }),
  );
  assert.deepEqual(new Set(answers), new Set(["HTTP/1.1 400"]));
  await pause(1000);
  line.send("\r\n");
  await line.until((text) => text.endsWith("/half/way"));
  await turnsUntil(() => clients.every(({ closed }) => closed), 10);
});
