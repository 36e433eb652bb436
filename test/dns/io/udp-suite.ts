/**
 * What every carrier of UDP must do, through real sockets: datagram.test.ts and batch.test.ts run the same claims.
 * The responder behind it is the real one, over snapshots whose records tell their version.
 */
import { seededRandom } from "#base/random.ts";
import { parseFleet } from "#document/read-document.ts";
import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import type { DnsStats } from "../../../dns/counters.ts";
import { emptyGeo } from "../../../dns/geo/tables.ts";
import type { ListenAddress } from "../../../dns/io/transport.ts";
import type { Snapshot } from "../../../dns/snapshot.ts";
import { compileSteering } from "../../../dns/steer/steering.ts";
import { compileZones } from "../../../dns/zone/compile.ts";
import { needs } from "../../support/needs.ts";
import { queryOf, readAnswer } from "../support/ask.ts";
import { rawSender } from "./raw-sender.ts";

/** A carrier that answers. */
export interface Served {
  readonly addresses: readonly ListenAddress[];
  readonly stats: () => DnsStats;
  readonly publish: (snapshot: Snapshot) => void;
  readonly close: () => Promise<void>;
}

export type OpenUdp = (addresses: readonly ListenAddress[]) => Promise<Served>;

/** Longer than any answer on loopback takes, however busy the machine is. */
export const waitMs = 10_000;

/** The zone cdn.test: `version.cdn.test` is 192.0.2.(version), `n(0…99).cdn.test` is 198.51.100.(0…99). */
export function snapshotOf(version: number): Snapshot {
  const names = Array.from({ length: 100 }, (_, index) => {
    return `      - {name: n${index}, type: A, address: 198.51.100.${index}}`;
  });
  const parsed = parseFleet(
    [
      "zones:",
      "  - name: cdn.test",
      "    nameservers: [{name: ns1, addresses: [192.0.2.1]}]",
      "    records:",
      `      - {name: version, type: A, address: 192.0.2.${version}}`,
      ...names,
      "sites:",
      "  - {name: fra, place: {latitude: 50.11, longitude: 8.68}, addresses: [127.0.1.1],",
      '     nodes: [{name: fra1, http: "http://127.0.1.1:8080"}]}',
      "hosts: [{name: img.cdn.test, kind: images}]",
      "steering: [{name: img.cdn.test, policy: geo}]",
    ].join("\n"),
  );
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const fleet = parsed.value;
  const { compiled, problems } = compileZones(fleet, version);
  assert.deepEqual(problems, []);
  const steering = compileSteering({ fleet, self: "fra", states: new Map(), keptShares: new Map(), geo: emptyGeo });
  return { version, zones: compiled, steering, geo: emptyGeo };
}

/** A bound socket, closed when the test ends. Its queue holds some 200 answers even where the kernel grants no more. */
export async function clientSocket(t: TestContext, host: string): Promise<Socket> {
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  t.after(() => {
    socket.close();
  });
  socket.bind(0, host);
  await once(socket, "listening");
  socket.setRecvBufferSize(1024 * 1024);
  return socket;
}

/** The next packet. */
export async function next(socket: Socket): Promise<{ answer: Buffer; from: { address: string; port: number } }> {
  const [answer, from] = (await once(socket, "message", { signal: AbortSignal.timeout(waitMs) })) as [
    Buffer,
    { address: string; port: number },
  ];
  return { answer, from };
}

export async function askOne(socket: Socket, to: ListenAddress, query: Uint8Array): Promise<Buffer> {
  const answer = next(socket);
  socket.send(query, to.port, to.host);
  return (await answer).answer;
}

/** A number from 0 to 255 that the one A record ends with. */
export function lastOctet(answer: Buffer): number {
  const { rcode, answers } = readAnswer(answer);
  assert.deepEqual([rcode, answers.length], [0, 1], answers.join());
  return Number(answers[0]?.split(".").at(-1));
}

export interface Flood {
  readonly total: number;
  /** Queries on the way at once, over all sockets. */
  readonly window: number;
  readonly query: (id: number, index: number) => Buffer;
  readonly check: (answer: Buffer, index: number) => void;
  /** Called before a query is sent, and may do anything. */
  readonly before?: (index: number) => void;
  /** What the server says about it, for the message when answers are missing. */
  readonly stats: () => DnsStats;
}

