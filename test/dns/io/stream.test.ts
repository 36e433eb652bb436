/**
 * RFC 7766: DNS over TCP, and what a connection may cost. The transport knows nothing of messages but their length, so
 * most tests answer with as many octets as the query asks for; the last ones ask the responder itself.
 */
import { systemClock, type Clock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { counterIndex, newCounters, type CounterName } from "../../../dns/counters.ts";
import { openStream, type StreamTransport } from "../../../dns/io/stream.ts";
import { defaultStreamLimits, type StreamLimits } from "../../../dns/io/stream-connections.ts";
import type { Client } from "../../../dns/answer/state.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { queryOf, readAnswer } from "../support/ask.ts";
import { framed, openTcp, running, type TcpClient } from "../support/sockets.ts";
import { turnsUntil } from "../../support/turns-until.ts";

interface Asked {
  readonly port: number;
  readonly id: number;
  readonly keepaliveTenths: number;
}

interface Opened {
  readonly stream: StreamTransport;
  readonly port: number;
  /** What was answered, in the order in which it was. */
  readonly asked: Asked[];
  readonly counted: (name: CounterName) => number;
}

/** A listener whose answers are as long as asked: see sized(). */
async function opened(
  t: TestContext,
  { limits = {}, clock = systemClock, host = "127.0.0.1" }: OpenedSettings = {},
): Promise<Opened> {
  const counters = newCounters();
  const asked: Asked[] = [];
  const respond = (query: Uint8Array, length: number, client: Client, out: Uint8Array): number => {
    assert.equal(client.transport, "tcp");
    if (length < 4) return 0;
    const bytes = Buffer.from(query.buffer, query.byteOffset, length);
    asked.push({ port: client.port, id: bytes.readUInt16BE(0), keepaliveTenths: client.keepaliveTenths ?? -1 });
    const answerLength = bytes.readUInt16BE(2);
    out.fill(0, 0, answerLength);
    out.set(bytes.subarray(0, 2));
    return answerLength;
  };
  const stream = await openStream(
    { host, port: 0 },
    { respond, counters, log: silentLog, clock, limits: { ...defaultStreamLimits, ...limits } },
  );
  t.after(() => stream.close());
  return { stream, port: stream.address.port, asked, counted: (name) => counters[counterIndex(name)] ?? 0 };
}

interface OpenedSettings {
  readonly limits?: Partial<StreamLimits>;
  readonly clock?: Clock;
  readonly host?: string;
}

/** A query for an answer of so many octets, 0 for none, framed. */
function sized(id: number, answerLength: number, queryLength = 4): Buffer {
  const query = Buffer.alloc(queryLength);
  query.writeUInt16BE(id, 0);
  query.writeUInt16BE(answerLength, 2);
  return framed(query);
}

const idOf = (answer: Buffer): number => answer.readUInt16BE(0);

test("many queries in one connection are all answered (RFC 7766 §6.2.1)", async (t) => {
  const { port, asked, counted } = await opened(t);
  const client = await openTcp(t, port);
  client.socket.write(Buffer.concat(Array.from({ length: 1000 }, (_, id) => sized(id, 40))));
  for (let id = 0; id < 1000; id++) assert.equal(idOf(await client.next()), id);
  assert.deepEqual([asked.length, counted("tcpAccepted"), counted("tcpCut"), counted("tcpRefused")], [1000, 1, 0, 0]);
});

test("a query that comes octet by octet is answered (RFC 7766 §8)", async (t) => {
  const { port } = await opened(t);
  const client = await openTcp(t, port);
  client.socket.setNoDelay(true);
  for (const octet of sized(9, 12)) await new Promise((resolve) => client.socket.write(Buffer.of(octet), resolve));
  assert.equal(idOf(await client.next()), 9);
});

test("messages may be cut anywhere between two reads", async (t) => {
  const seed = Number(process.env["SEED"] ?? 7766);
  const random = seededRandom(seed);
  const { port } = await opened(t);
  const client = await openTcp(t, port);
  client.socket.setNoDelay(true);
  const bytes = Buffer.concat(
    Array.from({ length: 300 }, (_, id) => sized(id, 4 + Math.floor(random() * 900), 4 + Math.floor(random() * 600))),
  );
  for (let at = 0; at < bytes.length;) {
    const next = at + 1 + Math.floor(random() * 2000);
    await new Promise((resolve) => client.socket.write(bytes.subarray(at, next), resolve));
    at = next;
  }
  for (let id = 0; id < 300; id++) assert.equal(idOf(await client.next()), id, `SEED=${seed}`);
});

test("a client that has sent all it has to say still gets all its answers, then the end", async (t) => {
  const { stream, port } = await opened(t);
  const client = await openTcp(t, port);
  client.socket.end(Buffer.concat(Array.from({ length: 500 }, (_, id) => sized(id, 500))));
  for (let id = 0; id < 500; id++) assert.equal(idOf(await client.next()), id);
  await client.closed;
  await turnsUntil(() => stream.connections() === 0);
});

test("a client that says no more in the middle of a query is not waited for", async (t) => {
  const { stream, port, counted } = await opened(t);
  const client = await openTcp(t, port);
  client.socket.end(sized(1, 12).subarray(0, 5));
  await client.closed;
  await turnsUntil(() => stream.connections() === 0);
  assert.equal(counted("tcpCut"), 0);
});

test("what gets no answer leaves the connection open", async (t) => {
  const { port } = await opened(t);
  const client = await openTcp(t, port);
  client.socket.write(Buffer.concat([sized(1, 0), framed(Buffer.alloc(0)), framed(Buffer.alloc(3)), sized(4, 12)]));
  assert.equal(idOf(await client.next()), 4);
});

test("what is asked together: small answers leave before large ones, each in their order (RFC 7766 §7)", async (t) => {
  const { port } = await opened(t);
  const client = await openTcp(t, port);
  client.socket.write(
    Buffer.concat([sized(1, 60_000), sized(2, 100), sized(3, 1233), sized(4, 1232), sized(5, 12), sized(6, 2000)]),
  );
  const order: number[] = [];
  for (let i = 0; i < 6; i++) order.push(idOf(await client.next()));
  assert.deepEqual(order, [2, 4, 5, 1, 3, 6]);
});

test("answers of every length arrive whole", async (t) => {
  const { port } = await opened(t);
  const client = await openTcp(t, port);
  const lengths = [2, 12, 1231, 1232, 1233, 16_384, 65_534, 65_535];
  client.socket.write(Buffer.concat(lengths.map((length, id) => sized(id, length))));
  const got = new Map<number, number>();
  for (const _ of lengths) {
    const answer = await client.next();
    got.set(idOf(answer), answer.length);
  }
  assert.deepEqual(
    [...got].toSorted((a, b) => a[0] - b[0]).map(([, length]) => length),
    lengths,
  );
});

test("connections take turns of 64 queries while others wait", async (t) => {
  const { port, asked } = await opened(t);
  const clients = await Promise.all(Array.from({ length: 4 }, () => openTcp(t, port)));
  for (const client of clients) {
    client.socket.write(sized(0, 12));
    await client.next();
  }
  asked.length = 0;
  const counts = [2000, 300, 300, 1];
  // Written in one go, so that all of them wait at the server when it looks.
  clients.forEach((client, index) => {
    client.socket.write(Buffer.concat(Array.from({ length: counts[index] ?? 0 }, (_, id) => sized(id, 12))));
  });
  for (const [index, client] of clients.entries()) for (let i = 0; i < (counts[index] ?? 0); i++) await client.next();
  const left = new Map(clients.map((client, index) => [client.socket.localPort, counts[index] ?? 0]));
  let run = 0;
  let last = -1;
  for (const { port: from } of asked) {
    run = from === last ? run + 1 : 1;
    last = from;
    left.set(from, (left.get(from) ?? 0) - 1);
    const othersWait = [...left].some(([other, count]) => other !== from && count > 0);
    assert.ok(run <= 64 || !othersWait, `a run of ${run} while others waited`);
  }
  const single = asked.findIndex(({ port: from }) => from === clients[3]?.socket.localPort);
  assert.ok(single <= 3 * 64, `the one query behind 2,600 was answered as number ${single + 1}`);
});

test("one that asks without end leaves the rest of the process its turns", async (t) => {
  const { port, asked } = await opened(t);
  const client = await openTcp(t, port);
  const total = 60_000;
  client.socket.write(Buffer.concat(Array.from({ length: total }, (_, id) => sized(id & 0xffff, 12))));
  let most = 0;
  let before = 0;
  await turnsUntil(() => {
    most = Math.max(most, asked.length - before);
    before = asked.length;
    return asked.length === total;
  });
  assert.ok(most <= 512 + 64, `${most} queries in one turn of the event loop`);
  for (let i = 0; i < total; i++) await client.next();
});

test("a length above what any query has closes the connection before the octets come", async (t) => {
  const { stream, port, asked, counted } = await opened(t);
  for (const [length, isCut] of [
    [4096, false],
    [4097, true],
    [0xffff, true],
  ] as const) {
    const client = await openTcp(t, port);
    // What was asked before it is answered.
    client.socket.write(Buffer.concat([sized(7, 12), Buffer.of(length >> 8, length & 0xff)]));
    assert.equal(idOf(await client.next()), 7);
    if (isCut) await client.closed;
    else {
      client.socket.write(sized(8, 12, 4096).subarray(2));
      assert.equal(idOf(await client.next()), 8);
      client.socket.end();
      await client.closed;
    }
  }
  await turnsUntil(() => stream.connections() === 0);
  assert.deepEqual([counted("tcpCut"), asked.length], [2, 4]);
});

test("a connection that is silent is closed, and dribbling octets do not prolong it", async (t) => {
  const clock = fakeClock();
  const { stream, port, counted } = await opened(t, { clock });
  const silent = await openTcp(t, port);
  const busy = await openTcp(t, port);
  const dribbling = await openTcp(t, port);
  await turnsUntil(() => stream.connections() === 3);
  for (let second = 0; second < 9; second++) {
    dribbling.socket.write(Buffer.of(0));
    busy.socket.write(sized(second, 12));
    await busy.next();
    clock.advance(1000);
  }
  assert.equal(stream.connections(), 3);
  clock.advance(2000);
  await silent.closed;
  await dribbling.closed;
  busy.socket.write(sized(77, 12));
  assert.equal(idOf(await busy.next()), 77);
  assert.deepEqual([counted("tcpCut"), stream.connections()], [2, 1]);
});

test("messages that get no answer do not prolong a connection either", async (t) => {
  const clock = fakeClock();
  const { stream, port, counted } = await opened(t, { clock });
  const client = await openTcp(t, port);
  await turnsUntil(() => stream.connections() === 1);
  for (let second = 0; second < 10; second++) {
    client.socket.write(sized(second, 0));
    clock.advance(1000);
  }
  await client.closed;
  assert.equal(counted("tcpCut"), 1);
});

test("a client that does not read its answers is not read from, and all are there once it reads", async (t) => {
  const { port, asked } = await opened(t);
  const client = await openTcp(t, port);
  client.socket.pause();
  // 120 MB of answers: more than the kernel's buffers of both ends take.
  const count = 2000;
  client.socket.write(Buffer.concat(Array.from({ length: count }, (_, id) => sized(id, 60_000))));
  // Another connection is served meanwhile, again and again: nothing waits for the one that does not read.
  const other = await openTcp(t, port);
  let before = -1;
  for (;;) {
    const now = asked.filter(({ port: from }) => from === client.socket.localPort).length;
    if (now === before) break;
    before = now;
    for (let i = 0; i < 50; i++) {
      other.socket.write(sized(i, 12));
      assert.equal(idOf(await other.next()), i);
    }
  }
  assert.ok(before < count, "answers stopped at what the buffers between hold");
  client.socket.resume();
  for (let id = 0; id < count; id++) assert.equal(idOf(await client.next()), id);
});

test("a client that does not read its answers is cut; one that reads slowly is not", async (t) => {
  const clock = fakeClock();
  const { stream, port, asked, counted } = await opened(t, { clock });
  const deaf = await openTcp(t, port);
  const slow = await openTcp(t, port);
  const queries = Buffer.concat(Array.from({ length: 1000 }, (_, id) => sized(id, 60_000)));
  deaf.socket.pause();
  slow.socket.pause();
  deaf.socket.write(queries);
  slow.socket.write(queries);
  const answeredTo = (client: TcpClient): number =>
    asked.filter(({ port: from }) => from === client.socket.localPort).length;
  for (let rounds = 0; stream.connections() === 2; rounds++) {
    assert.ok(rounds < 20, "the deaf one is cut");
    clock.advance(3000);
    const before = answeredTo(slow);
    slow.socket.resume();
    await turnsUntil(() => answeredTo(slow) > before);
    slow.socket.pause();
  }
  assert.ok(answeredTo(deaf) < 1000);
  assert.equal(counted("tcpCut"), 1);
  slow.socket.resume();
  for (let id = 0; id < 1000; id++) assert.equal(idOf(await slow.next()), id);
});

test("one network gets so many connections and no more", async (t) => {
  const { stream, port, counted } = await opened(t, { limits: { connectionsPerNetworkMax: 2 } });
  const first = await openTcp(t, port);
  await openTcp(t, port);
  const third = await openTcp(t, port);
  await third.closed;
  first.socket.write(sized(5, 12));
  assert.equal(idOf(await first.next()), 5);
  assert.deepEqual([counted("tcpRefused"), stream.connections()], [1, 2]);
  first.socket.end();
  await first.closed;
  await turnsUntil(() => stream.connections() === 1);
  const fourth = await openTcp(t, port);
  fourth.socket.write(sized(6, 12));
  assert.equal(idOf(await fourth.next()), 6);
});

test("another /24 has its own connections", async (t) => {
  const { stream, port, counted } = await opened(t, { limits: { connectionsPerNetworkMax: 1 } });
  for (const [localAddress, isServed] of [
    ["127.0.0.5", true],
    ["127.0.0.200", false],
    ["127.0.1.5", true],
  ] as const) {
    const socket = connect({ port, host: "127.0.0.1", localAddress });
    t.after(() => socket.destroy());
    await once(socket, "connect");
    socket.on("error", () => undefined); // A reset says the same as the end.
    socket.write(sized(1, 12));
    const served = await Promise.race([once(socket, "data").then(() => true), once(socket, "close").then(() => false)]);
    assert.equal(served, isServed, localAddress);
  }
  assert.deepEqual([counted("tcpRefused"), stream.connections()], [1, 2]);
});

test("when all connections are taken, the one that was silent longest gives way", async (t) => {
  const { stream, port, counted } = await opened(t, { limits: { connectionsMax: 2 } });
  const [first, second] = [await openTcp(t, port), await openTcp(t, port)];
  for (const client of [first, second, first]) {
    client.socket.write(sized(1, 12));
    await client.next();
  }
  const third = await openTcp(t, port);
  third.socket.write(sized(4, 12));
  assert.equal(idOf(await third.next()), 4);
  await second.closed;
  first.socket.write(sized(5, 12));
  assert.equal(idOf(await first.next()), 5);
  assert.deepEqual([counted("tcpRefused"), stream.connections()], [1, 2]);
});

test("clients are told the idle timeout, and 0 when connections are scarce or theirs is old (RFC 7828)", async (t) => {
  const clock = fakeClock();
  const limits = { connectionsMax: 10, connectionsPerNetworkMax: 10, idleTimeoutMs: 10_000, lifetimeMs: 60_000 };
  const { stream, port, asked } = await opened(t, { clock, limits });
  const first = await openTcp(t, port);
  const tell = async (): Promise<number | undefined> => {
    first.socket.write(sized(1, 12));
    await first.next();
    return asked.at(-1)?.keepaliveTenths;
  };
  assert.equal(await tell(), 100);
  const others = [];
  for (let i = 0; i < 9; i++) {
    const other = await openTcp(t, port);
    other.socket.write(sized(2, 12));
    await other.next();
    others.push(other);
  }
  assert.equal(await tell(), 0);
  for (const other of others) {
    other.socket.end();
    await other.closed;
  }
  await turnsUntil(() => stream.connections() === 1);
  assert.equal(await tell(), 100);
  for (let second = 0; second < 45; second += 5) {
    clock.advance(5000);
    assert.equal(await tell(), 100, `${second + 5} s old`);
  }
  clock.advance(5001);
  assert.equal(await tell(), 0, "less than an idle timeout is left of its life");
});

test("a connection ends after its time, however busy it is, and not in the middle of an answer", async (t) => {
  const clock = fakeClock();
  const { stream, port, asked, counted } = await opened(t, { clock, limits: { lifetimeMs: 30_000 } });
  const client = await openTcp(t, port);
  for (let second = 0; second < 29; second++) {
    client.socket.write(sized(second, 30_000));
    assert.equal((await client.next()).length, 30_000);
    clock.advance(1000);
  }
  client.socket.pause();
  client.socket.write(sized(99, 65_535));
  await turnsUntil(() => asked.at(-1)?.id === 99);
  clock.advance(2000);
  client.socket.resume();
  assert.equal((await client.next()).length, 65_535);
  await client.closed;
  await turnsUntil(() => stream.connections() === 0);
  assert.equal(counted("tcpCut"), 0);
});

test("a client that resets in the middle leaves nothing behind", async (t) => {
  const { stream, port } = await opened(t);
  for (let i = 0; i < 20; i++) {
    const client = await openTcp(t, port);
    client.socket.write(Buffer.concat(Array.from({ length: 200 }, (_, id) => sized(id, 20_000))));
    await client.next();
    client.socket.resetAndDestroy();
  }
  await turnsUntil(() => stream.connections() === 0);
  const client = await openTcp(t, port);
  client.socket.write(sized(3, 12));
  assert.equal(idOf(await client.next()), 3);
});

test("random octets in random pieces end no more than their own connection", async (t) => {
  const seed = Number(process.env["SEED"] ?? 53);
  const random = seededRandom(seed);
  const { stream, port } = await opened(t);
  for (let round = 0; round < 100; round++) {
    const client = await openTcp(t, port);
    for (let piece = 0; piece < 5; piece++) {
      const bytes = Uint8Array.from({ length: 1 + Math.floor(random() * 3000) }, () => Math.floor(random() * 256));
      // Half of them begin with a length that a query could have.
      if (random() < 0.5) bytes[0] = Math.floor(random() * 4);
      client.socket.write(bytes);
    }
    client.socket.end();
    client.socket.resume();
  }
  await turnsUntil(() => stream.connections() === 0);
  const client = await openTcp(t, port);
  client.socket.write(sized(3, 12));
  assert.equal(idOf(await client.next()), 3, `SEED=${seed}`);
});

test("closing ends all connections, frees the port, and may be asked twice", async (t) => {
  const { stream, port } = await opened(t);
  const clients = await Promise.all(Array.from({ length: 5 }, () => openTcp(t, port)));
  await turnsUntil(() => stream.connections() === 5);
  clients[0]?.socket.write(Buffer.concat(Array.from({ length: 5000 }, (_, id) => sized(id, 5000))));
  await Promise.all([stream.close(), ...clients.map((client) => client.closed)]);
  await stream.close();
  assert.equal(stream.connections(), 0);
  await assert.rejects(once(connect({ port, host: "127.0.0.1" }), "connect"), /ECONNREFUSED/);
});

test("IPv6 is served as well, and an address that is taken is an error", async (t) => {
  const { port } = await opened(t, { host: "::1" });
  const client = await openTcp(t, port, "::1");
  client.socket.write(sized(6, 12));
  assert.equal(idOf(await client.next()), 6);
  const deps = {
    respond: () => 0,
    counters: newCounters(),
    log: silentLog,
    clock: systemClock,
    limits: defaultStreamLimits,
  };
  await assert.rejects(openStream({ host: "::1", port }, deps), /EADDRINUSE/);
});

test("the responder's answers over TCP: many kinds in one connection, and their counters", async (t) => {
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
  const { outcomes, tcpAccepted } = dns.stats();
  assert.deepEqual([outcomes.tcp.noerror, outcomes.tcp.nxdomain, outcomes.tcp.referral, tcpAccepted], [120, 40, 40, 1]);
  assert.equal(dns.connections(), 1);
});

test("a response and a malformed query leave the connection open; the latter is FORMERR", async (t) => {
  const { port } = await running(t);
  const client = await openTcp(t, port);
  client.socket.write(
    Buffer.concat([
      framed(queryOf({ flags: 0x8000 })),
      framed(Buffer.from([0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12])),
      framed(queryOf({ id: 8 })),
    ]),
  );
  assert.deepEqual([readAnswer(await client.next()).rcode, readAnswer(await client.next()).id], [1, 8]);
});

test("edns-tcp-keepalive gets the idle timeout over TCP; a timeout in the query is FORMERR (RFC 7828)", async (t) => {
  const { port } = await running(t);
  const client = await openTcp(t, port);
  const ask = async (data: readonly number[]): Promise<Buffer> => {
    client.socket.write(framed(queryOf({ edns: { options: [{ code: 11, data }] } })));
    return await client.next();
  };
  const answer = await ask([]);
  assert.equal(readAnswer(answer).rcode, 0);
  assert.deepEqual([...answer.subarray(-6)], [0, 11, 0, 2, 0, 100]);
  assert.equal(readAnswer(await ask([0, 100])).rcode, 1);
});
