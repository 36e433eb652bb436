/** Bodies that pass through the channel between nodes. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
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

test("a member whose connections slow bodies hold gets no requests until they end; it is not shunned", async (t) => {
  const dripping: ServerResponse[] = [];
  const node = await startNode(t, [secretA], (asked, response) => {
    if (asked.url !== "/drip") {
      echo(asked, response);
      return;
    }
    response.write("a");
    dripping.push(response);
  });
  const clock = fakeClock();
  const { ask, text, client } = startAsker(t, [secretA], { clock });
  const bodies: Awaited<ReturnType<Asker["ask"]>>["body"][] = [];
  for (let count = 0; count < 48; count += 1) bodies.push((await ask(node.member, { path: "/drip" })).body);
  assert.match(await text(node.member), /"GET"/, "they may be quick");
  clock.advance(1000);
  await assert.rejects(ask(node.member), unreachable);
  assert.equal(client.isShunned(node.member), false);
  for (const response of dripping) response.end();
  for (const body of bodies) assert.equal(await body.text(), "a");
  await turnsUntil(() => bodies.every(({ closed }) => closed));
  assert.match(await text(node.member), /"GET"/);
  assert.equal(client.counts().refused, 1);
});

test("requests that wait behind slow bodies give up soon, and the member is not shunned", async (t) => {
  const node = await startNode(t, [secretA], (_asked, response) => {
    response.write("a");
  });
  const clock = fakeClock();
  const { ask, client } = startAsker(t, [secretA], { clock });
  for (let count = 0; count < 64; count += 1) (await ask(node.member, { path: "/drip" })).body.on("error", () => {});
  const waiting = ask(node.member, { path: "/waits", timeoutMs: 12_000 });
  waiting.catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 20));
  clock.advance(500);
  clock.advance(500);
  await assert.rejects(waiting, unreachable);
  assert.equal(client.isShunned(node.member), false);
});
