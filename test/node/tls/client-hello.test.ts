/** Hellos of real clients are understood, however they are cut; anything else is odd and never throws. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { connect, type ConnectionOptions } from "node:tls";
import { readClientHello } from "../../../node/tls/client-hello.ts";
import { seededRandom } from "#base/random.ts";

/** The first bytes that Node's own client sends with these options. */
async function helloOf(t: TestContext, options: ConnectionOptions): Promise<Buffer> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const client = connect({ ...options, host: "127.0.0.1", port: (server.address() as { port: number }).port });
  client.on("error", () => undefined);
  t.after(() => client.destroy());
  const [socket] = (await once(server, "connection")) as [Socket];
  t.after(() => socket.destroy());
  const chunks: Buffer[] = [];
  while (readClientHello(Buffer.concat(chunks)).outcome !== "whole") {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

test("a hello is read: name, versions, suites, schemes and groups", async (t) => {
  const bytes = await helloOf(t, { servername: "A.Example" });
  const read = readClientHello(bytes);
  assert.ok(read.outcome === "whole");
  assert.equal(read.hello.servername, "A.Example");
  assert.ok(read.hello.offersTls13);
  assert.ok(read.hello.suites.includes(0x1301) && read.hello.suites.includes(0xc02b));
  assert.ok(read.hello.signatureSchemes.includes(0x0403));
  assert.ok(read.hello.groups.includes(23));
  assert.deepEqual(read.hello.ticketKeyNames, []);
  const old = readClientHello(await helloOf(t, { maxVersion: "TLSv1.2", sigalgs: "RSA-PSS+SHA256" }));
  assert.ok(old.outcome === "whole");
  assert.equal(old.hello.servername, undefined);
  assert.equal(old.hello.offersTls13, false);
  assert.deepEqual(old.hello.signatureSchemes, [0x0804]);
});

test("a hello that is cut anywhere is partial, and one in records of any size is the same hello", async (t) => {
  const bytes = await helloOf(t, { servername: "a.example" });
  const whole = readClientHello(bytes);
  for (let length = 1; length < bytes.length; length += 1) {
    assert.equal(readClientHello(bytes.subarray(0, length)).outcome, "partial", `${length} of ${bytes.length}`);
  }
  const message = bytes.subarray(5);
  for (const size of [1, 3, 4, 100, 511]) {
    const records: Buffer[] = [];
    for (let at = 0; at < message.length; at += size) {
      const part = message.subarray(at, at + size);
      records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
    }
    assert.deepEqual(readClientHello(Buffer.concat(records)), whole, `records of ${size}`);
  }
});

test("what is no hello is odd, or no TLS; nothing is waited for without end", () => {
  const odd = [
    "1603010000", // an empty record
    "160301000402000000", // another message
    "160301000401ffffff", // longer than any hello
    "1603010004010000001703010000", // a hello without content
    "16030100020100170301", // another record in the middle
  ];
  for (const bytes of odd) assert.equal(readClientHello(Buffer.from(bytes, "hex")).outcome, "odd", bytes);
  assert.equal(readClientHello(Buffer.from("GET / HTTP/1.1\r\n")).outcome, "not-tls");
  const endless = Buffer.concat([Buffer.from("16030140000100ffff", "hex"), Buffer.alloc(70_000)]);
  assert.equal(readClientHello(endless).outcome, "odd");
  const slow = Buffer.concat([Buffer.from("16030140000100ff00", "hex")]);
  assert.equal(readClientHello(slow).outcome, "odd");
});

test("damaged hellos never throw", async (t) => {
  const bytes = await helloOf(t, { servername: "a.example" });
  const random = seededRandom(7);
  for (let round = 0; round < 20_000; round += 1) {
    const damaged = Buffer.from(bytes.subarray(0, 1 + Math.floor(random() * bytes.length)));
    for (let count = 0; count < 3; count += 1)
      damaged[Math.floor(random() * damaged.length)] = Math.floor(random() * 256);
    assert.ok(["whole", "partial", "odd", "not-tls"].includes(readClientHello(damaged).outcome));
  }
});
