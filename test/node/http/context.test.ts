import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { answerHalfClosed } from "#base/half-closed.ts";
import { contextOf } from "../../../node/http/context.ts";
import type { RequestContext } from "../../../node/serve/request-context.ts";
import { fakeClock } from "../../support/fake-clock.ts";

/** A client with a request, and its context at the server. */
async function start(t: TestContext) {
  const clock = fakeClock();
  const arrived = Promise.withResolvers<{ context: RequestContext; response: ServerResponse }>();
  const server = createServer((request, response) => {
    arrived.resolve({ context: contextOf(request, response, "1", clock), response });
  });
  answerHalfClosed(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.on("error", () => undefined);
  client.resume();
  t.after(() => {
    client.destroy();
    server.closeAllConnections();
    server.close();
  });
  client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  return { clock, client, ...(await arrived.promise) };
}

async function untilAborted({ signal }: RequestContext): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

test("a client is known by its network, and gone when its connection is cut", async (t) => {
  const { client, context } = await start(t);
  assert.equal(context.clientNetwork, "127.0.0.0/24");
  assert.equal(context.signal.aborted, false);
  client.resetAndDestroy();
  await untilAborted(context);
  assert.match(String(context.signal.reason), /the client closed its connection/);
});

test("a client that half-closes is gone after two seconds, unless its response has begun", async (t) => {
  const waiting = await start(t);
  waiting.client.end();
  for (let tries = 0; tries < 100; tries += 1) {
    await pause(5);
    waiting.clock.advance(15);
  }
  assert.equal(waiting.context.signal.aborted, false);
  waiting.clock.advance(2000);
  assert.equal(waiting.context.signal.aborted, true);
  const begun = await start(t);
  begun.client.end();
  begun.response.write("begun");
  await pause(50);
  begun.clock.advance(10_000);
  assert.equal(begun.context.signal.aborted, false);
  begun.response.end();
  await once(begun.response, "close");
  assert.equal(begun.context.signal.aborted, false, "a response that is complete has nobody to miss it");
});

test("who asks for the signal only after the client has left is told so", async (t) => {
  const { client, context, response } = await start(t);
  client.resetAndDestroy();
  await once(response, "close");
  assert.equal(context.signal.aborted, true);
  assert.equal(context.clientNetwork, "127.0.0.0/24");
});
