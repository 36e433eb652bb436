import assert from "node:assert/strict";
import { test } from "node:test";
import { nameToText } from "../../../dns/wire/name.ts";
import { emptyQuery, readQuery, type QueryOutcome } from "../../../dns/wire/message.ts";
import { nameBytes, optBytes, queryOf, u16 } from "../support/ask.ts";

function read(bytes: readonly number[] | Uint8Array): { outcome: QueryOutcome; query: ReturnType<typeof emptyQuery> } {
  const query = emptyQuery();
  return { outcome: readQuery(Uint8Array.from(bytes), bytes.length, query), query };
}

const header = (flags: number, qd: number, an = 0, ns = 0, ar = 0): number[] => [
  0x12,
  0x34,
  ...u16(flags),
  ...u16(qd),
  ...u16(an),
  ...u16(ns),
  ...u16(ar),
];
const question = [...nameBytes("img.cdn.test"), 0, 1, 0, 1];
const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1];

test("a plain question is read", () => {
  const { outcome, query } = read(queryOf({ name: "IMG.cdn.Test", type: "AAAA" }));
  assert.equal(outcome, "question");
  assert.equal(nameToText(query.name), "img.cdn.test");
  assert.deepEqual([query.type, query.class, query.questionEnd, query.edns.isPresent], [28, 1, 30, false]);
});

test("EDNS fields are read", () => {
  const { outcome, query } = read(queryOf({ edns: { udpSize: 4096, flags: 0x8000 } }));
  assert.equal(outcome, "question");
  assert.deepEqual([query.edns.udpSize, query.edns.dnssecOk, query.edns.version], [4096, true, 0]);
});

const opt = optBytes({});
const cookie = { code: 10, data: [1, 2, 3, 4, 5, 6, 7, 8] };
const cookieOpt = optBytes({ options: [cookie] });
const cases: readonly (readonly [string, QueryOutcome, number[]])[] = [
  ["0 octets", "short", []],
  ["11 octets", "short", header(0, 1).slice(0, 11)],
  ["a response", "response", [...header(0x8000, 1), ...question]],
  ["a response of unknown opcode", "response", [...header(0xf800, 1), ...question]],
  ["opcode 1, which is gone", "unknown-opcode", [...header(0x0800, 1), ...question]],
  ["NOTIFY", "unknown-opcode", [...header(0x2000, 1), ...question]],
  ["UPDATE", "unknown-opcode", [...header(0x2800, 1), ...question]],
  ["opcode 15, header only", "unknown-opcode", header(0x7800, 0)],
  ["no question", "malformed", header(0, 0)],
  ["no question, and an OPT record without a cookie", "malformed", [...header(0, 0, 0, 0, 1), ...opt]],
  ["no question but a cookie (RFC 7873 §5.4)", "cookie-only", [...header(0, 0, 0, 0, 1), ...cookieOpt]],
  [
    "no question but a cookie, and a client subnet",
    "cookie-only",
    [...header(0, 0, 0, 0, 1), ...optBytes({ options: [cookie, { code: 8, data: [0, 1, 8, 0, 10] }] })],
  ],
  [
    "no question but a cookie of 9 octets",
    "malformed",
    [...header(0, 0, 0, 0, 1), ...optBytes({ options: [{ code: 10, data: Array<number>(9).fill(1) }] })],
  ],
  [
    "no question, a cookie in EDNS version 1",
    "unknown-version",
    [...header(0, 0, 0, 0, 1), ...optBytes({ version: 1, options: [cookie] })],
  ],
  ["no question, a cookie, and an octet behind", "malformed", [...header(0, 0, 0, 0, 1), ...cookieOpt, 0]],
  ["two questions with a cookie", "malformed", [...header(0, 2, 0, 0, 1), ...question, ...question, ...cookieOpt]],
  ["a question announced, none there", "malformed", header(0, 1)],
  ["two questions", "malformed", [...header(0, 2), ...question, ...question]],
  ["65,535 questions in 12 octets", "malformed", header(0, 0xffff, 0xffff, 0xffff, 0xffff)],
  ["a name without end", "malformed", [...header(0, 1), 3, 0x69, 0x6d]],
  ["a name that points at itself", "malformed", [...header(0, 1), 0xc0, 12, 0, 1, 0, 1]],
  ["a name that points into the header", "malformed", [...header(0, 1), 0xc0, 0, 0, 1, 0, 1]],
  ["type and class cut off", "malformed", [...header(0, 1), ...question.slice(0, -1)]],
  [
    "an empty label inside a name",
    "malformed",
    [...header(0, 1), 3, 0x69, 0x6d, 0x67, 0, 4, 0x74, 0x65, 0x73, 0x74, 0, 0, 1, 0, 1],
  ],
  ["octets behind the message", "malformed", [...header(0, 1), ...question, 0]],
  ["a record announced, none there", "malformed", [...header(0, 1, 0, 0, 1), ...question]],
  ["a record cut in its fixed part", "malformed", [...header(0, 1, 1), ...question, ...record.slice(0, 9)]],
  ["a record cut in its data", "malformed", [...header(0, 1, 1), ...question, ...record.slice(0, -1)]],
  [
    "records in every section",
    "question",
    [...header(0, 1, 1, 1, 2), ...question, ...record, ...record, ...record, ...opt],
  ],
  ["a record whose owner points forward", "malformed", [...header(0, 1, 1), ...question, 0xc0, 60, ...record.slice(2)]],
  ["two OPT records", "malformed", [...header(0, 1, 0, 0, 2), ...question, ...opt, ...opt]],
  ["an OPT record in the answer section", "malformed", [...header(0, 1, 1), ...question, ...opt]],
  ["an OPT record in the authority section", "malformed", [...header(0, 1, 0, 1), ...question, ...opt]],
  ["an OPT record of another owner", "malformed", [...header(0, 1, 0, 0, 1), ...question, 1, 0x61, ...opt]],
  [
    "an option that runs past the record",
    "malformed",
    [...header(0, 1, 0, 0, 1), ...question, ...opt.slice(0, 9), 0, 4, 0, 3, 0, 9],
  ],
  ["half an option header", "malformed", [...header(0, 1, 0, 0, 1), ...question, ...opt.slice(0, 9), 0, 2, 0, 3]],
  ["EDNS version 1", "unknown-version", [...header(0, 1, 0, 0, 1), ...question, ...optBytes({ version: 1 })]],
  [
    "EDNS version 255 with broken options",
    "unknown-version",
    [...header(0, 1, 0, 0, 1), ...question, ...optBytes({ version: 255, options: [{ code: 8, data: [9] }] })],
  ],
];

