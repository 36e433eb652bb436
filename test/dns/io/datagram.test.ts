import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { queryOf, readAnswer } from "../support/ask.ts";
import { askUdp, exchange, running } from "../support/sockets.ts";

test("a query over UDP is answered, from the address that was asked", async (t) => {
  const { dns } = await running(t, { addresses: ["127.0.0.1", "127.0.0.2", "::1"].map((host) => ({ host, port: 0 })) });
  for (const { host, port } of dns.addresses()) {
    const { answers } = readAnswer(await askUdp(port, queryOf({}), host));
    assert.deepEqual(answers, ["img.cdn.test 30 A 127.0.1.1"], host);
  }
  assert.equal(dns.stats().outcomes.udp.noerror, 3);
});

test("20,000 hostile packets harm nothing: a good query is answered after them", async (t) => {
  const seed = 99;
  const random = seededRandom(seed);
  const { dns, port } = await running(t);
  const good = queryOf({ id: 1, subnet: "192.0.2.0/24" });
  const header = (flags: number, questions: number): number[] => [
    0,
    1,
    flags >> 8,
    flags & 0xff,
    0,
    questions,
    0,
    0,
    0,
    0,
    0,
    0,
  ];
  const fixed = [
    ...Array.from({ length: 12 }, (_, length) => Buffer.alloc(length, 0xff)),
    Buffer.concat([good, good.subarray(12)]),
    Buffer.from([...header(0, 2), ...good.subarray(12), ...good.subarray(12)]),
    queryOf({ id: 1, flags: 0x8000 }),
    Buffer.from([...header(0, 1), 3, 0x69, 0x6d, 0x67, 0, 3, 0x63, 0x64, 0x6e, 0, 0, 1, 0, 1]),
    Buffer.from([...header(0, 1), 0xc0, 12, 0, 1, 0, 1]),
    Buffer.alloc(12, 0xff),
    Buffer.alloc(1400, 0xc0),
  ];
  const packets = Array.from({ length: 20_000 }, (_, index) => {
    const one = fixed[index];
    if (one !== undefined) return one;
    if (index % 2 === 0)
      return Buffer.from(Array.from({ length: Math.floor(random() * 100) }, () => Math.floor(random() * 256)));
    const mutated = Buffer.from(good);
    for (let i = 0; i < 3; i++) mutated[Math.floor(random() * mutated.length)] = Math.floor(random() * 256);
    return mutated;
  });
  // In parts, so that the kernel's queue can hold each of them; the last query of a part waits for its answer.
  for (let from = 0; from < packets.length; from += 500) {
    const last = queryOf({ id: 0xfffe, name: "mail.cdn.test" });
    const answers = await exchange(port, packets.slice(from, from + 500), last);
    const reading = readAnswer(answers.at(-1) ?? Buffer.alloc(0));
    assert.equal(reading.rcode, 0, `SEED=${seed} packets from ${from}`);
    for (const answer of answers) readAnswer(answer);
  }
  const { outcomes, failures, sendErrors } = dns.stats();
  assert.ok(outcomes.udp["ignored-short"] >= 12);
  assert.ok(outcomes.udp["ignored-response"] >= 1);
  assert.deepEqual([failures, sendErrors], [0, 0]);
});
