import assert from "node:assert/strict";
import { test } from "node:test";
import { ipToText } from "../../../dns/wire/address.ts";
import { emptyQuery, readQuery } from "../../../dns/wire/message.ts";
import { optLength, writeOpt } from "../../../dns/wire/edns.ts";
import { queryOf, subnetData, type Asking } from "../support/ask.ts";

function read(edns: NonNullable<Asking["edns"]>): { outcome: string; query: ReturnType<typeof emptyQuery> } {
  const query = emptyQuery();
  return { outcome: readQuery(queryOf({ edns }), query), query };
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

test("two client subnets are malformed", () => {
  const option = { code: 8, data: [0, 1, 24, 0, 192, 0, 2] };
  assert.equal(read({ options: [option, option] }).outcome, "malformed");
});

test("cookies have 8 or 16 to 40 octets (RFC 7873 §4)", () => {
  for (let length = 0; length <= 50; length++) {
    const { outcome } = read({ options: [{ code: 10, data: Array<number>(length).fill(1) }] });
    assert.equal(
      outcome,
      length === 8 || (length >= 16 && length <= 40) ? "question" : "malformed",
      `${length} octets`,
    );
  }
});

test("other options are ignored, whatever they hold, also before and behind the subnet", () => {
  const { outcome, query } = read({
    options: [
      { code: 10, data: Array<number>(8).fill(7) },
      { code: 3, data: [] },
      { code: 8, data: [0, 2, 40, 0, 0x20, 1, 0xd, 0xb8, 9] },
      { code: 12, data: Array<number>(100).fill(0) },
      { code: 65_001, data: [1, 2, 3] },
    ],
  });
  assert.equal(outcome, "question");
  assert.equal(query.edns.subnet.sourcePrefixLength, 40);
});

test("the OPT of an answer is as long as announced and repeats the subnet with its scope", () => {
  for (const [what, data] of goodSubnets) {
    const { query } = read({ ...ecs(data), udpSize: 4096, flags: 0xffff });
    const out = new Uint8Array(64);
    const end = writeOpt(out, 0, query.edns, 16, 17);
    assert.equal(end, optLength(query.edns), what);
    assert.deepEqual([...out.subarray(0, 5)], [0, 0, 41, 1232 >> 8, 1232 & 0xff], what);
    assert.deepEqual([...out.subarray(5, 9)], [1, 0, 0x80, 0], `${what}: BADVERS, version 0, DO, Z zero`);
    const repeated = [...data];
    repeated[3] = 17;
    assert.deepEqual([...out.subarray(11, end)], [0, 8, 0, data.length, ...repeated], what);
  }
  assert.deepEqual(subnetData("192.0.2.0/24"), [0, 1, 24, 0, 192, 0, 2]);
});
