import assert from "node:assert/strict";
import { test } from "node:test";
import { type Answer as PacketAnswer, decode, encode } from "dns-packet";
import { buildQuery, readAnswer } from "./query.ts";

test("a query is one question with an empty NSID option", () => {
  const query = decode(buildQuery(4711, "img.cdn.lab", "AAAA", true));
  assert.deepEqual(
    { id: query.id, questions: query.questions, recursion: query.flag_rd },
    { id: 4711, questions: [{ name: "img.cdn.lab", type: "AAAA", class: "IN" }], recursion: true },
  );
  const [opt] = query.additionals ?? [];
  assert.equal(opt?.type, "OPT");
  assert.deepEqual(
    (opt as { options: { code: number; data: Buffer }[] }).options.map(({ code, data }) => ({
      code,
      size: data.length,
    })),
    [{ code: 3, size: 0 }],
  );
});

function answer(flags: number, answers: PacketAnswer[], nsid = "fra1"): Buffer {
  return encode({
    type: "response",
    id: 7,
    flags,
    questions: [{ name: "img.cdn.lab", type: "A" }],
    answers,
    additionals: [
      {
        type: "OPT",
        name: ".",
        udpPayloadSize: 1232,
        flags: 0,
        options: [{ code: 3, data: Buffer.from(nsid) }],
      } as unknown as PacketAnswer,
    ],
  });
}

test("an answer tells its node and its addresses", () => {
  const bytes = answer(0, [
    { name: "img.cdn.lab", type: "A", ttl: 3, data: "10.1.1.2" },
    { name: "img.cdn.lab", type: "AAAA", ttl: 3, data: "2001:db8:1:1::2" },
  ]);
  assert.deepEqual(readAnswer(bytes), {
    id: 7,
    rcode: 0,
    isTruncated: false,
    node: "fra1",
    addresses: ["10.1.1.2", "2001:db8:1:1::2"],
  });
  assert.equal(readAnswer(answer(2, []))?.rcode, 2);
});

test("an answer that is cut off anywhere is none, and a question is no answer", () => {
  const bytes = answer(0, [{ name: "img.cdn.lab", type: "A", ttl: 3, data: "10.1.1.2" }]);
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(readAnswer(bytes.subarray(0, length)), null, `${length} octets`);
  }
  assert.equal(readAnswer(buildQuery(1, "a.b", "A", false)), null);
});
