/** Handshakes over real sockets: certificates by name and kind, versions, suites, and what is refused. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectPlain, type Socket } from "node:net";
import { test } from "node:test";
import { connect, type ConnectionOptions } from "node:tls";
import { certificateFor } from "../../support/certificates.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { get, startFronted } from "../front/fronted.ts";
import { fieldOf, readAnswers } from "../http/raw.ts";
import { exchangeSecure, openSecure, served, startSecured, testBoth } from "./secured.ts";

const names = async (...all: string[]) => served(await certificateFor(all));
const close = "Connection: close";

testBoth(
  "hits, misses and pipelined requests are answered over TLS 1.2 and 1.3, with the client's address",
  async (t, through) => {
    const { listener, seen, counts } = await startSecured(t, [await names("a.example")], { through });
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      seen.length = 0;
      const socket = await openSecure(t, listener, { servername: "a.example", maxVersion });
      assert.equal(socket.getProtocol(), maxVersion);
      assert.match(socket.getCipher().name, /^(TLS_|ECDHE-ECDSA-).*(GCM|POLY1305)/);
      const text = await exchangeSecure(socket, get("/hit/1") + get("/a") + get("/hit/200000") + get("/b", close));
      const answers = readAnswers(text);
      assert.deepEqual(
        answers.map((answer) => `${fieldOf(answer, "x-by")} ${answer.body.length}`),
        ["front 1", "server 2", "front 200000", "server 2"],
      );
      assert.equal(answers[2]?.body.toString(), Buffer.alloc(200_000, "abcdefg").toString());
      assert.deepEqual(seen, [
        "front /hit/1 127.0.0.1",
        "server /a 127.0.0.1 secure",
        "front /hit/200000 127.0.0.1",
        "server /b 127.0.0.1 secure",
      ]);
    }
    await turnsUntil(() => counts().connections === 0);
    const { completed, active } = counts();
    assert.deepEqual(completed, { "TLSv1.2": { full: 1, resumed: 0 }, "TLSv1.3": { full: 1, resumed: 0 } });
    assert.equal(active, 0);
  },
);

testBoth(
  "many small hits on one connection, answered while earlier ones are still being sent, are whole",
  async (t, through) => {
    const { listener } = await startSecured(t, [await names("a.example")], { through });
    const socket = await openSecure(t, listener, { servername: "a.example" });
    const sizes = Array.from({ length: 200 }, (_, index) => 1 + ((index * 7919) % 20_000));
    const text = await exchangeSecure(socket, sizes.map((size) => get(`/hit/${size}`)).join("") + get("/end", close));
    const answers = readAnswers(text);
    assert.equal(answers.length, sizes.length + 1);
    for (const [index, size] of sizes.entries()) {
      assert.equal(answers[index]?.body.toString(), Buffer.alloc(size, "abcdefg").toString(), `response ${index}`);
    }
  },
);

testBoth(
  "each name gets its certificate, and clients without a name or with another one the default",
  async (t, through) => {
    const { listener } = await startSecured(
      t,
      [await names("default.example"), await names("a.example"), await names("*.b.example")],
      { through },
    );
    const subjectFor = async (servername: string): Promise<string | undefined> => {
      const socket = await openSecure(t, listener, { servername, rejectUnauthorized: false });
      return socket.getPeerCertificate().subject.CN as string;
    };
    assert.equal(await subjectFor("a.example"), "a.example");
    assert.equal(await subjectFor("x.b.example"), "*.b.example");
    assert.equal(await subjectFor("b.example"), "default.example");
    assert.equal(await subjectFor("unknown.example"), "default.example");
    assert.equal(await subjectFor(""), "default.example");
  },
);

testBoth("a name with two certificates serves ECDSA, and RSA to clients that can't verify it", async (t, through) => {
  const { listener } = await startSecured(
    t,
    [
      await names("default.example"),
      served(await certificateFor(["a.example"], { key: "rsa" })),
      await names("a.example"),
    ],
    { through },
  );
  const cipherFor = async (options: ConnectionOptions): Promise<string> => {
    const socket = await openSecure(t, listener, { servername: "a.example", ...options });
    const kind = socket.getPeerCertificate().pubkey === undefined ? "none" : socket.getPeerCertificate().asn1Curve;
    return `${kind ?? "rsa"} ${socket.getProtocol()}`;
  };
  assert.equal(await cipherFor({}), "prime256v1 TLSv1.3");
  assert.equal(
    await cipherFor({ sigalgs: "rsa_pss_rsae_sha256:rsa_pkcs1_sha256:ecdsa_secp384r1_sha384" }),
    "rsa TLSv1.3",
  );
  assert.equal(await cipherFor({ maxVersion: "TLSv1.2" }), "prime256v1 TLSv1.2");
  assert.equal(await cipherFor({ maxVersion: "TLSv1.2", ciphers: "ECDHE-RSA-AES128-GCM-SHA256" }), "rsa TLSv1.2");
});

testBoth("older versions, weak suites and unknown application protocols are refused", async (t, through) => {
  const { listener, counts } = await startSecured(t, [await names("a.example")], { through });
  const code = async (options: ConnectionOptions): Promise<string> => {
    const socket = openSecure(t, listener, { servername: "a.example", ...options });
    return await socket.then(
      () => "connected",
      (error: NodeJS.ErrnoException) => error.code ?? error.message,
    );
  };
  const weak = { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0" } as const;
  assert.match(await code(weak), /HANDSHAKE_FAILURE/);
  const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" } as const;
  assert.match(await code(old), /PROTOCOL_VERSION/);
  assert.match(await code({ ALPNProtocols: ["h3"] }), /NO_APPLICATION_PROTOCOL/);
  await turnsUntil(() => counts().failed.protocol === 3);
  const chosen = await openSecure(t, listener, { servername: "a.example", ALPNProtocols: ["x", "http/1.1"] });
  assert.equal(chosen.alpnProtocol, "http/1.1");
  await turnsUntil(() => counts().completed["TLSv1.3"].full === 1);
});

testBoth("a TLS 1.2 client can't renegotiate", async (t, through) => {
  const { listener } = await startSecured(t, [await names("a.example")], { through });
  const socket = await openSecure(t, listener, { servername: "a.example", maxVersion: "TLSv1.2" });
  const error = await new Promise<Error | null>((resolve) => {
    socket.on("error", resolve);
    socket.on("close", () => {
      resolve(new Error("closed"));
    });
    socket.renegotiate({}, resolve);
  });
  assert.ok(error !== null, "the client was let");
});

testBoth("an OCSP response is stapled when there is one", async (t, through) => {
  const response = Buffer.from("30030a0100", "hex");
  const { listener } = await startSecured(
    t,
    [served(await certificateFor(["a.example"]), response), await names("b.example")],
    { through },
  );
  for (const [servername, expected] of [
    ["a.example", response],
    ["", response],
    ["b.example", null],
  ] as const) {
    const socket = connect({ port: listener.port, servername, requestOCSP: true, rejectUnauthorized: false });
    t.after(() => socket.destroy());
    const stapled: unknown[] = [];
    socket.on("OCSPResponse", (bytes) => stapled.push(bytes));
    await once(socket, "secureConnect");
    assert.deepEqual(stapled, [expected], servername);
  }
});

testBoth("half-closed clients get their response, and those that leave are let go", async (t, through) => {
  const { listener, counts, seen } = await startSecured(t, [await names("a.example")], { through });
  const socket = await openSecure(t, listener, { servername: "a.example", allowHalfOpen: true } as ConnectionOptions);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.end(get("/a"));
  await once(socket, "close");
  assert.equal(readAnswers(Buffer.concat(chunks).toString())[0]?.body.toString(), "/a");
  const leaving = await openSecure(t, listener, { servername: "a.example" });
  leaving.write(get("/hit/5000000"));
  await turnsUntil(() => seen.includes("front /hit/5000000 127.0.0.1"));
  leaving.destroy();
  await turnsUntil(() => counts().connections === 0);
});

testBoth("HTTP without TLS gets a 400 that people understand, other bytes a closed connection", async (t, through) => {
  const { listener, counts } = await startSecured(t, [await names("a.example")], { through });
  const answerTo = async (bytes: string | Buffer): Promise<string> => {
    const socket = connectPlain(listener.port, "127.0.0.1");
    t.after(() => socket.destroy());
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", () => undefined);
    socket.write(bytes);
    await once(socket, "close");
    return Buffer.concat(chunks).toString("latin1");
  };
  const [answer] = readAnswers(await answerTo(get("/hit/1")));
  assert.equal(answer?.status, 400);
  assert.match(answer?.body.toString() ?? "", /This port speaks HTTPS/);
  assert.equal(await answerTo("SSH-2.0-x\r\n"), "");
  // What begins like TLS and is not gets an alert from OpenSSL (RFC 8446 §6), or nothing.
  const odd = await answerTo(Buffer.from("1603010004010000001703010000", "hex"));
  assert.ok(odd === "" || odd.startsWith("\x15\x03"), JSON.stringify(odd));
  const { failed, active } = counts();
  assert.equal(failed["not-tls"], 2);
  assert.equal(failed.invalid + failed.closed, 1, JSON.stringify(failed));
  assert.equal(active, 0);
});

test("a TLS client on the port for HTTP is told so, and let go", async (t) => {
  const fronted = await startFronted(t);
  await assert.rejects(openSecure(t, fronted.listener, { servername: "a.example" }));
  await fronted.nothingLeft();
});

testBoth("silent and slow clients have a deadline", async (t, through) => {
  const { listener, counts } = await startSecured(t, [await names("a.example")], {
    limits: { handshakeMs: 1 },
    through,
  });
  const closed: Promise<unknown>[] = [];
  for (const bytes of ["", "16", "160301020001000001"]) {
    const socket = connectPlain(listener.port, "127.0.0.1");
    socket.on("error", () => undefined);
    t.after(() => socket.destroy());
    socket.resume();
    socket.write(Buffer.from(bytes, "hex"));
    closed.push(once(socket, "close"));
  }
  await Promise.all(closed);
  assert.equal(counts().failed.timeout, 3);
});

testBoth(
  "of too many handshakes, the oldest of the largest network is closed, and new ones get through",
  async (t, through) => {
    const limits = { handshakes: 8, handshakesOfNetwork: 4 };
    const { listener, counts } = await startSecured(t, [await names("a.example")], { limits, through });
    const silent: Socket[] = [];
    for (let count = 0; count < 10; count += 1) {
      const socket = connectPlain(listener.port, "127.0.0.1");
      socket.on("error", () => undefined);
      t.after(() => socket.destroy());
      socket.resume();
      await once(socket, "connect");
      silent.push(socket);
    }
    await turnsUntil(() => counts().failed.crowded === 6);
    assert.equal(counts().active, 4);
    const socket = await openSecure(t, listener, { servername: "a.example" });
    assert.match(await exchangeSecure(socket, get("/a", close)), /200 OK/);
    await turnsUntil(() => silent.filter(({ closed }) => closed).length === 7);
  },
);

testBoth("a network that floods the port with handshakes pushes out its own, and nobody else's", async (t, through) => {
  const limits = { handshakes: 12, handshakesOfNetwork: 12 };
  const { listener, counts } = await startSecured(t, [await names("a.example")], { limits, through });
  const open = async (localAddress: string): Promise<Socket> => {
    const socket = connectPlain({ port: listener.port, host: "127.0.0.1", localAddress });
    socket.on("error", () => undefined);
    t.after(() => socket.destroy());
    socket.resume();
    await once(socket, "connect");
    return socket;
  };
  const [calm, alsoCalm] = [await open("127.0.2.1"), await open("127.0.2.2")];
  for (let count = 0; count < 40; count += 1) await open(`127.0.3.${1 + (count % 20)}`);
  await turnsUntil(() => counts().failed.crowded === 30);
  assert.deepEqual([calm.closed, alsoCalm.closed, counts().active], [false, false, 12]);
});

testBoth("a client that does not read over TLS delays nobody, and gets everything when it does", async (t, through) => {
  const { listener, counts } = await startSecured(t, [await names("a.example")], { through });
  const socket = await openSecure(t, listener, { servername: "a.example" });
  socket.pause();
  socket.write(get("/hit/20000000") + get("/hit/1"));
  const reading = await openSecure(t, listener, { servername: "a.example" });
  const text = await exchangeSecure(reading, get("/other", close));
  assert.equal(readAnswers(text)[0]?.body.toString(), "/other", "others are served meanwhile");
  await turnsUntil(() => counts().connections === 1);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.resume();
  socket.write(get("/end", close));
  await once(socket, "close");
  const [large, small] = readAnswers(Buffer.concat(chunks).toString("latin1"));
  assert.equal(large?.body.length, 20_000_000);
  assert.equal(small?.body.toString(), "a");
});
