/** Origins that are dead, hang or fail, and clients that leave, as the clients of an edge see them. */
import assert from "node:assert/strict";
import { Agent, type OutgoingHttpHeaders, request, type ServerResponse } from "node:http";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { answering, startLoopbackOrigin } from "../../support/loopback-origin.ts";
import { eventually, hostName, type RunningEdge, startEdge } from "./running-edge.ts";

const authorized = { fields: { authorization: "Basic eA==" } };

test("with the origin dead for an hour, every request for a stale response gets it", async (t) => {
  const edge = await startEdge(t);
  const targets = Array.from({ length: 20 }, (_, index) => `/a/${index}`);
  for (const target of targets) {
    edge.origin.say(target, { fields: [["Cache-Control", "max-age=30, stale-if-error=86400"]], body: target });
    await edge.ask(target);
  }
  await edge.origin.refuse();
  for (let minute = 0; minute < 60; minute += 1) {
    edge.skip(60);
    const answers = await Promise.all(targets.map((target) => edge.ask(target)));
    for (const [index, answer] of answers.entries()) {
      assert.deepEqual([answer.status, answer.word, answer.body], [200, "stale", targets[index]], `minute ${minute}`);
    }
  }
  await edge.origin.resume();
  edge.skip(60);
  const back = await Promise.all(targets.map((target) => edge.ask(target)));
  for (const answer of back) assert.equal(answer.status, 200);
  assert.ok(
    back.some(({ word }) => word === "miss"),
    "the origin is asked again by itself",
  );
});

test("a URL that hangs for many, and clients that leave it, take nothing from the other URLs", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/hangs", () => new Promise(() => undefined));
  const leaving = new AbortController();
  const hanging = Array.from({ length: 70 }, async () => {
    await edge.ask("/hangs", { ...authorized, signal: leaving.signal }).catch(() => undefined);
  });
  await pause(100);
  const others = async (name: string): Promise<void> => {
    for (let count = 0; count < 100; count += 1) {
      edge.origin.say(`/${name}/${count}`, { body: "good" });
      const { status } = await edge.ask(`/${name}/${count}`);
      assert.equal(status, 200);
    }
  };
  await others("while");
  leaving.abort();
  await Promise.all(hanging);
  await others("after");
  // One that has only closed its sending side might still wait for a response; that is over after two seconds.
  await pause(2100);
  const again = new AbortController();
  const asked = edge.origin.asked("/hangs").length;
  const later = edge.ask("/hangs", { ...authorized, signal: again.signal }).catch(() => undefined);
  for (let tries = 0; tries < 200 && edge.origin.asked("/hangs").length === asked; tries += 1) await pause(10);
  assert.equal(edge.origin.asked("/hangs").length, asked + 1, "those who left freed their places");
  again.abort();
  await later;
});

test("a URL whose connection is cut is requested once a second, with one retry, and fails alone", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/fails", () => Promise.reject(new Error("cut before its head")));
  for (let count = 0; count < 100; count += 1) {
    assert.equal((await edge.ask("/fails")).status, 502);
    edge.origin.say(`/good/${count}`, { body: "good" });
    assert.equal((await edge.ask(`/good/${count}`)).status, 200);
  }
  assert.equal(edge.origin.asked("/fails").length, 2);
  edge.skip(1);
  assert.equal((await edge.ask("/fails")).status, 502);
  assert.ok(edge.origin.asked("/fails").length <= 4);
});

/**
 * `/drips/STATUS/CONTROL/…` sends a head, and then one byte a second; `/trickles/…`, 2000 bytes a second. Everything
 * else is small.
 */
async function startDrippingOrigin(t: TestContext) {
  return await startLoopbackOrigin(t, ({ target }, response) => {
    const [, kind, status, control = ""] = target.split("/");
    if (kind !== "drips" && kind !== "trickles") {
      response.writeHead(200, { "cache-control": "max-age=60" }).end("good");
      return;
    }
    const piece = kind === "drips" ? { text: "d", everyMs: 1000 } : { text: "d".repeat(500), everyMs: 250 };
    drip(response, Number(status), { "cache-control": control }, piece);
  });
}

function drip(
  response: ServerResponse,
  status: number,
  fields: OutgoingHttpHeaders,
  { text, everyMs } = { text: "d", everyMs: 1000 },
): void {
  response.writeHead(status, fields).write(text);
  const dripping = setInterval(() => response.write(text), everyMs);
  response.once("close", () => {
    clearInterval(dripping);
  });
}

/** The status, once the head is here; 0: cut off before. The body is read until the agent ends. */
function statusFor(edge: RunningEdge, agent: Agent, localAddress: string, path: string): Promise<number> {
  return new Promise((resolve) => {
    const { port } = edge.listeners().fronted;
    const asking = request({ host: "127.0.0.1", port, path, localAddress, agent, headers: { host: hostName } });
    asking.on("response", (answer) => {
      answer.on("error", () => undefined).resume();
      resolve(answer.statusCode ?? 0);
    });
    asking.on("error", () => {
      resolve(0);
    });
    asking.end();
  });
}

