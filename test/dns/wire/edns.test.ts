import assert from "node:assert/strict";
import { test } from "node:test";
import { ipToText } from "../../../dns/wire/address.ts";
import { emptyQuery, readQuery } from "../../../dns/wire/message.ts";
import { emptyOptReply, optLength, writeOpt, type Edns, type OptReply } from "../../../dns/wire/edns.ts";
import { queryOf, subnetData, type Asking } from "../support/ask.ts";

type Options = { readonly code: number; readonly data: readonly number[] }[];

function read(edns: NonNullable<Asking["edns"]>): { outcome: string; query: ReturnType<typeof emptyQuery> } {
  const query = emptyQuery();
  const message = queryOf({ edns });
  return { outcome: readQuery(message, message.length, query), query };
}

/** The OPT record as it is written, checked against its announced length: fixed part, then the options one by one. */
function written(edns: Edns, rcode: number, reply: OptReply, what: string): { fixed: number[]; options: Options } {
  const out = new Uint8Array(600).fill(0xee);
  const end = writeOpt(out, 7, edns, rcode, reply);
  assert.equal(end - 7, optLength(edns, reply), `${what}: as long as announced`);
  assert.ok(
    out.subarray(0, 7).every((octet) => octet === 0xee) && out.subarray(end).every((octet) => octet === 0xee),
    `${what}: nothing is written outside`,
  );
  const bytes = Buffer.from(out.subarray(7, end));
  assert.equal(bytes.readUInt16BE(9), bytes.length - 11, `${what}: length of the options`);
  const options: Options = [];
  for (let at = 11; at < bytes.length;) {
    const length = bytes.readUInt16BE(at + 2);
    options.push({ code: bytes.readUInt16BE(at), data: [...bytes.subarray(at + 4, at + 4 + length)] });
    at += 4 + length;
  }
  return { fixed: [...bytes.subarray(0, 9)], options };
}

const ecs = (data: readonly number[]): NonNullable<Asking["edns"]> => ({ options: [{ code: 8, data }] });

const goodSubnets: readonly (readonly [string, number[], string])[] = [
  ["a /24", [0, 1, 24, 0, 192, 0, 2], "192.0.2.0/24"],
  ["a /0 of IPv4", [0, 1, 0, 0], "0.0.0.0/0"],
  ["a /32", [0, 1, 32, 0, 192, 0, 2, 1], "192.0.2.1/32"],
  ["a /20, bits to spare", [0, 1, 20, 0, 192, 0, 0xf0], "192.0.240.0/20"],
  ["a /56, an odd number of octets", [0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 1, 2, 3], "2001:db8:102:300:0:0:0:0/56"],
  ["a /0 of IPv6", [0, 2, 0, 0], "0:0:0:0:0:0:0:0/0"],
];

test("a client subnet is read", () => {
  for (const [what, data, expected] of goodSubnets) {
    const { outcome, query } = read(ecs(data));
    assert.equal(outcome, "question", what);
    const { subnet } = query.edns;
    assert.ok(subnet.isPresent, what);
    assert.equal(`${ipToText(subnet.address)}/${subnet.sourcePrefixLength}`, expected, what);
  }
});

test("the empty subnet of family 0, as dig +subnet=0 sends it, is read", () => {
  const { outcome, query } = read(ecs([0, 0, 0, 0]));
  assert.equal(outcome, "question");
  assert.equal(query.edns.subnet.familyNumber, 0);
});

const badSubnets: readonly (readonly [string, number[]])[] = [
  ["no octets", []],
  ["three octets", [0, 1, 24]],
  ["family 3", [0, 3, 0, 0]],
  ["family 0 with a prefix", [0, 0, 8, 0, 1]],
  ["family 0 with octets", [0, 0, 0, 0, 1]],
  ["scope in a query", [0, 1, 24, 24, 192, 0, 2]],
  ["/33", [0, 1, 33, 0, 192, 0, 2, 1, 0]],
  ["/129", [0, 2, 129, 0, ...Array<number>(17).fill(0)]],
  ["an octet too few", [0, 1, 24, 0, 192, 0]],
  ["an octet too many", [0, 1, 24, 0, 192, 0, 2, 0]],
  ["octets behind /0", [0, 1, 0, 0, 0]],
  ["a bit behind the prefix", [0, 1, 20, 0, 192, 0, 0xf8]],
  ["IPv6 with a bit behind /57", [0, 2, 57, 0, 0x20, 1, 0xd, 0xb8, 1, 2, 3, 0xc0]],
];

