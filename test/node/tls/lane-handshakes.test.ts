/** TLS in a lane, byte by byte: pieces of any size, silent and slow clients. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect as connectPlain, createServer, type AddressInfo, type Socket } from "node:net";
import { request } from "node:https";
import type { IncomingMessage } from "node:http";
import { test, type TestContext } from "node:test";
import { createNetworkQueue } from "../../../node/front/network-queue.ts";
import { laneTlsMissing, lanesMissing } from "../../../node/front/lane/lanes.ts";
import { certificateFor, testAuthority } from "../../support/certificates.ts";
import { needs } from "../../support/needs.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { get } from "../front/fronted.ts";
import { readAnswers } from "../http/raw.ts";
import { exchangeSecure, openSecure, served, startSecured, type Secured } from "./secured.ts";

const certificates = [served(await certificateFor(["a.example"]))];
const close = "Connection: close";

async function start(t: TestContext, options: Parameters<typeof startSecured>[2] = {}): Promise<Secured | undefined> {
  const missing = lanesMissing() ?? laneTlsMissing();
  if (!needs(t, missing === undefined, missing ?? "")) return undefined;
  return await startSecured(t, certificates, { ...options, through: "a lane" });
}

/** Passes everything to a port on, what clients send in pieces of `pieceBytes`, each in a turn of its own. */
async function inPieces(t: TestContext, port: number, pieceBytes: number): Promise<number> {
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connectPlain(port, "127.0.0.1").setNoDelay(true);
    for (const socket of [client, upstream]) socket.on("error", () => undefined);
    open.add(client).add(upstream);
    upstream.pipe(client);
    let sent = Promise.resolve();
    const pass = async (chunk: Buffer, before: Promise<void>): Promise<void> => {
      await before;
      for (let at = 0; at < chunk.length; at += pieceBytes) {
        upstream.write(chunk.subarray(at, at + pieceBytes));
        await new Promise(setImmediate);
      }
    };
    client.on("data", (chunk: Buffer) => {
      sent = pass(chunk, sent);
    });
    client.on("end", () => {
      void sent.finally(() => upstream.end());
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

test("a connection whose bytes arrive one by one is like any other, with TLS 1.2 and 1.3", async (t) => {
  const secured = await start(t);
  if (secured === undefined) return;
  const port = await inPieces(t, secured.listener.port, 1);
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    const socket = await openSecure(t, { port }, { servername: "a.example", maxVersion });
    const text = await exchangeSecure(socket, get("/hit/100000") + get("/a") + get("/b", close));
    assert.deepEqual(
      readAnswers(text).map(({ body }) => body.length),
      [100_000, 2, 2],
    );
  }
  const { completed, active } = secured.counts();
  assert.deepEqual([completed["TLSv1.2"].full, completed["TLSv1.3"].full, active], [1, 1, 0]);
});

test("three hundred silent clients delay nobody, and are closed", async (t) => {
  const secured = await start(t, { limits: { handshakeMs: 1500 } });
  if (secured === undefined) return;
  const silent = Array.from({ length: 300 }, (_, index) => {
    const socket = connectPlain(secured.listener.port, "127.0.0.1");
    socket.on("error", () => undefined).resume();
    // Some begin a ClientHello and never end it.
    if (index % 2 === 0) socket.write(Buffer.from("1603010200010001fc0303", "hex"));
    t.after(() => socket.destroy());
    return socket;
  });
  await turnsUntil(() => secured.counts().active === 300);
  const socket = await openSecure(t, secured.listener, { servername: "a.example" });
  assert.match(await exchangeSecure(socket, get("/a", close)), /200 OK/);
  await turnsUntil(() => silent.every(({ closed }) => closed), 10);
  assert.deepEqual([secured.counts().failed.timeout, secured.counts().active], [300, 0]);
});

test("a relayed response reaches a client that reads slowly, every byte of it", async (t) => {
  const body = Buffer.alloc(1_000_000, "every byte of a large body ");
  const secured = await start(t, {
    application(_asked, response) {
      for (let at = 0; at < body.length; at += 50_000) response.write(body.subarray(at, at + 50_000));
      response.end();
    },
  });
  if (secured === undefined) return;
  const asking = request({
    host: "127.0.0.1",
    port: secured.listener.port,
    servername: "a.example",
    ca: testAuthority.certificatePem,
    agent: false,
  });
  asking.end();
  const [response] = (await once(asking, "response")) as [IncomingMessage];
  const hash = createHash("sha256");
  for await (const chunk of response) {
    hash.update(chunk as Buffer);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.equal(hash.digest("hex"), createHash("sha256").update(body).digest("hex"));
});

test("networks take turns in the queue, and what is removed has none", () => {
  const queue = createNetworkQueue<string>();
  for (const item of ["a1", "a2", "a3", "b1", "c1", "c2"]) queue.add(item.charAt(0), item);
  queue.remove("c", "c1");
  assert.equal(queue.size(), 5);
  const order = Array.from({ length: 6 }, () => queue.next());
  assert.deepEqual(order, ["a1", "b1", "c2", "a2", "a3", undefined]);
  assert.equal(queue.size(), 0);
});
