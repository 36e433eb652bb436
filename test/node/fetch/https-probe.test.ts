/** Probes of nodes that serve HTTPS: a node is as well as what its clients use. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import type { TLSSocket } from "node:tls";
import { askField, createProofs, proofField } from "#health/health-proof.ts";
import { openProbeClient } from "../../../node/fetch/http-probe.ts";
import { certificateFor } from "../../support/certificates.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { turns } from "../front/fronted.ts";
import { type LoopbackOrigin, startLoopbackOrigin } from "../../support/loopback-origin.ts";

const secret = randomBytes(32);
const dayMs = 86_400_000;

/** The answer of a node that wants to be probed at this URL. */
function signing(probe: () => string | undefined, state = "ready"): Signed {
  const proofs = createProofs(() => [secret]);
  return ({ headers }, response) => {
    const body = JSON.stringify({ node: "fra1", state, word: { load: 1, probe: probe() } });
    const status = state === "ready" ? 200 : 503;
    const sign = proofs.signerFor(headers[askField]);
    response.writeHead(status, sign === undefined ? {} : { [proofField]: sign(status, body) }).end(body);
  };
}

type Signed = (request: Pick<IncomingMessage, "headers">, response: ServerResponse) => void;

interface Scene {
  origin: LoopbackOrigin;
  https: {
    url: string;
    server: Server;
    handshakes: { servername: string | undefined; isReused: boolean }[];
    /** Probes that came over HTTPS. */
    asked: number;
  };
  /** What the node names in its answers over HTTP. */
  so: { probe: string | undefined };
  client: ReturnType<typeof openProbeClient>;
  clock: FakeClock;
  outcome: () => Promise<string>;
}

async function start(t: TestContext, validToMs = Date.now() + dayMs): Promise<Scene> {
  const so: Scene["so"] = { probe: undefined };
  const handshakes: Scene["https"]["handshakes"] = [];
  const { certificatePem, keyPem } = await certificateFor(["img.cdn.test"], { validToMs });
  const script = signing(() => so.probe);
  const server: Server = createServer({ cert: certificatePem, key: keyPem }, (request, response) => {
    https.asked += 1;
    script(request, response);
  });
  const https: Scene["https"] = { url: "", server, handshakes, asked: 0 };
  server.on("secureConnection", (socket: TLSSocket) => {
    const { servername } = socket as TLSSocket & { servername: string | false };
    handshakes.push({ servername: servername === false ? undefined : servername, isReused: socket.isSessionReused() });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = await startLoopbackOrigin(t, script);
  const clock = fakeClock(Date.now());
  const client = openProbeClient({ secrets: () => [secret], servername: () => "img.cdn.test", clock });
  t.after(() => client.close());
  https.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    https,
    so,
    client,
    clock,
    async outcome() {
      // Until the connection of the last probe is free again.
      await turns();
      const result = await client.probe({ name: "fra1", http: origin.url }, 5000);
      return result.outcome === "failed" ? `failed: ${result.reason}` : result.outcome;
    },
  };
}

test("both listeners of a node are probed, and no more often than one", async (t) => {
  const { origin, https, so, outcome } = await start(t);
  so.probe = https.url;
  assert.equal(await outcome(), "ready");
  const [overHttp, overHttps] = [origin.asked.length, https.asked];
  for (let count = 0; count < 20; count += 1) assert.equal(await outcome(), "ready");
  assert.deepEqual([origin.asked.length - overHttp, https.asked - overHttps], [10, 10]);
});

test("a node whose HTTP is dead is not up, although its HTTPS answers, until HTTP is back", async (t) => {
  const { origin, https, so, outcome } = await start(t);
  so.probe = https.url;
  for (let count = 0; count < 4; count += 1) assert.equal(await outcome(), "ready");
  await origin.stop();
  const outcomes = [await outcome(), await outcome()];
  assert.ok(
    outcomes.some((one) => one.startsWith(`failed: ${origin.url}: `)),
    outcomes.join(),
  );
  for (let count = 0; count < 5; count += 1) {
    assert.equal(await outcome(), `failed: ${origin.url}: connection refused`);
  }
  await origin.start();
  for (let count = 0; count < 4; count += 1) assert.equal(await outcome(), "ready");
});

test("a dead listener of HTTP is noticed although its kept connections answer", async (t) => {
  const { origin, https, so, outcome, clock } = await start(t);
  so.probe = https.url;
  for (let count = 0; count < 4; count += 1) assert.equal(await outcome(), "ready");
  origin.close();
  const outcomes: string[] = [];
  for (let second = 0; second < 16; second += 1) {
    clock.advance(1000);
    outcomes.push(await outcome());
  }
  assert.equal(outcomes[0], "ready", "the kept connection answers");
  assert.equal(outcomes.at(-1), `failed: ${origin.url}: connection refused`);
});

test("a node that names HTTPS is probed there, with a name that clients use", async (t) => {
  const { https, so, outcome, client } = await start(t);
  assert.equal(await outcome(), "ready");
  assert.equal(https.handshakes.length, 0, "it names nothing");
  assert.equal(client.certificateExpiryMs("fra1"), undefined);
  so.probe = https.url;
  for (let count = 0; count < 3; count += 1) assert.equal(await outcome(), "ready");
  assert.deepEqual(https.handshakes, [{ servername: "img.cdn.test", isReused: false }], "one connection");
  assert.ok((client.certificateExpiryMs("fra1") ?? 0) > Date.now());
});

test("a node whose HTTPS is dead is not up, although its HTTP answers, until it names HTTP alone", async (t) => {
  const { https, so, outcome, clock } = await start(t);
  so.probe = https.url;
  assert.equal(await outcome(), "ready");
  https.server.close();
  // What is connected still answers, until the next handshake is due.
  clock.advance(10_000);
  await outcome();
  for (let count = 0; count < 3; count += 1) {
    assert.match(await outcome(), new RegExp(`^failed: ${https.url}: connection refused$`));
  }
  so.probe = undefined;
  assert.equal(await outcome(), "ready");
  so.probe = https.url;
  assert.match(await outcome(), /^failed: https:/);
});

test("there is a new handshake every ten seconds, and a renewed certificate shows then", async (t) => {
  const { https, so, outcome, client, clock } = await start(t);
  so.probe = https.url;
  const probes = async (count: number): Promise<void> => {
    for (let probe = 0; probe < count; probe += 1) {
      assert.equal(await outcome(), "ready");
      clock.advance(1000);
    }
  };
  await probes(10);
  assert.equal(https.handshakes.length, 1);
  const validToMs = Date.UTC(2040, 0, 1);
  const { certificatePem, keyPem } = await certificateFor(["img.cdn.test"], { validToMs });
  https.server.setSecureContext({ cert: certificatePem, key: keyPem });
  await probes(10);
  assert.equal(client.certificateExpiryMs("fra1"), validToMs);
  assert.ok(https.handshakes.length >= 2 && https.handshakes.length < 5, `${https.handshakes.length} handshakes`);
  assert.ok(https.handshakes.every(({ isReused }) => !isReused));
});

test("an expired certificate does not take a node down, but shows", async (t) => {
  const validToMs = Math.floor(Date.now() / 1000) * 1000 - 1000;
  const { https, so, outcome, client } = await start(t, validToMs);
  so.probe = https.url;
  assert.equal(await outcome(), "ready");
  assert.equal(client.certificateExpiryMs("fra1"), validToMs);
});
