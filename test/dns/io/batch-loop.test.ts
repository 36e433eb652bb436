/** The batch loop on a real socket, with a kernel that refuses now and then. */
import { systemClock } from "#base/clock.ts";
import { seededRandom } from "#base/random.ts";
import { portAt } from "#base/socket-address.ts";
import assert from "node:assert/strict";
import type { Socket } from "node:dgram";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { newCounters, readStats, type DnsStats } from "../../../dns/counters.ts";
import { createCookies } from "../../../dns/guard/cookie.ts";
import { batchArenaBytes, createBatchLoop, type BatchTurn } from "../../../dns/io/batch-loop.ts";
import { isBatchAvailable, openDatagramCalls, type DatagramCalls } from "#base/system-calls.ts";
import type { ListenAddress } from "../../../dns/io/transport.ts";
import { controlSizeBytes, openUdpSocket, readSocketAddress } from "../../../dns/io/udp-sockets.ts";
import { createResponder } from "../../../dns/responder.ts";
import { emptyAddress, ipToText, type Family } from "../../../dns/wire/address.ts";
import { needs } from "../../support/needs.ts";
import { queryOf } from "../support/ask.ts";
import { clientSocket, lastOctet, snapshotOf } from "./udp-suite.ts";

const available = isBatchAvailable();
const reason = available.ok ? "" : available.reason;

interface Looping {
  readonly to: ListenAddress;
  readonly turn: BatchTurn;
  readonly stats: () => DnsStats;
  /** Closes the socket under the loop. */
  readonly closeSocket: () => void;
}

/** A loop in this thread whose calls `change` has put its hand on. */
function looping(t: TestContext, change: (calls: DatagramCalls) => Partial<DatagramCalls>): Looping {
  const calls = openDatagramCalls();
  assert.ok(typeof calls !== "string", "no batches here");
  const control = calls.mapArena(controlSizeBytes);
  const arena = calls.mapArena(batchArenaBytes);
  const socket = openUdpSocket(calls, calls.viewArena(control), { host: "127.0.0.1", port: 0 }, "alone");
  let isOpen = true;
  const closeSocket = (): void => {
    if (isOpen) calls.close(socket.descriptor);
    isOpen = false;
  };
  t.after(() => {
    closeSocket();
    calls.unmapArena(control);
    calls.unmapArena(arena);
  });
  const counters = newCounters();
  const snapshot = snapshotOf(1);
  const { respond } = createResponder({
    snapshot: () => snapshot,
    counters,
    cookies: createCookies(),
    rateLimit: undefined,
    amplificationMax: 0,
    identity: { nsid: undefined, version: undefined, id: undefined },
    random: seededRandom(1),
    nowMs: systemClock.wallMs,
    onFailure: (error) => {
      throw error;
    },
  });
  const turn = createBatchLoop({
    calls: { ...calls, ...change(calls) },
    arena: calls.viewArena(arena),
    sockets: [socket],
    respond,
    counters,
    beforeBatch: () => undefined,
  });
  return { to: socket.address, turn, stats: () => readStats([counters]), closeSocket };
}

/** Resolves when the packet is in the receiver's queue, as it is at once on loopback. */
function sendOne(socket: Socket, to: ListenAddress, packet: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(packet, to.port, to.host, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

/** Sends 40 queries, lets the loop take a few turns, and returns the numbers of those that were answered. */
async function answeredOf40(t: TestContext, { to, turn }: Looping): Promise<number[]> {
  const socket = await clientSocket(t, "127.0.0.1");
  const answered: number[] = [];
  socket.on("message", (answer) => {
    assert.equal(lastOctet(answer), answer.readUInt16BE(0));
    answered.push(answer.readUInt16BE(0));
  });
  await Promise.all(all.map((id) => sendOne(socket, to, queryOf({ id, name: `n${id}.cdn.test` }))));
  for (let i = 0; i < 4; i++) turn();
  // What was sent is in our socket's queue already; it takes a moment to be read.
  let before = -1;
  while (before < answered.length) {
    before = answered.length;
    await pause(100);
  }
  return answered;
}

const all = Array.from({ length: 40 }, (_, id) => id);
const EPERM = 1;
const EINTR = 4;
const EAGAIN = 11;
const ENOMEM = 12;

/** The n-th call of `send` fails with this errno, or takes only `most` messages. */
function failingSend(script: (call: number) => { errno?: number; most?: number }) {
  return (calls: DatagramCalls): Partial<DatagramCalls> => {
    let call = 0;
    let errno = 0;
    return {
      send(descriptor, headersAt, count, flags) {
        const { errno: failure, most } = script(call++);
        if (failure !== undefined) {
          errno = failure;
          return -1;
        }
        errno = 0;
        return calls.send(descriptor, headersAt, Math.min(count, most ?? count), flags);
      },
      errno: () => (errno === 0 ? calls.errno() : errno),
    };
  };
}

test("answers that the kernel takes in parts all go out, once each", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  const loop = looping(
    t,
    failingSend((call) => ({ most: 1 + (call % 3) })),
  );
  assert.deepEqual(await answeredOf40(t, loop), all);
  assert.equal(loop.stats().sendErrors, 0);
});

test("an interruption costs no answer", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  const loop = looping(
    t,
    failingSend((call) => (call % 2 === 0 ? { errno: EINTR } : { most: 5 })),
  );
  assert.deepEqual(await answeredOf40(t, loop), all);
  assert.equal(loop.stats().sendErrors, 0);
});

