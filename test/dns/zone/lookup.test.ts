/** The zone of support/fleet.ts, asked through the responder; expected records as `dns-packet` reads them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Asking } from "../support/ask.ts";
import { bench } from "../support/fleet.ts";

const { ask } = bench();
const soa = "cdn.test 60 SOA ns1.cdn.test dns\\.admin.example.net 7 7200 3600 1209600 60";

interface Expected {
  readonly rcode?: number;
  readonly flags?: string;
  readonly answers?: readonly string[];
  readonly authorities?: readonly string[];
  readonly additionals?: readonly string[];
}

function expectAll(cases: readonly (readonly [string, Asking, Expected])[]): void {
  for (const [what, asking, expected] of cases) {
    const got = ask(asking);
    const { rcode = 0, flags = "qr aa", answers = [], authorities = [], additionals = [] } = expected;
    assert.deepEqual(
      {
        rcode: got.rcode,
        flags: got.flags,
        answers: got.answers,
        authorities: got.authorities,
        additionals: got.additionals,
      },
      { rcode, flags, answers, authorities, additionals },
      what,
    );
  }
}

test("records of every type are answered as they stand in the fleet document", () => {
  const apex = "cdn.test";
  expectAll([
    [
      "SOA",
      { name: apex, type: "SOA" },
      { answers: [soa.replace(" 60 SOA", " 300 SOA").replace("dns\\.admin", "dns\\.admin")] },
    ],
    ["NS", { name: apex, type: "NS" }, { answers: ["cdn.test 300 NS ns1.cdn.test", "cdn.test 300 NS ns.example.net"] }],
    ["TXT", { name: apex, type: "TXT" }, { answers: [`cdn.test 300 TXT "hello world" "second string"`] }],
    ["MX", { name: apex, type: "MX" }, { answers: ["cdn.test 300 MX 10 mail.cdn.test"] }],
    ["CAA", { name: apex, type: "CAA" }, { answers: ["cdn.test 300 CAA 0 issue ca.example.net false"] }],
    [
      "A, equal records once",
      { name: "mail.cdn.test" },
      { answers: ["mail.cdn.test 600 A 192.0.2.25", "mail.cdn.test 600 A 192.0.2.26"] },
    ],
    ["AAAA", { name: "mail.cdn.test", type: "AAAA" }, { answers: ["mail.cdn.test 300 AAAA 2001:db8::25"] }],
    [
      "SRV",
      { name: "_http._tcp.cdn.test", type: "SRV" },
      { answers: ["_http._tcp.cdn.test 300 SRV 1 2 443 www.cdn.test"] },
    ],
    [
      "addresses of a nameserver",
      { name: "ns1.cdn.test", type: "AAAA" },
      { answers: ["ns1.cdn.test 300 AAAA 2001:db8::1"] },
    ],
    [
      "another type beside a steered address",
      { name: "img.cdn.test", type: "TXT" },
      { answers: [`img.cdn.test 300 TXT "steered names keep other records"`] },
    ],
  ]);
});

test("names that are not there are NXDOMAIN with the SOA, at its negative TTL", () => {
  expectAll([
    ["a leaf", { name: "nope.cdn.test" }, { rcode: 3, authorities: [soa] }],
    ["below a leaf", { name: "x.mail.cdn.test" }, { rcode: 3, authorities: [soa] }],
    ["any type", { name: "nope.cdn.test", type: 65_280 }, { rcode: 3, authorities: [soa] }],
  ]);
});

test("types that are not there are NODATA with the SOA", () => {
  expectAll([
    ["a known type", { name: "mail.cdn.test", type: "TXT" }, { authorities: [soa] }],
    ["an unknown type", { name: "mail.cdn.test", type: 65_280 }, { authorities: [soa] }],
    ["type 0", { name: "mail.cdn.test", type: 0 }, { authorities: [soa] }],
    ["HTTPS of a steered name", { name: "img.cdn.test", type: "HTTPS" }, { authorities: [soa] }],
    ["DS at the apex", { name: "cdn.test", type: "DS" }, { authorities: [soa] }],
  ]);
});

test("a name that only lies between others exists (RFC 4592 §2.2.2)", () => {
  expectAll([
    ["one label up", { name: "b.deep.cdn.test" }, { authorities: [soa] }],
    ["two labels up", { name: "deep.cdn.test" }, { authorities: [soa] }],
    ["ANY", { name: "deep.cdn.test", type: "ANY" }, { authorities: [soa] }],
    ["beside it", { name: "c.deep.cdn.test" }, { rcode: 3, authorities: [soa] }],
  ]);
});

test("a wildcard stands for what is not there, and never below what is (RFC 4592 §3.3)", () => {
  expectAll([
    ["one label", { name: "x.wild.cdn.test" }, { answers: ["x.wild.cdn.test 300 A 192.0.2.50"] }],
    ["three labels", { name: "x.y.z.wild.cdn.test" }, { answers: ["x.y.z.wild.cdn.test 300 A 192.0.2.50"] }],
    [
      "another type of it",
      { name: "x.wild.cdn.test", type: "TXT" },
      { answers: [`x.wild.cdn.test 300 TXT "by wildcard"`] },
    ],
    ["a type that it lacks", { name: "x.wild.cdn.test", type: "MX" }, { authorities: [soa] }],
    ["its own name", { name: "*.wild.cdn.test" }, { answers: ["*.wild.cdn.test 300 A 192.0.2.50"] }],
    ["its parent", { name: "wild.cdn.test" }, { authorities: [soa] }],
    ["a name that is there", { name: "exists.wild.cdn.test" }, { authorities: [soa] }],
    ["below a name that is there", { name: "x.exists.wild.cdn.test" }, { rcode: 3, authorities: [soa] }],
    ["an empty non-terminal", { name: "ent.wild.cdn.test" }, { authorities: [soa] }],
    ["below an empty non-terminal", { name: "x.ent.wild.cdn.test" }, { rcode: 3, authorities: [soa] }],
    [
      "an alias by wildcard",
      { name: "x.wildalias.cdn.test" },
      {
        answers: [
          "x.wildalias.cdn.test 300 CNAME mail.cdn.test",
          "mail.cdn.test 600 A 192.0.2.25",
          "mail.cdn.test 600 A 192.0.2.26",
        ],
      },
    ],
  ]);
});

test("aliases are followed inside the zone", () => {
  expectAll([
    [
      "to a steered name",
      { name: "alias.cdn.test" },
      {
        answers: [
          "alias.cdn.test 300 CNAME www.cdn.test",
          "www.cdn.test 300 CNAME img.cdn.test",
          "img.cdn.test 30 A 127.0.1.1",
        ],
      },
    ],
    [
      "the alias itself",
      { name: "alias.cdn.test", type: "CNAME" },
      { answers: ["alias.cdn.test 300 CNAME www.cdn.test"] },
    ],
    ["ANY", { name: "alias.cdn.test", type: "ANY" }, { answers: ["alias.cdn.test 300 CNAME www.cdn.test"] }],
    ["out of the zone", { name: "away.cdn.test" }, { answers: ["away.cdn.test 300 CNAME www.example.net"] }],
    [
      "to the apex",
      { name: "to-apex.cdn.test", type: "TXT" },
      { answers: ["to-apex.cdn.test 300 CNAME cdn.test", `cdn.test 300 TXT "hello world" "second string"`] },
    ],
    [
      "to a type that is not there",
      { name: "alias.cdn.test", type: "MX" },
      { answers: ["alias.cdn.test 300 CNAME www.cdn.test", "www.cdn.test 300 CNAME img.cdn.test"], authorities: [soa] },
    ],
    [
      "to a name that is not there (RFC 6604 §3)",
      { name: "dangling.cdn.test" },
      { rcode: 3, answers: ["dangling.cdn.test 300 CNAME nothing-here.cdn.test"], authorities: [soa] },
    ],
  ]);
});

test("a loop of aliases ends", () => {
  const { rcode, answers } = ask({ name: "loop1.cdn.test", edns: {} });
  assert.equal(rcode, 0);
  assert.equal(answers.length, 12);
});

test("at and below a delegation there is a referral with glue, without AA", () => {
  const authorities = [
    "child.cdn.test 300 NS ns.child.cdn.test",
    "child.cdn.test 300 NS ns1.cdn.test",
    "child.cdn.test 300 NS ns.example.org",
  ];
  const additionals = [
    "ns.child.cdn.test 300 A 192.0.2.60",
    "ns.child.cdn.test 300 AAAA 2001:db8::60",
    "ns1.cdn.test 300 A 192.0.2.1",
    "ns1.cdn.test 300 AAAA 2001:db8::1",
  ];
  expectAll([
    ["at the cut", { name: "child.cdn.test" }, { flags: "qr", authorities, additionals }],
    ["its NS", { name: "child.cdn.test", type: "NS" }, { flags: "qr", authorities, additionals }],
    ["deep below", { name: "a.b.c.child.cdn.test", type: "TXT" }, { flags: "qr", authorities, additionals }],
    [
      "a name that is there but hidden by the cut",
      { name: "hidden.child.cdn.test" },
      { flags: "qr", authorities, additionals },
    ],
    ["ANY", { name: "child.cdn.test", type: "ANY" }, { flags: "qr", authorities, additionals }],
    ["DS at the cut is ours (RFC 4035 §3.1.4.1)", { name: "child.cdn.test", type: "DS" }, { authorities: [soa] }],
    ["DS below the cut is not", { name: "x.child.cdn.test", type: "DS" }, { flags: "qr", authorities, additionals }],
    [
      "through an alias",
      { name: "into-child.cdn.test" },
      { answers: ["into-child.cdn.test 300 CNAME host.child.cdn.test"], authorities, additionals },
    ],
  ]);
});

test("of two zones the longer answers; only DS at its apex belongs to the other", () => {
  const innerSoa = "inner.cdn.test 60 SOA ns1.cdn.test hostmaster.inner.cdn.test 7 7200 3600 1209600 60";
  expectAll([
    ["its apex", { name: "inner.cdn.test" }, { answers: ["inner.cdn.test 300 A 192.0.2.70"] }],
    ["below it", { name: "x.inner.cdn.test" }, { rcode: 3, authorities: [innerSoa] }],
    ["DS at its apex", { name: "inner.cdn.test", type: "DS" }, { authorities: [soa] }],
  ]);
});

test("outside all zones is REFUSED", () => {
  for (const name of ["example.net", "test", "", "mycdn.test", "cdn.test.example.net"]) {
    assert.deepEqual([ask({ name }).rcode, ask({ name }).flags], [5, "qr"], name);
  }
});

test("the spelling of the question is kept, and records repeat it (0x20)", () => {
  const { questions, answers } = ask({ name: "ExIsTs.WILD.cdn.TEST", type: "TXT" });
  assert.deepEqual(questions, ["ExIsTs.WILD.cdn.TEST TXT"]);
  assert.deepEqual(answers, [`ExIsTs.WILD.cdn.TEST 300 TXT "here"`]);
});