test("a malformed client subnet makes the query malformed (RFC 7871 §7.2.1)", () => {
  for (const [what, data] of badSubnets) {
    const { outcome, query } = read(ecs(data));
    assert.equal(outcome, "malformed", what);
    assert.ok(!query.edns.subnet.isPresent, `${what}: nothing of it is repeated`);
  }
});

test("two client subnets are malformed, and none is repeated", () => {
  const option = { code: 8, data: [0, 1, 24, 0, 192, 0, 2] };
  const other = { code: 8, data: [0, 1, 8, 0, 10] };
  for (const options of [
    [option, option],
    [option, other],
    [option, other, option],
    [option, { code: 8, data: [9] }],
  ]) {
    const { outcome, query } = read({ options });
    assert.equal(outcome, "malformed");
    assert.ok(!query.edns.subnet.isPresent);
  }
});

const cookieOf = (length: number, first = 1): { code: number; data: number[] } => ({
  code: 10,
  data: Array.from({ length }, (_, index) => first + index),
});

test("cookies have 8 or 16 to 40 octets (RFC 7873 §4)", () => {
  for (let length = 0; length <= 50; length++) {
    const { outcome, query } = read({ options: [cookieOf(length)] });
    const isGood = length === 8 || (length >= 16 && length <= 40);
    assert.equal(outcome, isGood ? "question" : "malformed", `${length} octets`);
    assert.equal(query.edns.cookie.length, isGood ? length : 0);
    if (isGood) assert.deepEqual([...query.edns.cookie.bytes.subarray(0, length)], cookieOf(length).data);
  }
});

test("of several cookies the first counts and the others are ignored, whatever they are (RFC 7873 §5.2)", () => {
  const { outcome, query } = read({ options: [cookieOf(8, 50), cookieOf(24), cookieOf(9)] });
  assert.equal(outcome, "question");
  assert.equal(query.edns.cookie.length, 8);
  assert.equal(query.edns.cookie.bytes[0], 50);
  assert.equal(read({ options: [cookieOf(9), cookieOf(8)] }).outcome, "malformed");
});

test("what is well formed is read beside what is not, so that a FORMERR carries cookie and subnet", () => {
  const subnet = { code: 8, data: [0, 1, 24, 0, 192, 0, 2] };
  const badSubnet = read({ options: [{ code: 8, data: [0, 9, 0, 0] }, cookieOf(8)] });
  assert.equal(badSubnet.outcome, "malformed");
  assert.deepEqual([badSubnet.query.edns.cookie.length, badSubnet.query.edns.subnet.isPresent], [8, false]);
  const badCookie = read({ options: [cookieOf(7), subnet] });
  assert.equal(badCookie.outcome, "malformed");
  assert.deepEqual([badCookie.query.edns.cookie.length, badCookie.query.edns.subnet.isPresent], [0, true]);
});

test("NSID is asked with an empty option, and what else it holds is ignored (RFC 5001 §2.2)", () => {
  assert.equal(read({}).query.edns.isNsidAsked, false);
  for (const data of [[], [1, 2, 3]]) {
    const { outcome, query } = read({ options: [{ code: 3, data }] });
    assert.equal(outcome, "question");
    assert.ok(query.edns.isNsidAsked);
  }
});

test("a TCP keepalive is asked without a timeout; with one it is malformed, but not for UDP (RFC 7828 §3.2.1)", () => {
  const cases: readonly (readonly [number[], boolean, boolean])[] = [
    [[], true, false],
    [[0, 100], false, true],
    [[0], false, true],
    [[0, 0, 0], false, true],
  ];
  for (const [data, isAsked, isMalformed] of cases) {
    const { outcome, query } = read({ options: [{ code: 11, data }] });
    assert.equal(outcome, "question");
    assert.deepEqual([query.edns.isKeepaliveAsked, query.edns.isKeepaliveMalformed], [isAsked, isMalformed]);
  }
});

