/**
 * Packets random and grown from good ones by mutation, over the responder without sockets: it never fails inside, its
 * work is bounded (counted in steps, not by a clock), and two independent readers understand every answer. 200,000 of
 * them here, 10,000,000 in the long form.
 */
import { seededRandom, type Random } from "#base/random.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Packet as Dns2Packet } from "dns2";
import { rounds, seedOr } from "../support/long.ts";
import { emptyAddress, parseIp } from "../../dns/wire/address.ts";
import { nameBytes, optBytes, queryOf, readAnswer, typeNumbers, u16, type Reading } from "./support/ask.ts";
import { bench, octetGeo } from "./support/fleet.ts";

const seed = seedOr(20_261_121);
const packetsCount = rounds(200_000, 10_000_000);

const names = [
  "img",
  "www",
  "alias",
  "loop1",
  "x.child",
  "into-child",
  "x.wild",
  "a.b.deep",
  "weighted",
  "any",
  "nope",
  "to-apex",
];

/** Good queries of all kinds: what the others grow from. */
function corpusOf(): Buffer[] {
  const question = [...nameBytes("img.cdn.test"), 0, 1, 0, 1];
  const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4];
  const types = Object.values(typeNumbers);
  return [
    ...names.flatMap((name, index) => [
      queryOf({ name: `${name}.cdn.test`, type: types[index % types.length] ?? 1 }),
      queryOf({ name: `${name}.cdn.test`, edns: { flags: 0x8000 } }),
      queryOf({ name: `${name}.cdn.test`, subnet: `${index}.${index}.0.0/16` }),
      queryOf({ name: `${name}.CDN.test`, type: "AAAA", subnet: "2001:db8:1:100::/56", edns: { udpSize: 512 } }),
    ]),
    ...types.map((type) =>
      queryOf({ name: "cdn.test", type, edns: { options: [{ code: 10, data: Array<number>(8).fill(1) }] } }),
    ),
    queryOf({ name: Array<string>(100).fill("a").join(".") }),
    Buffer.from([0, 1, 0, 0, ...u16(2), ...u16(0), ...u16(0), ...u16(1), ...question, ...question, ...optBytes({})]),
    Buffer.from([
      0,
      1,
      0,
      0,
      ...u16(1),
      ...u16(1),
      ...u16(1),
      ...u16(2),
      ...question,
      ...record,
      ...record,
      ...record,
      ...optBytes({}),
    ]),
  ];
}

function mutate(packet: Buffer, random: Random, other: Buffer): Buffer {
  const below = (limit: number): number => Math.floor(random() * limit);
  let bytes = Buffer.from(packet);
  for (let times = 1 + below(4); times > 0; times--) {
    const at = below(bytes.length + 1);
    switch (below(7)) {
      case 0:
        if (at < bytes.length) bytes[at] = below(256);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
        break;
      case 2:
        bytes = bytes.subarray(0, at);
        break;
      case 3:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          Buffer.from(Array.from({ length: below(20) }, () => below(256))),
          bytes.subarray(at),
        ]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(below(other.length))]);
        break;
      case 5: // a pointer
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([0xc0 | below(2), below(256)]), bytes.subarray(at)]);
        break;
      default: // a value that parsers trip over
        if (at < bytes.length) bytes[at] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff][below(8)] ?? 0;
    }
  }
  return bytes;
}

/** Turns of loops that a packet may cost: some for each octet, and what the longest chain of aliases takes. */
const stepsMax = (length: number): number => 4 * length + 2000;