test("each kind of message is recognised", () => {
  for (const [what, expected, bytes] of cases) assert.equal(read(bytes).outcome, expected, what);
});

test("a question that was read is kept for the answer of a malformed message", () => {
  assert.equal(read([...header(0, 1), ...question, 0]).query.questionEnd, 30);
  assert.equal(read([...header(0, 2), ...question, ...question]).query.questionEnd, 12);
  assert.equal(read([...header(0, 1), 0xc0, 12, 0, 1, 0, 1]).query.questionEnd, 12);
});

test("with two questions the OPT record is still found, so that the answer can carry one", () => {
  const { outcome, query } = read([...header(0, 2, 0, 0, 1), ...question, ...question, ...opt]);
  assert.equal(outcome, "malformed");
  assert.ok(query.edns.isPresent);
});

test("nothing of one query is left in the next", () => {
  const query = emptyQuery();
  const options = [
    { code: 3, data: [] },
    { code: 10, data: Array<number>(24).fill(1) },
    { code: 11, data: [] },
    { code: 11, data: [0, 1] },
  ];
  const first = queryOf({ subnet: "192.0.2.0/24", edns: { flags: 0x8000, options } });
  readQuery(first, first.length, query);
  const { edns } = query;
  assert.ok(edns.subnet.isPresent && edns.isNsidAsked && edns.isKeepaliveAsked && edns.isKeepaliveMalformed);
  assert.equal(edns.cookie.length, 24);
  const second = queryOf({ name: "a.b" });
  readQuery(second, second.length, query);
  const empty = emptyQuery().edns;
  assert.deepEqual(
    [edns.isPresent, edns.dnssecOk, edns.subnet.isPresent, edns.cookie.length, edns.isNsidAsked],
    [empty.isPresent, empty.dnssecOk, empty.subnet.isPresent, 0, false],
  );
  assert.deepEqual([edns.isKeepaliveAsked, edns.isKeepaliveMalformed, edns.udpSize], [false, false, 0]);
  assert.equal(nameToText(query.name), "a.b");
});

test("only the message is read, not what stands behind it in the array: a slot of a big buffer", () => {
  const message = queryOf({ name: "img.cdn.test", subnet: "192.0.2.0/24" });
  const query = emptyQuery();
  for (const filling of [0, 1, 3, 41, 0xc0, 0xff]) {
    const slot = new Uint8Array(512).fill(filling);
    slot.set(message);
    assert.equal(readQuery(slot, message.length, query), "question", `filled with ${filling}`);
    assert.equal(query.edns.subnet.sourcePrefixLength, 24);
    for (let length = 0; length < message.length; length++) {
      slot.fill(filling);
      slot.set(message.subarray(0, length));
      const outcome = readQuery(slot, length, query);
      assert.equal(outcome, length < 12 ? "short" : "malformed", `${length} octets, filled with ${filling}`);
    }
  }
});

test("the work is counted: octets of names, records, options", () => {
  assert.equal(read(queryOf({ name: "img.cdn.test" })).query.steps, 14);
  assert.equal(read(queryOf({ name: "img.cdn.test", edns: {} })).query.steps, 14 + 2);
  assert.equal(read(queryOf({ name: "a.b", subnet: "192.0.2.0/24" })).query.steps, 5 + 2 + 1);
  assert.equal(read(header(0, 0xffff, 0xffff, 0xffff, 0xffff)).query.steps, 0);
});

test("hostile counts and lengths cost no more than the message is long", () => {
  const roots = Array<number>(65_000).fill(0);
  const manyQuestions = read([...header(0, 0xffff, 0xffff, 0xffff, 0xffff), ...roots]);
  assert.equal(manyQuestions.outcome, "malformed");
  assert.ok(manyQuestions.query.steps <= 65_012);
  const records = Array.from({ length: 5_000 }, () => [0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0]).flat();
  const manyRecords = read([...header(0, 1, 5_000), ...question, ...records]);
  assert.equal(manyRecords.outcome, "question");
  assert.ok(manyRecords.query.steps <= 10_014);
  const options = Array.from({ length: 10_000 }, () => [0xff, 0xff, 0, 0]).flat();
  const manyOptions = read([...header(0, 1, 0, 0, 1), ...question, ...opt.slice(0, 9), ...u16(40_000), ...options]);
  assert.equal(manyOptions.outcome, "question");
  assert.ok(manyOptions.query.steps <= 10_016);
});