/**
 * Sends `total` queries, `window` of them ahead of their answers, in turn from each socket.
 * @throws when an answer is missing, comes twice or is wrong
 */
export function flood(sockets: readonly Socket[], to: ListenAddress, options: Flood): Promise<void> {
  const { total, window, query, check, before, stats } = options;
  return new Promise((resolve, reject) => {
    const waiting = new Map<number, number>();
    let sent = 0;
    let done = 0;
    let lastDone = -1;
    // Loopback loses nothing as long as the window fits the buffers, so silence for so long is a lost query.
    const watch = setInterval(() => {
      if (done === lastDone) {
        finish(new Error(`${waiting.size} queries without answer, ${done} with one: ${JSON.stringify(stats())}`));
      }
      lastDone = done;
    }, waitMs / 2);
    function finish(error?: unknown): void {
      clearInterval(watch);
      for (const socket of sockets) socket.off("message", onMessage);
      if (error === undefined) resolve();
      else reject(error);
    }
    function sendOne(): void {
      const index = sent++;
      before?.(index);
      const id = index & 0xffff;
      waiting.set(id, index);
      sockets[index % sockets.length]?.send(query(id, index), to.port, to.host);
    }
    function onMessage(answer: Buffer): void {
      try {
        const id = answer.readUInt16BE(0);
        const index = waiting.get(id);
        assert.ok(index !== undefined, `an answer with id ${id}, which nobody waits for`);
        waiting.delete(id);
        check(answer, index);
      } catch (error) {
        finish(error);
        return;
      }
      done++;
      if (done === total) finish();
      else if (sent < total) sendOne();
    }
    for (const socket of sockets) socket.on("message", onMessage);
    while (sent < Math.min(window, total)) sendOne();
  });
}