test("one that can't be sent is left out and counted; the others go", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  // 10 go, one is refused, 10 go, one is refused, the rest goes.
  const loop = looping(
    t,
    failingSend((call) => (call % 2 === 1 && call < 4 ? { errno: EPERM } : { most: call < 4 ? 10 : 64 })),
  );
  assert.deepEqual(
    await answeredOf40(t, loop),
    all.filter((id) => id !== 10 && id !== 21),
  );
  assert.equal(loop.stats().sendErrors, 2);
});

test("a full send buffer drops the rest of the batch, counted, and does not stall", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  const loop = looping(
    t,
    failingSend((call) => (call === 1 ? { errno: EAGAIN } : { most: 25 })),
  );
  assert.deepEqual(await answeredOf40(t, loop), all.slice(0, 25));
  assert.equal(loop.stats().sendErrors, 15);
  assert.equal(loop.stats().outcomes.udp.noerror, 40);
});

test("passing errors of taking lose nothing; after 1,000 in a row the thread gives up", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  let failures = 3;
  let isFailing = false;
  const loop = looping(t, (calls) => ({
    receive(descriptor, headersAt, count, flags, timeoutAt) {
      isFailing = failures > 0;
      failures--;
      return isFailing ? -1 : calls.receive(descriptor, headersAt, count, flags, timeoutAt);
    },
    errno: () => (isFailing ? ENOMEM : calls.errno()),
  }));
  assert.deepEqual(await answeredOf40(t, loop), all);

  const socket = await clientSocket(t, "127.0.0.1");
  await sendOne(socket, loop.to, queryOf({}));
  failures = 5000;
  assert.throws(() => {
    for (let i = 0; i < 5000; i++) loop.turn();
  }, /recvmmsg ENOMEM/);
  assert.equal(failures, 4000);
});

test("a socket that is gone ends the thread instead of keeping it busy", (t) => {
  if (!needs(t, available.ok, reason)) return;
  const loop = looping(t, () => ({}));
  loop.closeSocket();
  assert.throws(loop.turn, /a socket of the batch thread is closed/);
});

test("the sender is read from a socket address: IPv4, IPv6, and IPv4 that is mapped into IPv6", () => {
  const cases: readonly [Family, readonly number[], string, Family][] = [
    [4, [2, 0, 0x30, 0x39, 192, 0, 2, 1], "192.0.2.1", 4],
    [
      6,
      [10, 0, 0x30, 0x39, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 7],
      "2001:db8:0:0:0:0:0:7",
      6,
    ],
    [6, [10, 0, 0x30, 0x39, 0, 0, 0, 0, ...Array<number>(10).fill(0), 255, 255, 192, 0, 2, 1], "192.0.2.1", 4],
    [
      6,
      [10, 0, 0x30, 0x39, 0, 0, 0, 0, 1, ...Array<number>(9).fill(0), 255, 255, 1, 2, 3, 4],
      "100:0:0:0:0:ffff:102:304",
      6,
    ],
  ];
  const address = emptyAddress();
  for (const [family, octets, text, read] of cases) {
    const bytes = new Uint8Array(64).fill(0xee);
    bytes.set(octets, 32);
    address.bytes.fill(0xaa);
    readSocketAddress(bytes, 32, family, address);
    assert.deepEqual([ipToText(address), address.family, portAt(bytes, 32)], [text, read, 12_345]);
    if (read === 4) assert.deepEqual([...address.bytes.subarray(4)], Array<number>(12).fill(0));
  }
});
