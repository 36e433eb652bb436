/** The channel to peers that are dead, silent, slow or lose connections: what it costs, and who is shunned. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { listenForPeers } from "../../../node/peer/peer-listener.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { secretA, echo, startNode, memberAt, startAsker, unreachable, startSocketServer } from "./channel-nodes.ts";

test("a peer that takes the connection and never answers costs one deadline, and is shunned then", async (t) => {
  const clock = fakeClock();
  let came = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    came = resolve;
  });
  const { member } = await startNode(t, [secretA], () => {
    came();
  });
  const { ask, client } = startAsker(t, [secretA], { clock });
  const answer = assert.rejects(ask(member, { timeoutMs: 3000 }), unreachable);
  await asked;
  assert.equal(client.isShunned(member), false);
  clock.advance(3000);
  await answer;
  assert.equal(client.isShunned(member), true);
  await assert.rejects(ask(member), /failed recently/);
  assert.equal(client.counts().refused, 1);
});

test("so does one that takes the connection and never finishes the handshake", async (t) => {
  const clock = fakeClock();
  const port = await startSocketServer(t, () => undefined);
  const { ask, client } = startAsker(t, [secretA], { clock, connectTimeoutsMs: { withinSite: 500 } });
  const answer = assert.rejects(ask(memberAt(port)), unreachable);
  // undici begins to connect in this turn of the event loop or the next.
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(500);
  await answer;
  assert.equal(client.isShunned(memberAt(port)), true);
});

test("a slow answer does not shun a peer that answers others meanwhile", async (t) => {
  const clock = fakeClock();
  let came = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    came = resolve;
  });
  const { member } = await startNode(t, [secretA], (request, response) => {
    if (request.url === "/slow") came();
    else echo(request, response);
  });
  const { ask, text, client } = startAsker(t, [secretA], { clock });
  const slow = assert.rejects(ask(member, { path: "/slow", timeoutMs: 3000 }), unreachable);
  await asked;
  clock.advance(1000);
  await text(member);
  clock.advance(2000);
  await slow;
  assert.equal(client.isShunned(member), false);
});

test("a dead peer is not asked until it is back, which is found out without any request", async (t) => {
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const node = await startNode(t, [secretA]);
  const { ask, text, client } = startAsker(t, [secretA], { clock, log });
  await text(node.member);
  await node.listener.close(0);
  await assert.rejects(ask(node.member), unreachable);
  for (let number = 0; number < 100; number += 1) await assert.rejects(ask(node.member), unreachable);
  assert.deepEqual([client.counts().refused, client.counts().shunned], [100, 1]);
  const settled = async (level: string, message: string): Promise<void> => {
    await turnsUntil(() => lines.some((line) => line.level === level && line.message === message));
    lines.length = 0;
  };
  clock.advance(1000);
  assert.equal(client.isShunned(node.member), true, "somebody knocks now");
  await settled("debug", "peer does not answer yet");
  const again = await listenForPeers({
    host: "127.0.0.1",
    port: node.listener.port,
    secrets: () => [secretA],
    application: echo,
    clock: systemClock,
    log: silentLog,
  });
  t.after(() => again.close(0));
  clock.advance(1999);
  assert.equal(client.isShunned(node.member), true);
  clock.advance(1);
  assert.equal(client.isShunned(node.member), true);
  await settled("info", "peer answers again");
  assert.equal(client.isShunned(node.member), false);
  assert.match(await text(node.member), /"GET"/);
  assert.equal(client.counts().shunned, 0);
});

test("a peer that fell silent and came back is found by the first knock, over a new connection", async (t) => {
  const { member } = await startNode(t, [secretA]);
  let isSilent = false;
  let isBack = false;
  let isDropped = false;
  let heard = (): void => undefined;
  /** Between us and the peer; a connection of before it fell silent is never heard again. */
  const port = await startSocketServer(t, (near) => {
    const far = connect(member.port, "127.0.0.1");
    const isOld = !isSilent;
    far.on("error", () => undefined).once("close", () => near.destroy());
    near.once("close", () => far.destroy());
    far.on("data", (bytes: Buffer) => near.write(bytes));
    near.on("data", (bytes: Buffer) => {
      if (!isSilent) far.write(bytes);
      else if (!isBack) heard();
      else if (isOld) isDropped = true;
      else far.write(bytes);
    });
  });
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const { ask, text, client } = startAsker(t, [secretA], { clock, log });
  const far = memberAt(port);
  await Promise.all(Array.from({ length: 32 }, () => text(far)));
  const reached = new Promise<void>((resolve) => {
    heard = resolve;
  });
  isSilent = true;
  const answer = assert.rejects(ask(far, { timeoutMs: 3000 }), unreachable);
  await reached;
  clock.advance(3000);
  await answer;
  isBack = true;
  clock.advance(1000);
  assert.equal(client.isShunned(far), true);
  await turnsUntil(() => isDropped || lines.some(({ message }) => message === "peer answers again"));
  assert.equal(isDropped, false, "the knock went over a connection that is dead");
  assert.match(await text(far), /"GET"/);
});

test("a connection that is lost under a request costs nobody an answer, where it may be asked again", async (t) => {
  const seen = new Set<string>();
  const { member } = await startNode(t, [secretA], (request, response) => {
    const isFirst = !seen.has(request.url ?? "");
    seen.add(request.url ?? "");
    if (isFirst) request.socket.destroy();
    else echo(request, response);
  });
  const { text, ask, client } = startAsker(t, [secretA]);
  for (let number = 0; number < 10; number += 1) assert.match(await text(member, { path: `/${number}` }), /"GET"/);
  assert.deepEqual([client.counts().retried, client.counts().failures], [10, 0]);
  await assert.rejects(ask(member, { method: "POST", path: "/twice-is-not-once" }), unreachable);
  assert.equal(client.counts().retried, 10);
});

test("more requests than may wait are refused at once, without blame", async (t) => {
  const waiting: (() => void)[] = [];
  const { member } = await startNode(t, [secretA], (request, response) => {
    waiting.push(() => {
      echo(request, response);
    });
  });
  const { text, client } = startAsker(t, [secretA], { clock: fakeClock() });
  // 43 connections are for one client network, and 512 requests may wait.
  const asked = Array.from({ length: 43 + 512 + 8 }, () => text(member));
  for (const late of asked.slice(-8)) await assert.rejects(late, unreachable);
  await turnsUntil(() => waiting.length === 43);
  const answering = setInterval(() => {
    for (const answer of waiting.splice(0)) answer();
  }, 1);
  t.after(() => {
    clearInterval(answering);
  });
  await Promise.all(asked.slice(0, -8));
  assert.equal(client.isShunned(member), false);
});

test("who stops to wait gets his own reason, and nobody is blamed", async (t) => {
  const { member } = await startNode(t, [secretA], () => undefined);
  const { ask, client } = startAsker(t, [secretA]);
  const gone = new AbortController();
  const answer = ask(member, { signal: gone.signal });
  gone.abort(new Error("the client left"));
  await assert.rejects(answer, /the client left/);
  await assert.rejects(ask(member, { signal: gone.signal }), /the client left/);
  assert.equal(client.isShunned(member), false);
});