export function udpSuite(name: string, open: OpenUdp): void {
  async function serve(
    t: TestContext,
    hosts: readonly string[] = ["127.0.0.1"],
  ): Promise<[Served, ...ListenAddress[]]> {
    const served = await open(hosts.map((host) => ({ host, port: 0 })));
    t.after(() => served.close());
    served.publish(snapshotOf(1));
    return [served, ...served.addresses];
  }
  const first = (addresses: readonly ListenAddress[]): ListenAddress => addresses[0] ?? { host: "", port: 0 };
  const good = (id: number): Buffer => queryOf({ id, name: "version.cdn.test" });

  test(`${name}: a query is answered, from the address that was asked`, async (t) => {
    const [served, ...addresses] = await serve(t, ["127.0.0.1", "127.0.0.2"]);
    const socket = await clientSocket(t, "127.0.0.1");
    assert.equal(addresses.length, 2);
    for (const [index, to] of addresses.entries()) {
      assert.notEqual(to.port, 0);
      const answer = next(socket);
      socket.send(good(index), to.port, to.host);
      const got = await answer;
      assert.deepEqual([got.from.address, got.from.port], [to.host, to.port]);
      const { id, answers } = readAnswer(got.answer);
      assert.deepEqual([id, answers.map((one) => one.split(" ").at(-1))], [index, ["192.0.2.1"]]);
    }
    assert.equal(served.stats().outcomes.udp.noerror, 2);
  });

  test(`${name}: IPv4 and IPv6 side by side`, async (t) => {
    const hasLoopback6 = Object.values(networkInterfaces()).some((all) => all?.some((one) => one.address === "::1"));
    if (!needs(t, hasLoopback6, "the loopback interface has no IPv6 address")) return;
    const [served, ...addresses] = await serve(t, ["127.0.0.1", "::1"]);
    assert.equal(addresses.length, 2);
    for (const to of addresses) {
      const sockets = await Promise.all([0, 1, 2].map(() => clientSocket(t, to.host)));
      await flood(sockets, to, {
        stats: served.stats,
        total: 300,
        window: 50,
        query: (id, index) => queryOf({ id, name: `n${index % 100}.cdn.test` }),
        check(answer, index) {
          assert.equal(lastOctet(answer), index % 100);
        },
      });
    }
    assert.equal(served.stats().outcomes.udp.noerror, 600);
  });

  test(`${name}: 5,000 queries, 200 of them on the way at once: each has its own answer`, async (t) => {
    const [served, to = first([])] = await serve(t);
    const sockets = await Promise.all(Array.from({ length: 8 }, () => clientSocket(t, "127.0.0.1")));
    await flood(sockets, to, {
      stats: served.stats,
      total: 5000,
      window: 200,
      query: (id, index) => queryOf({ id, name: `n${index % 100}.cdn.test` }),
      check(answer, index) {
        assert.equal(lastOctet(answer), index % 100);
      },
    });
    const { outcomes, sendErrors, failures } = served.stats();
    assert.deepEqual([outcomes.udp.noerror, sendErrors, failures], [5000, 0, 0]);
  });

  test(`${name}: silence in between takes no client's answer away`, async (t) => {
    const [served, to = first([])] = await serve(t);
    const sockets = await Promise.all(Array.from({ length: 20 }, () => clientSocket(t, "127.0.0.1")));
    // Each client sends a response, which is met with silence, before its query.
    const answers = sockets.map((socket) => next(socket));
    for (const [index, socket] of sockets.entries()) {
      if (index % 3 !== 0) socket.send(queryOf({ id: 5000 + index, flags: 0x8000 }), to.port, to.host);
      socket.send(queryOf({ id: index, name: `n${index}.cdn.test` }), to.port, to.host);
    }
    for (const [index, one] of answers.entries()) {
      const { answer } = await one;
      assert.deepEqual([answer.readUInt16BE(0), lastOctet(answer)], [index, index]);
    }
    assert.equal(served.stats().outcomes.udp["ignored-response"], 13);
  });

  test(`${name}: empty, short and oversized packets harm nothing`, async (t) => {
    const [served, to = first([])] = await serve(t);
    const socket = await clientSocket(t, "127.0.0.1");
    const long = [1500, 4095, 4096, 4097, 9000, 65_507].map((length) => {
      const packet = Buffer.alloc(length, 0xff);
      good(length & 0xffff).copy(packet);
      return packet;
    });
    for (const packet of [Buffer.alloc(0), Buffer.alloc(1), Buffer.alloc(11), ...long]) {
      socket.send(packet, to.port, to.host);
    }
    for (const packet of long) {
      const { answer } = await next(socket);
      assert.deepEqual([readAnswer(answer).rcode, readAnswer(answer).id], [1, packet.length & 0xffff]);
    }
    assert.equal(lastOctet(await askOne(socket, to, good(1))), 1);
    const { outcomes } = served.stats();
    assert.deepEqual([outcomes.udp["ignored-short"], outcomes.udp.formerr, outcomes.udp.noerror], [3, 6, 1]);
  });

  test(`${name}: 20,000 hostile packets harm nothing: a good query is answered after them`, async (t) => {
    const seed = 99;
    const random = seededRandom(seed);
    const [served, to = first([])] = await serve(t);
    const socket = await clientSocket(t, "127.0.0.1");
    const model = queryOf({ id: 1, name: "version.cdn.test", subnet: "192.0.2.0/24" });
    // In parts, so that the kernel's queues can hold the packets of each, and their answers; the last query of a part
    // waits for its answer.
    for (let part = 0; part < 200; part++) {
      for (let i = 0; i < 100; i++) {
        const packet = i % 2 === 0 ? Buffer.alloc(Math.floor(random() * 100)) : Buffer.from(model);
        const changes = i % 2 === 0 ? packet.length : 3;
        for (let j = 0; j < changes; j++) {
          packet[i % 2 === 0 ? j : Math.floor(random() * packet.length)] = Math.floor(random() * 256);
        }
        socket.send(packet, to.port, to.host);
      }
      const last = new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new Error(`no answer after part ${part}, SEED=${seed}`));
        }, waitMs);
        const onMessage = (answer: Buffer): void => {
          readAnswer(answer);
          if (answer.readUInt16BE(0) !== 0xfffe || answer.length < 30) return;
          clearTimeout(timer);
          socket.off("message", onMessage);
          resolve();
        };
        socket.on("message", onMessage);
      });
      socket.send(good(0xfffe), to.port, to.host);
      await last;
    }
    const { failures, sendErrors } = served.stats();
    assert.deepEqual([failures, sendErrors], [0, 0], `SEED=${seed}`);
  });

  test(`${name}: a packet from source port 0 is met with silence`, async (t) => {
    const [served, to = first([])] = await serve(t);
    const raw = rawSender();
    if (raw === undefined) {
      t.diagnostic("no CAP_NET_RAW here; responder.test.ts shows the same without sockets");
      return;
    }
    t.after(raw.close);
    const socket = await clientSocket(t, "127.0.0.1");
    raw.send({ from: { host: "127.0.0.1", port: 0 }, to, payload: good(2) });
    assert.equal(lastOctet(await askOne(socket, to, good(3))), 1);
    const { outcomes, sendErrors } = served.stats();
    assert.deepEqual([outcomes.udp["ignored-port"], outcomes.udp.noerror, sendErrors], [1, 1, 0]);
  });

  test(`${name}: before the first snapshot the answer is SERVFAIL`, async (t) => {
    const served = await open([{ host: "127.0.0.1", port: 0 }]);
    t.after(() => served.close());
    const socket = await clientSocket(t, "127.0.0.1");
    assert.equal(readAnswer(await askOne(socket, first(served.addresses), good(1))).rcode, 2);
  });

  test(`${name}: an idle server answers from a new snapshot as soon as it is published`, async (t) => {
    const [served, to = first([])] = await serve(t);
    const socket = await clientSocket(t, "127.0.0.1");
    for (let version = 2; version < 30; version++) {
      served.publish(snapshotOf(version));
      assert.equal(lastOctet(await askOne(socket, to, good(version))), version);
    }
  });

  test(`${name}: 50 snapshots under load: no query is lost, none gets an old or a mixed answer`, async (t) => {
    const seed = 7;
    const random = seededRandom(seed);
    const [served, to = first([])] = await serve(t);
    const sockets = await Promise.all(Array.from({ length: 4 }, () => clientSocket(t, "127.0.0.1")));
    const snapshots = Array.from({ length: 51 }, (_, index) => snapshotOf(index + 1));
    const total = 20_000;
    const swaps = new Set<number>();
    while (swaps.size < 50) swaps.add(Math.floor(random() * total));
    const sentAt: number[] = [];
    let version = 1;
    await flood(sockets, to, {
      stats: served.stats,
      total,
      window: 200,
      query: good,
      before(index) {
        const snapshot = swaps.has(index) ? snapshots[version] : undefined;
        if (snapshot !== undefined) {
          served.publish(snapshot);
          version++;
        }
        sentAt[index] = version;
      },
      check(answer, index) {
        const got = lastOctet(answer);
        assert.ok(got >= (sentAt[index] ?? 0) && got <= version, `SEED=${seed} query ${index}: version ${got}`);
      },
    });
    assert.equal(version, 51);
    assert.equal(served.stats().outcomes.udp.noerror, total);
  });

  test(`${name}: a port that another has is refused`, async (t) => {
    const other = await clientSocket(t, "127.0.0.1");
    const { port } = other.address();
    await assert.rejects(open([{ host: "127.0.0.1", port }]), /EADDRINUSE|the address is in use/);
    const [, to = first([])] = await serve(t);
    await assert.rejects(open([to]), /EADDRINUSE|the address is in use/, "also when the other is one of ours");
  });

  test(`${name}: closing frees the ports, and may be asked for twice`, async (t) => {
    const [served, ...addresses] = await serve(t, ["127.0.0.1", "127.0.0.2"]);
    await Promise.all([served.close(), served.close()]);
    await served.close();
    for (const { host, port } of addresses) {
      const socket = createSocket("udp4");
      socket.bind({ address: host, port, exclusive: true });
      await once(socket, "listening");
      socket.close();
    }
    const again = await open(addresses);
    t.after(() => again.close());
    assert.deepEqual(again.addresses, addresses);
  });
}
