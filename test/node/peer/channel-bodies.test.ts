/** Bodies that pass through the channel between nodes. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { test, type TestContext } from "node:test";
import { fakeClock } from "../../support/fake-clock.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { secretA, echo, startNode, type Asker, startAsker, unreachable } from "./channel-nodes.ts";

test("a body comes as it is made, and one that is cut fails where it is read", async (t) => {
  const steps: (() => void)[] = [];
  const { member } = await startNode(t, [secretA], (request, response) => {
    response.writeHead(200, { "content-length": 9 });
    response.write("one");
    steps.push(
      () => response.write("two"),
      () => {
        if (request.url === "/cut") request.socket.destroy();
        else response.end("six");
      },
    );
  });
  const { ask, client } = startAsker(t, [secretA]);
  for (const path of ["/whole", "/cut"]) {
    const answer = await ask(member, { path });
    const chunks = answer.body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const next = async (): Promise<string | undefined> => {
      const step = await chunks.next();
      return step.done === true ? undefined : step.value.toString();
    };
    assert.equal(await next(), "one", "before the rest is made");
    steps.shift()?.();
    assert.equal(await next(), "two");
    steps.shift()?.();
    if (path === "/cut") await assert.rejects(next(), { code: "UND_ERR_SOCKET" });
    else assert.deepEqual([await next(), await next()], ["six", undefined]);
  }
  assert.equal(client.isShunned(member), false);
});

test("a large body passes whole, at the pace of who reads it", async (t) => {
  const bytes = randomBytes(8 * 1024 * 1024);
  const { member } = await startNode(t, [secretA], (_, response) => {
    response.writeHead(200, { "content-length": bytes.length }).end(bytes);
  });
  const { ask } = startAsker(t, [secretA]);
  const answer = await ask(member);
  const chunks: Buffer[] = [];
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(Buffer.concat(chunks).equals(bytes));
});

test("a body may be silent for ten seconds, and an event stream for an hour, whatever was requested", async (t) => {
  const { member } = await startNode(t, [secretA], ({ url }, response) => {
    response.writeHead(200, { "content-type": url === "/events" ? "text/event-stream" : "text/plain" });
    response.write("data: 1\n\n");
    response.socket?.setTimeout(0);
  });
  for (const [path, silenceMs] of [
    ["/text", 10_000],
    ["/events", 3_600_000],
  ] as const) {
    const clock = fakeClock();
    const { ask } = startAsker(t, [secretA], { clock });
    const { body } = await ask(member, { path });
    let isCut = false;
    body.on("error", () => (isCut = true));
    body.resume();
    await turnsUntil(() => body.readableDidRead);
    clock.advance(silenceMs - 1000);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(isCut, false, path);
    clock.advance(silenceMs);
    await turnsUntil(() => isCut);
  }
});

/** A member whose bodies at `/drip` have one byte and no end, until the test ends them; `/hang` gets no response. */
async function startDripping(t: TestContext) {
  const dripping: ServerResponse[] = [];
  const node = await startNode(t, [secretA], (asked, response) => {
    if (asked.url !== "/drip" && asked.url !== "/hang") {
      echo(asked, response);
      return;
    }
    if (asked.url === "/drip") response.write("a");
    dripping.push(response);
  });
  const clock = fakeClock();
  return { node, clock, dripping, ...startAsker(t, [secretA], { clock }) };
}

test("a client network gets two thirds of the connections to a member", async (t) => {
  const { node, clock, dripping, ask, text, client } = await startDripping(t);
  const bodies: Awaited<ReturnType<Asker["ask"]>>["body"][] = [];
  let refused = 0;
  const drip = (network: string, count: number): void => {
    for (let sent = 0; sent < count; sent += 1) {
      ask(node.member, { path: "/drip", network }).then(
        ({ body }) => bodies.push(body),
        (error: unknown) => {
          assert.ok(unreachable(error));
          refused += 1;
        },
      );
    }
  };
  drip("x", 150);
  await turnsUntil(() => bodies.length === 43);
  assert.match(await text(node.member, { network: "y" }), /"GET"/, "the places of others are free");
  // Two thirds of the 48 connections for slow bodies are theirs, too.
  clock.advance(250);
  await turnsUntil(() => bodies.length === 43 + 32);
  assert.match(await text(node.member, { network: "y" }), /"GET"/);
  drip("y", 10);
  await turnsUntil(() => bodies.length === 43 + 32 + 10);
  clock.advance(750);
  await turnsUntil(() => refused === 150 - 43 - 32);
  assert.equal(client.isShunned(node.member), false);
  const all = bodies.map(async (body) => await body.text());
  for (const response of dripping) response.end();
  for (const body of all) assert.equal(await body, "a");
  await turnsUntil(() => bodies.every(({ closed }) => closed));
  drip("x", 150);
  await turnsUntil(() => bodies.length === 43 + 32 + 10 + 43);
});

test("while slow requests of many networks hold all places, a request waits for a moment only", async (t) => {
  for (const path of ["/drip", "/hang"]) {
    const { node, clock, dripping, ask, client } = await startDripping(t);
    const begin = async (network: string): Promise<void> => {
      const { body } = await ask(node.member, { path, network, timeoutMs: 60_000 });
      body.on("error", () => undefined);
    };
    const beginMany = (count: number): void => {
      for (let sent = 0; sent < count; sent += 1) begin(`x${sent % 60}`).catch(() => undefined);
    };
    beginMany(64);
    await turnsUntil(() => dripping.length === 64);
    clock.advance(250);
    beginMany(48);
    await turnsUntil(() => dripping.length === 64 + 48);
    clock.advance(250);
    const late = assert.rejects(ask(node.member, { network: "z" }), unreachable);
    clock.advance(100);
    await late;
    assert.equal(client.isShunned(node.member), false);
  }
});

test("a request that is dropped while it waits for a connection leaves its turn to the next", async (t) => {
  const { node, dripping, ask, text } = await startDripping(t);
  for (let count = 0; count < 43; count += 1) {
    (await ask(node.member, { path: "/drip" })).body.on("error", () => undefined).resume();
  }
  const leaving = new AbortController();
  const left = ask(node.member, { signal: leaving.signal });
  const next = text(node.member);
  leaving.abort(new Error("the client left"));
  await assert.rejects(left, /the client left/);
  dripping[0]?.end();
  assert.match(await next, /"GET"/);
});
