/** RFC 7766: DNS over TCP, and what a connection may cost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeClock } from "../../support/fake-clock.ts";
import { queryOf, readAnswer } from "../support/ask.ts";
import { framed, openTcp, running } from "../support/sockets.ts";

const limits = { connectionsMax: 1000, connectionsPerNetworkMax: 64, idleTimeoutMs: 10_000 };

test("many queries in one connection are all answered (RFC 7766 §6.2.1)", async (t) => {
  const { dns, port } = await running(t);
  const client = await openTcp(t, port);
  const names = ["img", "mail", "nope", "alias", "x.child"];
  const queries = Array.from({ length: 200 }, (_, id) =>
    framed(queryOf({ id, name: `${names[id % names.length]}.cdn.test` })),
  );
  client.socket.write(Buffer.concat(queries));
  const ids = new Set<number>();
  for (const _ of queries) ids.add(readAnswer(await client.next()).id);
  assert.equal(ids.size, 200);
  const { outcomes, tcp } = dns.stats();
  assert.deepEqual(
    [outcomes.tcp.noerror, outcomes.tcp.nxdomain, outcomes.tcp.referral, tcp.accepted],
    [120, 40, 40, 1],
  );
});

test("a query that comes octet by octet is answered (RFC 7766 §8)", async (t) => {
  const { port } = await running(t);
  const client = await openTcp(t, port);
  client.socket.setNoDelay(true);
  for (const octet of framed(queryOf({ id: 9 }))) {
    await new Promise((resolve) => client.socket.write(Buffer.of(octet), resolve));
  }
  assert.equal(readAnswer(await client.next()).id, 9);
});

test("a client that has sent all it has to say still gets its answer", async (t) => {
  const { port } = await running(t);
  const client = await openTcp(t, port);
  client.socket.end(framed(queryOf({ id: 3 })));
  assert.equal(readAnswer(await client.next()).id, 3);
  await client.closed;
});

test("what gets no answer leaves the connection open: a response, and less than a header", async (t) => {
  const { port } = await running(t);
  const client = await openTcp(t, port);
  client.socket.write(
    Buffer.concat([
      framed(queryOf({ flags: 0x8000 })),
      framed(Buffer.alloc(0)),
      framed(Buffer.alloc(11)),
      framed(queryOf({ id: 4 })),
    ]),
  );
  assert.equal(readAnswer(await client.next()).id, 4);
});

test("a malformed query is FORMERR and leaves the connection open", async (t) => {
  const { port } = await running(t);
  const client = await openTcp(t, port);
  client.socket.write(
    Buffer.concat([framed(Buffer.from([0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12])), framed(queryOf({ id: 8 }))]),
  );
  assert.equal(readAnswer(await client.next()).rcode, 1);
  assert.equal(readAnswer(await client.next()).id, 8);
});

test("an announced length above what any query has closes the connection before the octets come", async (t) => {
  const { dns, port } = await running(t);
  const client = await openTcp(t, port);
  client.socket.write(Buffer.of(0xff, 0xff));
  await client.closed;
  assert.deepEqual([dns.stats().tcp.cut, dns.stats().tcp.connections], [1, 0]);
});

test("a connection that is silent is closed, and dribbling octets do not prolong it", async (t) => {
  const clock = fakeClock();
  const { dns, port } = await running(t, { clock, streamLimits: limits });
  const silent = await openTcp(t, port);
  const busy = await openTcp(t, port);
  const dribbling = await openTcp(t, port);
  for (let second = 0; second < 9; second++) {
    dribbling.socket.write(Buffer.of(0));
    busy.socket.write(framed(queryOf({ id: second })));
    await busy.next();
    clock.advance(1000);
  }
  assert.equal(dns.stats().tcp.connections, 3);
  clock.advance(2000);
  await silent.closed;
  await dribbling.closed;
  busy.socket.write(framed(queryOf({ id: 77 })));
  assert.equal(readAnswer(await busy.next()).id, 77);
  assert.deepEqual([dns.stats().tcp.cut, dns.stats().tcp.connections], [2, 1]);
});

test("one network gets so many connections and no more", async (t) => {
  const { dns, port } = await running(t, { streamLimits: { ...limits, connectionsPerNetworkMax: 2 } });
  const first = await openTcp(t, port);
  await openTcp(t, port);
  const third = await openTcp(t, port);
  await third.closed;
  first.socket.write(framed(queryOf({ id: 5 })));
  assert.equal(readAnswer(await first.next()).id, 5);
  assert.deepEqual([dns.stats().tcp.refused, dns.stats().tcp.connections], [1, 2]);
  first.socket.end();
  await first.closed;
  const fourth = await openTcp(t, port);
  fourth.socket.write(framed(queryOf({ id: 6 })));
  assert.equal(readAnswer(await fourth.next()).id, 6);
});

test("when all connections are taken, the one that was silent longest gives way", async (t) => {
  const { dns, port } = await running(t, { streamLimits: { ...limits, connectionsMax: 2 } });
  const first = await openTcp(t, port);
  first.socket.write(framed(queryOf({ id: 1 })));
  await first.next();
  const second = await openTcp(t, port);
  second.socket.write(framed(queryOf({ id: 2 })));
  await second.next();
  first.socket.write(framed(queryOf({ id: 3 })));
  await first.next();
  const third = await openTcp(t, port);
  third.socket.write(framed(queryOf({ id: 4 })));
  assert.equal(readAnswer(await third.next()).id, 4);
  await second.closed;
  first.socket.write(framed(queryOf({ id: 5 })));
  assert.equal(readAnswer(await first.next()).id, 5);
  assert.deepEqual([dns.stats().tcp.refused, dns.stats().tcp.connections], [1, 2]);
});

test("a client that does not read its answers is not read from, and all are there once it reads", async (t) => {
  const { dns, port } = await running(t);
  const client = await openTcp(t, port);
  client.socket.pause();
  const query = framed(queryOf({ name: "x.child.cdn.test" }));
  // Some 20 MB of answers: more than the kernel's buffers of both ends take (6 + 4 MB by default).
  const count = 100_000;
  client.socket.write(Buffer.concat(Array<Buffer>(count).fill(query)));
  // Another connection is served meanwhile, again and again: nothing waits for the one that does not read.
  const other = await openTcp(t, port);
  let before = -1;
  while (dns.stats().outcomes.tcp.referral !== before) {
    before = dns.stats().outcomes.tcp.referral;
    for (let i = 0; i < 50; i++) {
      other.socket.write(framed(queryOf({ id: i, name: "nope.cdn.test" })));
      assert.equal(readAnswer(await other.next()).id, i);
    }
  }
  assert.ok(before < count, "answers stopped at what the buffers between hold");
  client.socket.resume();
  for (let i = 0; i < count; i++) await client.next();
  assert.equal(dns.stats().outcomes.tcp.referral, count);
});
