/** Origins that answer anything at all, and clients that leave at any moment: nothing leaks, nothing ends the edge. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "#base/clock.ts";
import { type Random, seededRandom } from "#base/random.ts";
import { openAssetFetcher } from "../../../../node/fetch/asset.ts";
import { dropBody } from "../../../../node/fetch/body.ts";

const pieces = [
  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood",
  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngoodand more",
  "HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\ntoo short",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngo",
  "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody",
  "HTTP/1.1 204 No Content\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
  "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
  "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
  "HTTP/1.0 200 OK\r\n\r\nuntil the end",
  `HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}\r\n\r\n`,
  "HTTP/1.1 200 OK\r\n",
  "nonsense\r\n\r\n",
  "",
];

function answer(socket: Socket, random: Random): void {
  const piece = pieces[Math.floor(random() * pieces.length)] ?? "";
  const cut = random() < 0.2 ? Math.floor(random() * piece.length) : piece.length;
  const send = (): void => {
    if (socket.destroyed) return;
    socket.write(piece.slice(0, cut));
    const then = random();
    if (then < 0.3) socket.end();
    else if (then < 0.4) socket.resetAndDestroy();
  };
  if (random() < 0.3) setTimeout(send, random() * 60);
  else send();
}

async function hostileOrigin(t: TestContext, random: Random): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", () => {
      answer(socket, random);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("whatever an origin sends and whenever a client leaves, every place is free in the end", async (t) => {
  const faults: unknown[] = [];
  const note = (error: unknown): void => void faults.push(error);
  process.on("uncaughtException", note);
  process.on("unhandledRejection", note);
  t.after(() => {
    process.off("uncaughtException", note);
    process.off("unhandledRejection", note);
  });
  const alive = setInterval(() => undefined, 1000); // the clock's timers do not keep the process alive
  t.after(() => {
    clearInterval(alive);
  });
  for (let seed = 1; seed <= 4; seed += 1) {
    const random = seededRandom(seed);
    const origin = await hostileOrigin(t, random);
    const fetcher = openAssetFetcher({ node: "fra1", privateNetworks: ["127.0.0.0/8"], clock: systemClock, random });
    t.after(() => fetcher.close());
    const one = async (index: number): Promise<void> => {
      const leaving = new AbortController();
      const timer = random() < 0.4 ? setTimeout(() => leaving.abort(new Error("gone")), random() * 100) : undefined;
      try {
        const head = await fetcher.fetch({
          origin,
          method: random() < 0.2 ? "HEAD" : "GET",
          target: `/${index % 97}`,
          clientFields: {},
          extra: {},
          timeoutMs: 300,
          failureMs: 0,
          client: `10.0.${index % 7}.0/24`,
          signal: leaving.signal,
        });
        const what = random();
        if (what < 0.3) dropBody(head);
        else if (what < 0.9) await head.body.dump();
        else await pause(random() * 50).then(() => head.body.destroy());
      } catch {
        // any failure will do here, as long as it is one
      } finally {
        clearTimeout(timer);
      }
    };
    const stats = () => fetcher.upstreams()[0];
    const untilMs = performance.now() + 60_000;
    let next = 0;
    const worker = async (): Promise<void> => {
      // An open breaker refuses at once, for how long depends on the machine: go on until enough were sent.
      while (next < 600 || ((stats()?.requests ?? 0) <= 300 && performance.now() < untilMs)) {
        await one((next += 1));
        if (stats()?.breaker !== "closed") await pause(5);
      }
    };
    await Promise.all(Array.from({ length: 30 }, worker));
    for (let tries = 0; tries < 300 && (stats()?.placesInUse ?? 0) > 0; tries += 1) await pause(10);
    assert.deepEqual([stats()?.placesInUse, stats()?.placesWaiting], [0, 0], `seed ${seed}`);
    assert.deepEqual(faults, [], `seed ${seed}`);
    assert.ok((stats()?.requests ?? 0) > 300, `seed ${seed}: the breaker left too few requests`);
  }
});
