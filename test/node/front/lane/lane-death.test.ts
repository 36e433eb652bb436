/** Lanes that die: what their clients see, and that nobody else does. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import type { Worker } from "node:worker_threads";
import { systemClock } from "#base/clock.ts";
import { loadKoffi } from "#base/koffi.ts";
import { lanesMissing, openLanes, type Lanes } from "../../../../node/front/lane/lanes.ts";
import type { Listener } from "../../../../node/http/listener.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { keptLog, type KeptLog } from "../../../support/kept-log.ts";
import { needs } from "../../../support/needs.ts";
import { turnsUntil } from "../../../support/turns-until.ts";
import { listenInLane } from "../../http/both-forms.ts";
import { openLine, readAnswers } from "../../http/raw.ts";
import { get } from "../fronted.ts";
import { epollOf, openDescriptors, readyLanes, socketsOn } from "./seen-from-outside.ts";

interface Served {
  lanes: Lanes;
  listener: Listener;
  workers: Worker[];
  log: KeptLog;
}

/** A listener in lanes of its own, whose application answers everything with its target. */
async function serve(t: TestContext, count: number): Promise<Served | undefined> {
  const missing = lanesMissing();
  if (!needs(t, missing === undefined, missing ?? "")) return undefined;
  const workers = readyLanes(t);
  const log = keptLog();
  const lanes = await openLanes({ count, clock: systemClock, log: log.log });
  const listener = await listenInLane(lanes)("127.0.0.1", 0, (asked, response) => {
    response.setHeader("Content-Length", String(asked.url?.length)).end(asked.url);
  });
  t.after(async () => {
    await listener.close(0);
    await lanes.close();
  });
  return { lanes, listener, workers, log };
}

/** Ends a lane by a fault inside: what it waits with becomes something that can't be waited with. */
function breakLane(port: number): void {
  const epoll = socketsOn(port, "listening").map(epollOf)[0];
  const dup2 = loadKoffi()?.load(null).func("int dup2(int, int)") as ((from: number, to: number) => number) | undefined;
  assert.ok(epoll !== undefined && dup2 !== undefined);
  const other = openSync("/dev/null", "r");
  assert.equal(dup2(other, epoll), epoll);
  closeSync(other);
}

const ends: [name: string, end: (served: Served) => void][] = [
  ["by force", ({ workers }) => void workers[0]?.terminate()],
  ["by an exception", ({ listener }) => breakLane(listener.port)],
];

for (const [name, end] of ends) {
  test(`a lane that ends ${name} loses its clients, and refuses none`, async (t) => {
    const served = await serve(t, 1);
    if (served === undefined) return;
    const { lanes, listener, log } = served;
    const before = openDescriptors();
    const idle = await Promise.all(Array.from({ length: 20 }, () => openLine(listener)));
    const [kept] = idle;
    kept?.send(get("/kept"));
    await kept?.until((text) => text.endsWith("/kept"));
    await turnsUntil(() => lanes.counts().open === idle.length, 1);
    end(served);
    await turnsUntil(() => log.lines.length === 1, 1);
    // These come while no lane runs, and the next one accepts them.
    const next = await Promise.all(Array.from({ length: 8 }, () => openLine(listener)));
    for (const [index, line] of next.entries()) line.send(get(`/next/${index}`, "Connection: close"));
    for (const line of idle) await line.rest();
    for (const [index, line] of next.entries()) {
      assert.equal(readAnswers(await line.rest())[0]?.body.toString(), `/next/${index}`);
    }
    assert.equal(lanes.restarts(), 1);
    const after = await openLine(listener);
    after.send(get("/after", "Connection: close"));
    assert.equal(readAnswers(await after.rest())[0]?.body.toString(), "/after");
    await turnsUntil(() => lanes.counts().open === 0, 1);
    assert.deepEqual(
      log.lines.map(({ message }) => message),
      ["a lane died; another one takes its place"],
    );
    // The new lane keeps a pair for each of its nine clients, two descriptors. The old one's clients are closed.
    await turnsUntil(() => openDescriptors() <= before + 2 * (next.length + 1), 1);
  });
}

test("a lane that hangs is ended, and another one takes its place", async (t) => {
  const missing = lanesMissing();
  if (!needs(t, missing === undefined, missing ?? "")) return;
  const clock = fakeClock();
  const log = keptLog();
  const lanes = await openLanes({ count: 1, clock, log: log.log });
  t.after(lanes.close);
  clock.advance(1000);
  // To the main thread, the lane makes no turn meanwhile.
  clock.advance(5000);
  await turnsUntil(() => log.lines.length === 1, 1);
  const [line] = log.lines;
  assert.ok(line?.facts["err"] instanceof Error);
  assert.equal(line.facts["err"].message, "it made no turn for 5 s");
  clock.advance(100);
  assert.equal(lanes.restarts(), 1);
});

test("a lane whose thread ends without a word is replaced", async (t) => {
  const missing = lanesMissing();
  if (!needs(t, missing === undefined && process.arch === "x64", missing ?? "only on x64")) return;
  const file = fileURLToPath(new URL("silent-end.ts", import.meta.url));
  const child = fork(file, { execArgv: [] });
  t.after(() => child.kill("SIGKILL"));
  const failed = once(child, "exit").then(([code]) => assert.fail(`it ended with ${String(code)}`));
  const [told] = (await Promise.race([once(child, "message"), failed])) as [string];
  assert.equal(told, "its thread is gone");
  failed.catch(() => undefined);
});

test("lanes die again and again under load: each request is answered, or its connection ends", async (t) => {
  const served = await serve(t, 2);
  if (served === undefined) return;
  const { lanes, listener, workers } = served;
  const load = { isOver: false };
  const counts = { answered: 0, lost: 0, refused: 0 };
  const client = async (number: number): Promise<void> => {
    for (let round = 0; !load.isOver; round += 1) {
      const target = `/${number}/${round}`;
      const socket = connect(listener.port, "127.0.0.1");
      const text = await exchange(socket, get(target, "Connection: close"));
      if (text === undefined) counts.refused += 1;
      else if (text.endsWith(`\r\n\r\n${target}`)) counts.answered += 1;
      else {
        assert.ok(text === "" || text.startsWith("HTTP/1.1 200 OK\r\n"), text);
        counts.lost += 1;
      }
    }
  };
  const clients = Array.from({ length: 20 }, (_, number) => client(number));
  for (let death = 0; death < 6; death += 1) {
    const { answered } = counts;
    await turnsUntil(() => counts.answered >= answered + 50 && workers.length === 2 + death, 1);
    await workers.at(-1)?.terminate();
    await turnsUntil(() => lanes.restarts() === death + 1, 1);
  }
  load.isOver = true;
  await Promise.all(clients);
  assert.equal(counts.refused, 0);
  assert.ok(counts.answered >= 300, JSON.stringify(counts));
  t.diagnostic(JSON.stringify(counts));
});

/** Undefined: the connection was refused. */
async function exchange(socket: Socket, bytes: string): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let isRefused = false;
  socket.on("error", (error: NodeJS.ErrnoException) => {
    isRefused = error.code === "ECONNREFUSED";
  });
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.write(bytes);
  await new Promise((resolve) => socket.on("close", resolve));
  return isRefused ? undefined : Buffer.concat(chunks).toString();
}