test(`${packetsCount} random and mutated packets: no failure inside, every answer can be read`, () => {
  const random = seededRandom(seed);
  const corpus = corpusOf();
  const room = new Uint8Array(4096);
  const client = { address: parseIp("127.0.0.1") ?? emptyAddress(), port: 40_000 };
  const { send, respond, steps, stats } = bench({
    geo: octetGeo,
    identity: { nsid: Buffer.from("node-1"), version: "nearcast", id: "node-1" },
    cookieSecrets: [Buffer.alloc(16, 7)],
    amplificationMax: 3,
  });
  let answered = 0;
  let readByDns2 = 0;
  for (let i = 0; i < packetsCount; i++) {
    const base = corpus[Math.floor(random() * corpus.length)] ?? Buffer.alloc(0);
    const other = corpus[Math.floor(random() * corpus.length)] ?? base;
    const packet =
      i % 5 === 0
        ? Buffer.from(Array.from({ length: Math.floor(random() * 80) }, () => Math.floor(random() * 256)))
        : mutate(base, random, other);
    const where = `SEED=${seed} packet ${i}: ${packet.toString("hex")}`;
    const transport = i % 3 === 0 ? "tcp" : "udp";
    let answer: Uint8Array;
    try {
      answer = send(packet, { transport });
    } catch (error) {
      throw new Error(where, { cause: error });
    }
    assert.ok(steps() <= stepsMax(packet.length), `${where}: ${steps()} steps`);
    const isToBeAnswered = packet.length >= 12 && ((packet[2] ?? 0) & 0x80) === 0;
    assert.equal(answer.length > 0, isToBeAnswered, where);
    if (answer.length === 0) continue;
    answered++;
    assert.ok(transport === "tcp" || answer.length <= 1232, where);
    assert.ok(transport === "tcp" || answer.length <= Math.max(3 * packet.length, 12), `${where}: amplified`);
    assert.equal(
      (answer[2] ?? 0) & 0xf8,
      0x80 | ((packet[2] ?? 0) & 0x78),
      `${where}: QR, and the opcode that was asked`,
    );
    assert.deepEqual([answer[0], answer[1]], [packet[0], packet[1]], where);
    let reading;
    try {
      reading = readAnswer(answer);
      if (canBeReadByDns2(answer)) {
        const second = Dns2Packet.parse(Buffer.from(answer));
        assert.equal(second.answers.length, reading.answers.length, `${where}: dns2 reads another number of answers`);
        readByDns2++;
      }
    } catch (error) {
      throw new Error(`${where}: ${Buffer.from(answer).toString("hex")}`, { cause: error });
    }
    if (transport === "udp" && packet.length <= room.length) {
      // Asked again, it takes the short way if there is one, and stands where its query stood: the answer is the same.
      room.set(packet);
      const length = respond(room, packet.length, { ...client, transport }, room);
      assert.deepEqual(inNoOrder(readAnswer(room.slice(0, length))), inNoOrder(reading), where);
    }
    const records = reading.answers.length + reading.authorities.length + reading.additionals.length;
    assert.ok(records <= 20, `${where}: ${records} records`);
    if (reading.rcode === 1 || reading.rcode === 4 || reading.rcode === 5 || reading.rcode === 16)
      assert.equal(records, 0, where);
  }
  assert.ok(answered > packetsCount / 4, `only ${answered} were answered`);
  assert.ok(readByDns2 > answered / 2, `dns2 was able to read ${readByDns2} of ${answered} only`);
  const { outcomes, failures } = stats();
  for (const outcome of [
    "noerror",
    "nodata",
    "nxdomain",
    "referral",
    "refused",
    "formerr",
    "notimp",
    "badvers",
  ] as const) {
    assert.ok(outcomes.udp[outcome] + outcomes.tcp[outcome] > 0, `the corpus never led to ${outcome}`);
  }
  assert.equal(failures, 0);
});

/** Addresses of a site take turns. */
function inNoOrder(reading: Reading): object {
  return { ...reading, answers: reading.answers.toSorted() };
}

/** It takes an IPv6 client subnet of an odd number of octets for the packet's end, and knows no escapes in names. */
function canBeReadByDns2(answer: Uint8Array): boolean {
  const bytes = Buffer.from(answer);
  const subnet = bytes.lastIndexOf(Buffer.from([0, 8, 0]));
  return subnet < 0 || ((bytes[subnet + 3] ?? 0) & 1) === 0;
}

test("the work for one packet is bounded: the worst 64 KiB reads each octet a few times", () => {
  const { send } = bench();
  const header = (...counts: number[]): number[] => [0, 1, 0, 0, ...counts.flatMap(u16)];
  const filled = (start: number[], unit: number[]): Uint8Array => {
    const bytes = new Uint8Array(65_535);
    bytes.set(start);
    for (let at = start.length; at + unit.length <= bytes.length; at += unit.length) bytes.set(unit, at);
    return bytes;
  };
  const question = [...nameBytes("img.cdn.test"), 0, 1, 0, 1];
  const bombs: readonly (readonly [string, Uint8Array])[] = [
    ["questions", filled(header(0xffff, 0, 0, 0), [0xc0, 12, 0, 1, 0, 1])],
    ["root questions", filled(header(0xffff, 0, 0, 0), [0, 0, 1, 0, 1])],
    ["records", filled([...header(1, 0xffff, 0, 0), ...question], [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])],
    ["OPT records", filled([...header(1, 0, 0, 0xffff), ...question], [0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0])],
    ["options", filled([...header(1, 0, 0, 1), ...question, 0, 0, 41, 4, 0, 0, 0, 0, 0, 0xff, 0xd0], [0, 3, 0, 0])],
    ["pointers", filled(header(1, 0, 0, 0), [0xc0, 14])],
  ];
  for (const [what, bytes] of bombs) {
    const counted = new Proxy(bytes, counting);
    reads = 0;
    send(counted, { transport: "tcp" });
    assert.ok(reads > 0, what);
    assert.ok(reads <= 4 * bytes.length, `${what}: ${reads} reads of ${bytes.length} octets`);
  }
});

let reads = 0;
/** Counts what is read of a packet, so that "bounded" is a number and not a time. */
const counting: ProxyHandler<Uint8Array> = {
  get(target, key) {
    if (key === "length") return target.length;
    reads++;
    return target[Number(key)];
  },
};