for (const [what, path, perNetwork] of [
  ["storable bodies", "drips/200/max-age=60", 3],
  ["bodies that pass through", "drips/200/no-store", 3],
  ["bodies of failures", "drips/500/max-age=60", 3],
  ["twice as many bodies as may be held", "drips/200/no-store", 13],
  ["storable bodies, at 2000 bytes a second", "trickles/200/max-age=60", 3],
  ["bodies that pass through at 2000 bytes a second", "trickles/200/no-store", 3],
  ["twice as many as may be held, at 2000 bytes a second", "trickles/200/no-store", 13],
] as const) {
  test(`40 networks, each with ${perNetwork} URLs that drip, take nothing from others: ${what}`, async (t) => {
    const origin = await startDrippingOrigin(t);
    const edge = await startEdge(t, { host: { origin: origin.url } });
    const agent = new Agent();
    t.after(() => {
      agent.destroy();
    });
    const heads = Array.from({ length: 40 * perNetwork }, (_, index) =>
      statusFor(edge, agent, `127.9.${index % 40}.9`, `/${path}/${index}`),
    );
    await eventually("places are taken", () => (edge.stats().upstream?.placesInUse ?? 0) >= 60);
    const statuses: Promise<number>[] = [];
    const tookMs: number[] = [];
    for (let count = 0; count < 150; count += 1) {
      const askedMs = performance.now();
      const status = statusFor(edge, agent, `127.9.${100 + (count % 3)}.9`, `/good/${count}`);
      statuses.push(status);
      void status.then(() => tookMs.push(performance.now() - askedMs));
      await pause(30);
      edge.skip(0.03); // as much as has passed
    }
    assert.deepEqual([...new Set(await Promise.all(statuses))], [200]);
    tookMs.sort((one, other) => one - other);
    t.diagnostic(`median ${tookMs[75]?.toFixed()} ms, at most ${tookMs.at(-1)?.toFixed()} ms`);
    const { bodiesHeld = 0, placesInUse = 0 } = edge.stats().upstream ?? {};
    // Above 1 KiB a second, no more than others need.
    assert.ok(bodiesHeld >= (path.startsWith("drips") ? 40 * 3 : 16), `${bodiesHeld} are held`);
    assert.ok(bodiesHeld <= 256 && placesInUse <= 64);
    agent.destroy();
    const own = Object.groupBy(await Promise.all(heads), String);
    t.diagnostic(
      Object.entries(own)
        .map(([status, all]) => `${all?.length} of them: ${status}`)
        .join(", "),
    );
  });
}

test("the body of a failure has the host's time in all; past it, the origin is late", async (t) => {
  const timeoutMs = 1500;
  const origin = await startDrippingOrigin(t);
  const edge = await startEdge(t, { host: { origin: origin.url, timeoutMs } });
  for (const [path, status] of [
    ["/drips/500/max-age=60/a", 504],
    ["/drips/403/no-store/a", 403], // the status alone says enough
  ] as const) {
    const startMs = performance.now();
    assert.equal((await edge.ask(path)).status, status, path);
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs >= timeoutMs - 1 && tookMs < timeoutMs * 5, `${path}: ${tookMs.toFixed()} ms`);
    await eventually("its connection is closed", () => {
      const { placesInUse, bodiesHeld } = edge.stats().upstream ?? {};
      return placesInUse === 0 && bodiesHeld === 0;
    });
  }
  origin.script(answering(200, { "cache-control": "max-age=60, stale-if-error=600" }, "good"));
  await edge.ask("/a");
  edge.skip(100);
  origin.script((_request, response) => {
    drip(response, 429, {});
  });
  const got = await edge.ask("/a");
  assert.deepEqual([got.status, got.body, got.word], [200, "good", "stale"]);
});

for (const status of [401, 402, 403, 451]) {
  test(`what the origin withdraws with ${status} is given to nobody, even if its text is late`, async (t) => {
    const origin = await startDrippingOrigin(t);
    const edge = await startEdge(t, { host: { origin: origin.url, timeoutMs: 1500, staleWaitMs: 300 } });
    origin.script(answering(200, { "cache-control": "max-age=60, stale-if-error=600" }, "secret"));
    await edge.ask("/a");
    edge.skip(100);
    origin.script((_request, response) => {
      drip(response, status, {});
    });
    const first = edge.ask("/a");
    await pause(500); // past what requests wait for if they can get something stale
    const answers = await Promise.all([first, edge.ask("/a"), edge.ask("/a")]);
    assert.deepEqual(
      answers.map((answer) => [answer.status, answer.body]),
      [1, 2, 3].map(() => [status, ""]),
    );
    edge.skip(10);
    origin.script(answering(500, {}, "down"));
    assert.equal((await edge.ask("/a")).status, 500, "nothing is stored any more");
  });
}
