/** The public application when its origin fails, hangs or sends nonsense, and when its clients leave. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { Script } from "../../support/loopback-origin.ts";
import { startHangingListener } from "../../support/hanging-listener.ts";
import { readCacheStatus } from "./cache-status.ts";
import { assets, img, startEdge } from "./edge-app.ts";
import { exchange, fieldOf, problemOf, readAnswer, request } from "./raw.ts";
import { turnsUntil } from "../../support/turns-until.ts";

test("an origin's failure is a 5xx that says its code and nothing of the machine, in Cache-Status too", async (t) => {
  for (const [host, kind] of [
    [assets, "assets"],
    [img, "images"],
  ] as const) {
    // An edge for each: of one code only so many lines are logged in a second.
    const { listener, origin, served, lines } = await startEdge(t);
    await origin.stop();
    // Twice as many as it takes to open the breaker: the refusal looks the same.
    for (let count = 0; count < 4; count += 1) {
      const answer = await request(listener, "GET /a", [host]);
      const problem = problemOf(answer);
      assert.deepEqual([answer.status, problem["code"]], [502, "ORIGIN_UNREACHABLE"], kind);
      assert.deepEqual(Object.keys(problem).toSorted(), ["code", "requestId", "status", "title", "type"], kind);
      assert.ok(!answer.body.includes("127.0.0.1") && !answer.body.includes(String(origin.port)), kind);
      assert.equal(fieldOf(answer, "cache-control"), "no-store", kind);
      const [member] = readCacheStatus(fieldOf(answer, "cache-status") ?? "");
      assert.deepEqual([member?.name, member?.parameters.get("detail")], ["fra1", "ORIGIN_UNREACHABLE"], kind);
      assert.equal(served.at(-1)?.kind, kind);
      const said = lines.at(-1);
      assert.deepEqual([said?.level, said?.facts["requestId"]], ["warn", problem["requestId"]], kind);
    }
  }
});

test("an origin that sends what is no HTTP is a 502 like other failures of origins", async (t) => {
  const { listener, served } = await startEdge(t, (_asked, response) => {
    response.socket?.end("HTTP/1.1 200 OK\r\nX-Bad: a\x01b\r\nContent-Length: 4\r\n\r\nbody");
  });
  const answer = await request(listener, "GET /a", [assets]);
  assert.deepEqual([answer.status, problemOf(answer)["code"]], [502, "ORIGIN_BAD_ANSWER"]);
  assert.equal(served.at(-1)?.kind, "assets");
});

test("a client waits for a hung origin as long as the setting and the log say, wherever it hangs", async (t) => {
  const timeoutMs = 1500;
  const hanging = await startHangingListener(t);
  const sha256 = "0".repeat(64);
  const headOnly: Script = (_request, response) => {
    response.writeHead(200, { etag: `"${sha256}"`, "content-length": "100", "cache-control": "max-age=60" });
    response.write("some of it");
  };
  const rows: [what: string, script: Script, originUrl: string | undefined][] = [
    ["its headers never come", () => undefined, undefined],
    ["its body stalls", headOnly, undefined],
    ["no connection comes about", () => undefined, hanging.url],
  ];
  for (const [what, script, originUrl] of rows) {
    for (const host of ["img.cdn.test", "static.cdn.test"]) {
      const settings = originUrl === undefined ? { timeoutMs } : { timeoutMs, originUrl };
      const { listener, lines } = await startEdge(t, script, settings);
      const startedMs = performance.now();
      const text = await exchange(listener, `GET /a.jpg HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      const waitedMs = performance.now() - startedMs;
      const row = `${host}, ${what}: ${Math.round(waitedMs)} ms`;
      // An asset's body that has begun can only be cut.
      const isCut = host === "static.cdn.test" && script === headOnly;
      if (isCut) assert.throws(() => readAnswer(text), row);
      else {
        const answer = readAnswer(text);
        assert.deepEqual([answer.status, problemOf(answer)["code"]], [504, "ORIGIN_TIMEOUT"], row);
      }
      // undici looks at silent bodies once a second or so; the rest is for a machine that is busy.
      assert.ok(waitedMs >= timeoutMs - 50 && waitedMs < timeoutMs + 2500, row);
      const message = isCut ? "a response ended early" : "a request failed";
      const told = lines.find((one) => one.message === message)?.facts;
      assert.equal(typeof told?.["requestId"], "string", row);
      if (isCut) assert.equal(told?.["host"], host, row);
      if (!isCut) assert.equal(told?.["code"], "ORIGIN_TIMEOUT", row);
      assert.match(String(told?.["reason"]), /within 1500 ms$/, row);
    }
  }
});

test("a flood of requests that fail makes five lines a second, and one with the number of the others", async (t) => {
  const { listener, lines } = await startEdge(t, (_request, response) => {
    response.destroy();
  });
  const flood = 200;
  for (let count = 0; count < flood; count += 1) {
    assert.equal((await request(listener, `GET /${count}`, ["Host: static.cdn.test"])).status, 502);
  }
  const omitted = (): number => lines.reduce((sum, { facts }) => sum + Number(facts["omitted"] ?? 0), 0);
  const told = (): number => lines.filter(({ message }) => message === "a request failed").length;
  await turnsUntil(() => told() + omitted() >= flood, 20);
  assert.equal(told() + omitted(), flood);
  assert.ok(omitted() > 0 && lines.length < flood / 2, `${lines.length} lines`);
});

test("two hundred clients that send cold requests and reset their connections cause hardly any fetches", async (t) => {
  const { listener, origin } = await startEdge(t);
  const left = Array.from({ length: 200 }, async (_, number) => {
    const client = connect(listener.port, "127.0.0.1");
    client.on("error", () => undefined);
    await once(client, "connect");
    client.write(`GET /abandoned${number} HTTP/1.1\r\n${assets}\r\n\r\n`, () => client.resetAndDestroy());
    if (!client.closed) await once(client, "close");
  });
  await Promise.all(left);
  const stayed = await request(listener, "GET /stayed", [assets]);
  assert.equal(stayed.status, 200);
  // The first few arrive before they leave.
  assert.ok(origin.asked.length <= 10, `${origin.asked.length} requests to the origin`);
});

test("a client that leaves before its response began is reported once, too", async (t) => {
  const { promise: never } = Promise.withResolvers<void>();
  const { listener, origin, served, load } = await startEdge(t, () => never);
  for (const [index, leave] of [
    (client: Socket) => client.resetAndDestroy(),
    (client: Socket) => client.destroy(),
    (client: Socket) => client.end(), // it might still wait for its response; that is over after two seconds
  ].entries()) {
    const client = connect(listener.port, "127.0.0.1");
    client.on("error", () => undefined).resume();
    client.write(`GET /hangs/${index} HTTP/1.1\r\n${assets}\r\n\r\n`);
    await eventually(() => origin.asked.length === index + 1);
    leave(client);
    await eventually(() => served.length === index + 1);
    const { durationMs, ...counted } = served[index] ?? { durationMs: -1 };
    assert.deepEqual(counted, {
      host: "static.cdn.test",
      kind: "assets",
      outcome: "gone",
      status: 499,
      bodyBytes: 0,
    });
    assert.ok(durationMs > 0);
    client.destroy();
  }
  await pause(50);
  assert.deepEqual([served.length, load.requests], [3, 3]);
});

async function eventually(isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500 && !isSo(); tries += 1) await pause(10);
  assert.ok(isSo());
}
