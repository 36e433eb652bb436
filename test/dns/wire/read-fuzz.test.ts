/**
 * Reading queries under random change: messages that were good are cut, lengthened and overwritten, also at the
 * places that say how long something is. Reading must not throw, must not look behind the message, and must not work
 * more than the message is long.
 */
import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyOptReply, optLength, writeOpt } from "../../../dns/wire/edns.ts";
import { emptyQuery, headerLength, readQuery } from "../../../dns/wire/message.ts";
import { nameBytes, optBytes, queryOf, u16 } from "../support/ask.ts";

const seed = Number(process.env["SEED"] ?? 20_261_121);
const rounds = 100_000;

const corpus: readonly Buffer[] = [
  queryOf({}),
  queryOf({ name: "a.b.c.d.e.f.g.h.img.cdn.test", type: "AAAA", edns: { flags: 0x8000 } }),
  queryOf({ subnet: "192.0.2.0/24" }),
  queryOf({ subnet: "2001:db8::/56", edns: { options: [{ code: 10, data: Array<number>(24).fill(7) }] } }),
  queryOf({
    edns: {
      options: [
        { code: 3, data: [] },
        { code: 11, data: [] },
        { code: 12, data: Array<number>(60).fill(0) },
        { code: 10, data: Array<number>(8).fill(9) },
      ],
    },
  }),
  Buffer.from([...u16(1), ...u16(0), ...u16(0), ...u16(0), ...u16(0), ...u16(1), ...optBytes({})]),
  Buffer.from(
    [
      [...u16(2), ...u16(0x0100), ...u16(1), ...u16(2), ...u16(1), ...u16(1)],
      [...nameBytes("img.cdn.test"), ...u16(1), ...u16(1)],
      [0xc0, 12, ...u16(1), ...u16(1), 0, 0, 0, 9, ...u16(4), 192, 0, 2, 1],
      [3, 0x6e, 0x73, 0x31, 0xc0, 16, ...u16(16), ...u16(1), 0, 0, 0, 9, ...u16(2), 1, 0x61],
      [0, ...u16(2), ...u16(1), 0, 0, 0, 9, ...u16(2), 0xc0, 12],
      optBytes({ options: [{ code: 8, data: [0, 1, 16, 0, 10, 9] }] }),
    ].flat(),
  ),
];

test("100,000 changed queries: no throw, no reading behind the end, work bounded by the length", () => {
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const slot = new Uint8Array(1024);
  const again = new Uint8Array(1024);
  const out = new Uint8Array(512);
  const query = emptyQuery();
  const twin = emptyQuery();
  const reply = { ...emptyOptReply(), hasServerCookie: true, nsid: Buffer.from("n"), keepaliveTenths: 9 };
  const seen = new Map<string, number>();
  for (let round = 0; round < rounds; round++) {
    const original = corpus[below(corpus.length)] ?? Buffer.alloc(0);
    slot.fill(round & 0xff);
    slot.set(original);
    let length = original.length;
    for (let changes = below(4); changes > 0; changes--) {
      const at = below(length);
      const kind = below(8);
      if (kind === 0) slot[at] = below(256);
      else if (kind === 1) slot[at] = (slot[at] ?? 0) ^ (1 << below(8));
      else if (kind === 2) slot[at] = [0, 1, 0x3f, 0x40, 0xc0, 0xff][below(6)] ?? 0;
      else if (kind === 3) length = below(length + 1);
      else if (kind === 4) length = Math.min(length + below(40), 600);
      else if (kind === 5) slot.copyWithin(below(length), at, at + below(60));
      else if (kind === 6) slot.set(u16(below(0x1_0000)), 4 + 2 * below(4));
      else slot.set(optBytes({ options: [{ code: below(16), data: [0, below(3), below(140), 0] }] }), at);
      if (length === 0) break;
    }
    const where = `SEED=${seed} round ${round}: ${Buffer.from(slot.subarray(0, length)).toString("hex")}`;
    try {
      const outcome = readQuery(slot, length, query);
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      assert.ok(query.steps <= length, `${query.steps} steps for ${length} octets`);
      assert.ok(query.questionEnd >= headerLength && query.questionEnd <= Math.max(length, headerLength));
      assert.ok(query.name.length <= 255 && query.name.labelsCount <= 127);
      assert.ok(query.edns.cookie.length === 0 || (query.edns.cookie.length >= 8 && query.edns.cookie.length <= 40));
      // The same message with other octets behind it reads the same.
      again.fill(~round & 0xff);
      again.set(slot.subarray(0, length));
      assert.equal(readQuery(again, length, twin), outcome);
      assert.deepEqual([twin.questionEnd, twin.steps], [query.questionEnd, query.steps]);
      if (outcome === "question") assert.deepEqual([twin.type, twin.edns], [query.type, query.edns]);
      const end = query.edns.isPresent ? writeOpt(out, 0, query.edns, 1, reply) : 0;
      assert.equal(end, optLength(query.edns, reply));
    } catch (error) {
      throw new Error(where, { cause: error });
    }
  }
  for (const outcome of ["question", "short", "response", "unknown-opcode", "malformed", "unknown-version"]) {
    assert.ok((seen.get(outcome) ?? 0) > 100, `${outcome} is met too`);
  }
});