test("other options are ignored, whatever they hold, also before and behind the subnet", () => {
  const { outcome, query } = read({
    options: [
      cookieOf(8),
      { code: 3, data: [] },
      { code: 8, data: [0, 2, 40, 0, 0x20, 1, 0xd, 0xb8, 9] },
      { code: 12, data: Array<number>(100).fill(0) },
      { code: 15, data: [] },
      { code: 65_001, data: [1, 2, 3] },
    ],
  });
  assert.equal(outcome, "question");
  assert.equal(query.edns.subnet.sourcePrefixLength, 40);
});

test("the OPT of an answer repeats the subnet with the answer's scope, and DO; Z bits are zero", () => {
  for (const [what, data] of goodSubnets) {
    const { query } = read({ ...ecs(data), udpSize: 4096, flags: 0xffff });
    const { fixed, options } = written(query.edns, 16, { ...emptyOptReply(), scope: 17 }, what);
    assert.deepEqual(fixed.slice(0, 5), [0, 0, 41, 1232 >> 8, 1232 & 0xff], what);
    assert.deepEqual(fixed.slice(5), [1, 0, 0x80, 0], `${what}: BADVERS, version 0, DO, Z zero`);
    const repeated = [...data];
    repeated[3] = 17;
    assert.deepEqual(options, [{ code: 8, data: repeated }], what);
  }
  const { fixed } = written(read({ flags: 0x7fff }).query.edns, 0, emptyOptReply(), "no DO");
  assert.deepEqual(fixed.slice(5), [0, 0, 0, 0]);
  assert.deepEqual(subnetData("192.0.2.0/24"), [0, 1, 24, 0, 192, 0, 2]);
});

test("the OPT of an answer is as long as announced, for every choice of what was asked and what is reported", () => {
  const serverCookie = Uint8Array.from({ length: 16 }, (_, index) => 200 + index);
  const nsid = Buffer.from("fra1");
  for (let asked = 0; asked < 16; asked++) {
    const { query } = read({
      options: [
        ...((asked & 1) === 0 ? [] : [{ code: 3, data: [] }]),
        ...((asked & 2) === 0 ? [] : [cookieOf(24)]),
        ...((asked & 4) === 0 ? [] : [{ code: 8, data: [0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 1, 2, 3] }]),
        ...((asked & 8) === 0 ? [] : [{ code: 11, data: [] }]),
      ],
    });
    for (let told = 0; told < 16; told++) {
      const reply: OptReply = {
        scope: 48,
        nsid: (told & 1) === 0 ? undefined : nsid,
        hasServerCookie: (told & 2) !== 0,
        serverCookie,
        extendedError: (told & 4) === 0 ? -1 : 30,
        keepaliveTenths: (told & 8) === 0 ? -1 : 300,
      };
      const expected: Options = [];
      if ((asked & 4) !== 0) expected.push({ code: 8, data: [0, 2, 56, 48, 0x20, 1, 0xd, 0xb8, 1, 2, 3] });
      if ((asked & told & 2) !== 0) {
        expected.push({ code: 10, data: [...cookieOf(24).data.slice(0, 8), ...serverCookie] });
      }
      if ((asked & told & 1) !== 0) expected.push({ code: 3, data: [...nsid] });
      if ((asked & told & 8) !== 0) expected.push({ code: 11, data: [300 >> 8, 300 & 0xff] });
      if ((told & 4) !== 0) expected.push({ code: 15, data: [0, 30] });
      const what = `asked ${asked}, told ${told}`;
      assert.deepEqual(written(query.edns, 0, reply, what).options, expected, what);
    }
  }
});

test("an extended error 0 and a keepalive of 0 are reported: neither is the same as none", () => {
  const { query } = read({ options: [{ code: 11, data: [] }] });
  const reply = { ...emptyOptReply(), extendedError: 0, keepaliveTenths: 0 };
  assert.deepEqual(written(query.edns, 0, reply, "zeros").options, [
    { code: 11, data: [0, 0] },
    { code: 15, data: [0, 0] },
  ]);
});

test("without an OPT record in the query nothing is announced", () => {
  const reply = { ...emptyOptReply(), hasServerCookie: true, extendedError: 3, nsid: Buffer.from("x") };
  assert.equal(optLength(emptyQuery().edns, reply), 0);
});
