/** HTTP/2 over TLS: the protocol is negotiated (ALPN, RFC 7301). */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { systemClock } from "#base/clock.ts";
import { openLanes } from "../../../node/front/lane/lanes.ts";
import { openTlsAcceptor } from "../../../node/tls/acceptor.ts";
import { indexCertificates } from "../../../node/tls/certificate-index.ts";
import { openTicketKeys } from "../../../node/tls/ticket-keys.ts";
import { certificateFor, testAuthority } from "../../support/certificates.ts";
import { keptLog } from "../../support/kept-log.ts";
import { needs } from "../../support/needs.ts";
import { served, testBoth, type Through } from "../tls/secured.ts";
import { ask, get } from "./ask.ts";
import { type Started, startHttp2 } from "./started.ts";

/** In a lane, where nothing is ready, the application answers all requests. */
async function startOverTls(t: TestContext, through: Through): Promise<Started & { floods: () => number }> {
  const certificates = indexCertificates([served(await certificateFor(["localhost"]))], undefined, Date.now());
  const parts = {
    certificates: () => certificates,
    ticketKeys: openTicketKeys(() => [], systemClock),
    protocols: ["h2", "http/1.1"],
  };
  const tls = openTlsAcceptor({ ...parts, clock: systemClock });
  const lanes =
    through === "a lane"
      ? await openLanes({ count: 1, tls: parts, clock: systemClock, log: keptLog().log })
      : undefined;
  t.after(async () => {
    tls.close();
    await lanes?.close();
  });
  const started = await startHttp2(t, {
    tls,
    lanes,
    application: ({ socket, url = "" }, response) => {
      response.end(`${url} ${"encrypted" in socket && socket.encrypted === true ? "secure" : "clear"}`);
    },
  });
  const floods = (): number => lanes?.counts().http2FrameFloods ?? started.counts.floods.frames;
  return { ...started, floods };
}

testBoth("a client that negotiates h2 gets hits and relayed responses over HTTP/2", async (t, through) => {
  const { listener, seen } = await startOverTls(t, through);
  const session = connect(`https://127.0.0.1:${listener.port}`, {
    ca: testAuthority.certificatePem,
    servername: "localhost",
  });
  t.after(() => {
    session.destroy();
  });
  await once(session, "connect");
  assert.equal(session.alpnProtocol, "h2");
  const hit = (await ask(session, get("/hit/1"))).body.toString();
  assert.equal(hit, through === "a lane" ? "/hit/1 secure" : "/hit/1");
  assert.equal((await ask(session, get("/other"))).body.toString(), "/other secure");
  const large = await ask(session, get("/large/3000000"));
  assert.deepEqual([large.body.length, large.code], [3_000_000, 0]);
  const by = through === "a lane" ? "server" : "hit";
  assert.deepEqual(seen, [`${by} /hit/1`, "server /other", `${by} /large/3000000`]);
});

testBoth(
  "frames that serve no request are counted behind the encryption, and a long download is no flood",
  async (t, through) => {
    const { listener, clock, floods } = await startOverTls(t, through);
    const session = connect(`https://127.0.0.1:${listener.port}`, {
      ca: testAuthority.certificatePem,
      servername: "localhost",
    });
    session.on("error", () => undefined); // its end is what the test looks at
    t.after(() => {
      session.destroy();
    });
    await once(session, "connect");
    for (let count = 0; count < 4; count += 1) {
      assert.equal((await ask(session, get("/large/5000000"))).body.length, 5_000_000);
      clock.advance(1000);
    }
    assert.equal(session.destroyed, false);
    for (let second = 0; second < 20 && floods() === 0; second += 1) {
      for (let part = 0; part < 300 && !session.destroyed; part += 1) {
        await Promise.all(Array.from({ length: 5 }, () => pingOnce(session)));
      }
      clock.advance(1000);
    }
    assert.equal(floods(), 1);
  },
);

/** Resolves with the answer, or without one when the session has ended. */
function pingOnce(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve) => {
    if (session.destroyed || session.closed) resolve();
    else {
      session.ping(() => {
        resolve();
      });
    }
  });
}

testBoth("a client that does not negotiate h2 gets HTTP/1.1", async (t, through) => {
  const { listener } = await startOverTls(t, through);
  const asking = request({
    host: "127.0.0.1",
    servername: "localhost",
    port: listener.port,
    ca: testAuthority.certificatePem,
    path: "/a",
  });
  asking.end();
  const [response] = (await once(asking, "response")) as [IncomingMessage];
  assert.equal(response.httpVersion, "1.1");
  assert.equal(response.statusCode, 200);
  response.resume();
});

const run = promisify(execFile);

for (const [program, args] of [
  ["curl", ["-s", "--http2", "--insecure"]],
  ["nghttp", []],
] as const) {
  testBoth(`${program} negotiates HTTP/2, and gets the bytes`, async (t, through) => {
    const { listener } = await startOverTls(t, through);
    const url = `https://127.0.0.1:${listener.port}/large/3000000`;
    const { stdout } = await run(program, [...args, url], { encoding: "buffer", maxBuffer: 2 ** 24 }).catch(
      (error: unknown) => {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return { stdout: undefined };
        throw error;
      },
    );
    if (needs(t, stdout !== undefined, `${program} is not installed`)) {
      assert.ok(stdout?.equals(Buffer.alloc(3_000_000, "abcdefg")));
    }
  });
}
