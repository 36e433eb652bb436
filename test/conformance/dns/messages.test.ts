/**
 * What the RFCs demand of the messages of an authoritative server, as a table: section, claim, query, what the answer
 * must be. Each row runs over the responder without sockets, once as UDP and once as TCP.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nameBytes, optBytes, queryOf, readAnswer, u16, type Asking, type Reading } from "../../dns/support/ask.ts";
import { bench } from "../../dns/support/fleet.ts";

const { send } = bench({
  cookieSecrets: [Uint8Array.from({ length: 16 }, (_, index) => index)],
  identity: { nsid: Buffer.from("fra1"), id: "fra1" },
});

type Check = (answer: Reading, query: Uint8Array) => void;
type Row = readonly [section: string, claim: string, query: Asking | Uint8Array, check: Check | "silence"];

const rcode =
  (code: number, flags?: string): Check =>
  (answer) => {
    assert.equal(answer.rcode, code);
    if (flags !== undefined) assert.equal(answer.flags, flags);
  };

const isBare: Check = (answer) => {
  const { questions, answers, authorities, additionals } = answer;
  assert.deepEqual(
    { questions, answers, authorities, additionals },
    { questions: [], answers: [], authorities: [], additionals: [] },
  );
};

/** All of the checks. */
const all =
  (...checks: readonly Check[]): Check =>
  (answer, query) => {
    for (const check of checks) check(answer, query);
  };

const hasOpt: Check = ({ opt }) => {
  assert.deepEqual(opt && { udpSize: opt.udpSize, version: opt.version }, { udpSize: 1232, version: 0 });
};
const hasNoOpt: Check = ({ opt }) => {
  assert.equal(opt, null);
};
const hasSubnet =
  (expected: string): Check =>
  ({ subnet }) => {
    assert.equal(subnet, expected);
  };
const hasScope =
  (least: number, most: number): Check =>
  ({ subnet }) => {
    const scope = Number(subnet?.split("/")[2]);
    assert.ok(scope >= least && scope <= most, subnet ?? "no subnet");
  };
const hasOption =
  (code: number, octets: number): Check =>
  ({ options }) => {
    assert.equal(options.get(code)?.length, octets);
  };
const lacksOption =
  (code: number): Check =>
  ({ options }) => {
    assert.ok(!options.has(code));
  };
const hasExtendedError =
  (code: number | null): Check =>
  ({ extendedError }) => {
    assert.equal(extendedError, code);
  };
const hasNoRecords: Check = ({ answers, authorities, additionals }) => {
  assert.deepEqual([answers, authorities, additionals], [[], [], []]);
};

const header = (flags: number, ...counts: readonly number[]): number[] => [
  0xab,
  0xcd,
  ...u16(flags),
  ...counts.flatMap(u16),
];
const question = [...nameBytes("img.cdn.test"), 0, 1, 0, 1];
const raw = (...parts: readonly (readonly number[])[]): Uint8Array => Uint8Array.from(parts.flat());
const malformedSubnet = { edns: { options: [{ code: 8, data: [0, 3, 24, 0, 192, 0, 2] }] } };
const mail = "mail.cdn.test";
const cookie = [1, 2, 3, 4, 5, 6, 7, 8];
const subnet = "192.0.2.0/24";

const rows: readonly Row[] = [
  // RFC 1035: the basic message
  [
    "RFC 1035 §4.1.1",
    "the id is repeated",
    { id: 0xbeef },
    (answer) => {
      assert.equal(answer.id, 0xbeef);
    },
  ],
  ["RFC 1035 §4.1.1", "RD is repeated, RA is not set", { name: mail, flags: 0x0100 }, rcode(0, "qr aa rd")],
  ["RFC 1035 §4.1.1", "a response is never answered", { flags: 0x8000 }, "silence"],
  [
    "RFC 1035 §4.1.1",
    "AA, TC, RA, AD and Z of a query mean nothing and are not repeated",
    { name: mail, flags: 0x06e0 },
    rcode(0, "qr aa"),
  ],
  ["RFC 1035 §4.1.1", "less than a header is never answered", raw([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), "silence"],
  [
    "RFC 1035 §4.1.1",
    "what can't be read is FORMERR, header only",
    raw(header(0, 1, 0, 0, 0), [5, 0x61]),
    all(rcode(1, "qr"), isBare),
  ],
  [
    "RFC 1035 §4.1.1",
    "a compression loop is FORMERR",
    raw(header(0, 1, 0, 0, 0), [0xc0, 12, 0, 1, 0, 1]),
    all(rcode(1, "qr"), isBare),
  ],
  [
    "RFC 1035 §4.1.1",
    "an empty label in a name is FORMERR",
    raw(header(0, 1, 0, 0, 0), [1, 0x61, 0, 1, 0x62, 0, 0, 1, 0, 1]),
    rcode(1, "qr"),
  ],
  [
    "RFC 1035 §4.3.4",
    "inverse queries are NOTIMP",
    raw(header(0x0800, 0, 1, 0, 0), question),
    all(rcode(4, "qr"), isBare),
  ],
  ["RFC 1035 §3.2.4", "a class that is not served is REFUSED", { class: 3 }, all(rcode(5, "qr"), hasNoRecords)],
  ["RFC 1035 §3.2.5", "class ANY is REFUSED", { class: 255 }, rcode(5, "qr")],
  [
    "RFC 1034 §4.3.2",
    "a name outside the zones is REFUSED",
    { name: "example.net" },
    all(rcode(5, "qr"), hasNoRecords),
  ],
  ["RFC 1035 §3.2.3", "MAILA is NOTIMP", { name: mail, type: "MAILA" }, rcode(4, "qr")],
  ["RFC 5936 §2.2", "AXFR is REFUSED", { name: "cdn.test", type: "AXFR" }, all(rcode(5, "qr"), hasNoRecords)],
  ["RFC 1995 §2", "IXFR is REFUSED", { name: "cdn.test", type: "IXFR" }, all(rcode(5, "qr"), hasNoRecords)],
  ["RFC 8945 §4.2", "TSIG as a question is FORMERR", { name: mail, type: "TSIG" }, rcode(1, "qr")],
  ["RFC 6891 §6.1.1", "OPT as a question is FORMERR", { name: mail, type: "OPT" }, rcode(1, "qr")],

  // RFC 8482: minimal ANY
  [
    "RFC 8482 §4.2",
    "ANY is answered by one synthesised HINFO",
    { name: "cdn.test", type: "ANY" },
    (answer) => {
      assert.deepEqual(answer.answers, ["cdn.test 300 HINFO RFC8482 "]);
    },
  ],
  [
    "RFC 8482 §4.1",
    "ANY of an alias is the alias",
    { name: "away.cdn.test", type: "ANY" },
    (answer) => {
      assert.deepEqual(answer.answers, ["away.cdn.test 300 CNAME www.example.net"]);
    },
  ],
  [
    "RFC 8482 §4.2",
    "ANY of a steered name does not choose a site",
    { type: "ANY", subnet },
    all(hasSubnet("192.0.2.0/24/0"), (answer) => {
      assert.equal(answer.answers.length, 1);
    }),
  ],

  // RFC 2308: negative answers
  [
    "RFC 2308 §2.1",
    "NXDOMAIN carries the SOA",
    { name: "nope.cdn.test" },
    all(rcode(3, "qr aa"), (answer) => {
      assert.match(answer.authorities.join(), /^cdn\.test 60 SOA /);
    }),
  ],
  [
    "RFC 2308 §2.2",
    "NODATA carries the SOA",
    { name: mail, type: "TXT" },
    all(rcode(0, "qr aa"), (answer) => {
      assert.match(answer.authorities.join(), /^cdn\.test 60 SOA /);
    }),
  ],
  [
    "RFC 2308 §5",
    "the SOA's TTL is the lesser of its own (300) and MINIMUM (60) there",
    { name: mail, type: "TXT" },
    (answer) => {
      assert.equal(answer.authorities[0]?.split(" ")[1], "60");
    },
  ],
  [
    "RFC 2308 §5",
    "… and its own when it is asked for",
    { name: "cdn.test", type: "SOA" },
    (answer) => {
      assert.equal(answer.answers[0]?.split(" ")[1], "300");
    },
  ],

  // RFC 3225, RFC 4035: DNSSEC is not there, and said so
  [
    "RFC 3225 §3",
    "DO is repeated",
    { name: mail, edns: { flags: 0x8000 } },
    (answer) => {
      assert.equal(answer.opt?.flags, 0x8000);
    },
  ],
  [
    "RFC 3225 §3",
    "no DO in, none out",
    { name: mail, edns: {} },
    (answer) => {
      assert.equal(answer.opt?.flags, 0);
    },
  ],
  [
    "RFC 4035 §3.1.6",
    "CD is repeated, AD is not set",
    { name: mail, flags: 0x0030, edns: { flags: 0x8000 } },
    rcode(0, "qr aa cd"),
  ],
  [
    "RFC 4035 §3.1",
    "DNSKEY of an unsigned zone is NODATA",
    { name: "cdn.test", type: 48, edns: { flags: 0x8000 } },
    all(rcode(0, "qr aa"), (answer) => {
      assert.equal(answer.answers.length, 0);
    }),
  ],

  // RFC 6891: EDNS
  ["RFC 6891 §7", "no OPT in, none out", { name: mail }, hasNoOpt],
  ["RFC 6891 §6.1.1", "OPT in, OPT out", { name: mail, edns: {} }, hasOpt],
  ["RFC 6891 §6.1.1", "… in NXDOMAIN", { name: "nope.cdn.test", edns: {} }, all(rcode(3), hasOpt)],
  ["RFC 6891 §6.1.1", "… in REFUSED", { name: "example.net", edns: {} }, all(rcode(5), hasOpt)],
  ["RFC 6891 §6.1.1", "… in a referral", { name: "x.child.cdn.test", edns: {} }, all(rcode(0, "qr"), hasOpt)],
  ["RFC 6891 §6.1.1", "… in FORMERR for a malformed option", malformedSubnet, all(rcode(1, "qr"), hasOpt)],
  [
    "RFC 6891 §6.1.1",
    "… in FORMERR for two questions",
    raw(header(0, 2, 0, 0, 1), question, question, optBytes({})),
    all(rcode(1, "qr"), hasOpt),
  ],
  [
    "RFC 6891 §6.1.1",
    "more than one OPT is FORMERR, with one OPT",
    raw(header(0, 1, 0, 0, 2), question, optBytes({}), optBytes({})),
    all(rcode(1, "qr"), hasOpt),
  ],
  [
    "RFC 6891 §6.1.3",
    "another version is BADVERS with version 0 and no records",
    { edns: { version: 1 } },
    all(rcode(16, "qr"), hasOpt, hasNoRecords),
  ],
  [
    "RFC 6891 §6.1.3",
    "BADVERS comes before FORMERR for options of that version",
    { edns: { version: 1, options: [{ code: 8, data: [1] }] } },
    all(rcode(16, "qr"), hasOpt),
  ],
  [
    "RFC 6891 §6.1.4",
    "Z bits are zero in answers",
    { name: mail, edns: { flags: 0x7fff } },
    (answer) => {
      assert.equal(answer.opt?.flags, 0);
    },
  ],
  [
    "RFC 6891 §6.1.2",
    "unknown options are ignored and not repeated",
    { name: mail, edns: { options: [{ code: 100, data: [1, 2] }] } },
    all(rcode(0, "qr aa"), (answer) => {
      assert.deepEqual(answer.opt?.options, []);
    }),
  ],
  [
    "RFC 7873 §5.2.2",
    "a cookie of impossible length is FORMERR",
    { name: mail, edns: { options: [{ code: 10, data: [1, 2, 3] }] } },
    all(rcode(1, "qr"), hasOpt),
  ],
  [
    "RFC 7873 §5.2.3",
    "a client cookie is repeated with a server cookie of 16 octets (RFC 9018 §4)",
    { name: mail, edns: { options: [{ code: 10, data: cookie }] } },
    all(rcode(0, "qr aa"), hasOption(10, 24), ({ options }) => {
      assert.deepEqual([...(options.get(10) ?? [])].slice(0, 8), cookie);
    }),
  ],
  [
    "RFC 7873 §5.2.4",
    "a wrong server cookie gets the answer and a right one",
    { name: mail, edns: { options: [{ code: 10, data: [...cookie, ...cookie, ...cookie] }] } },
    all(rcode(0, "qr aa"), hasOption(10, 24)),
  ],
  ["RFC 7873 §5.2.1", "not asked, not said", { name: mail, edns: {} }, lacksOption(10)],
  [
    "RFC 7873 §5.2.3",
    "… also in NXDOMAIN, REFUSED and BADVERS",
    { name: "example.net", edns: { options: [{ code: 10, data: cookie }] } },
    all(rcode(5, "qr"), hasOption(10, 24)),
  ],
  [
    "RFC 7873 §5.4",
    "no question but a cookie is NOERROR with a cookie",
    raw(header(0, 0, 0, 0, 1), optBytes({ options: [{ code: 10, data: cookie }] })),
    all(rcode(0, "qr"), hasNoRecords, hasOption(10, 24), ({ questions }) => {
      assert.deepEqual(questions, []);
    }),
  ],
  [
    "RFC 5001 §2.2",
    "NSID when it is asked for",
    { name: mail, edns: { options: [{ code: 3, data: [] }] } },
    hasOption(3, 4),
  ],
  ["RFC 5001 §2.2", "… and only then", { name: mail, edns: {} }, lacksOption(3)],
  [
    "RFC 8914 §4.21",
    "REFUSED for a name that is not ours is Not Authoritative",
    { name: "example.net", edns: {} },
    hasExtendedError(20),
  ],
  [
    "RFC 8914 §4.19",
    "REFUSED for a transfer is Prohibited",
    { name: "cdn.test", type: "AXFR", edns: {} },
    hasExtendedError(18),
  ],
  ["RFC 8914 §4.22", "NOTIMP is Not Supported", { name: mail, type: "MAILA", edns: {} }, hasExtendedError(21)],
  ["RFC 8914 §3", "an answer without fault has none", { name: mail, edns: {} }, hasExtendedError(null)],
  [
    "RFC 4892 §4",
    "ID.SERVER in class CH",
    { name: "id.server", type: "TXT", class: 3 },
    all(rcode(0, "qr aa"), ({ answers }) => {
      assert.deepEqual(answers, ['id.server 0 TXT "fra1"']);
    }),
  ],
  [
    "RFC 4892 §4",
    "… REFUSED where the operator does not tell",
    { name: "version.bind", type: "TXT", class: 3 },
    rcode(5, "qr"),
  ],
  [
    "RFC 7830 §3",
    "padding is ignored",
    { name: mail, edns: { options: [{ code: 12, data: Array<number>(128).fill(0) }] } },
    rcode(0, "qr aa"),
  ],

  // RFC 7871: client subnet
  [
    "RFC 7871 §7.2.1",
    "not asked, not said",
    { edns: {} },
    (answer) => {
      assert.equal(answer.subnet, null);
    },
  ],
  ["RFC 7871 §7.2.1", "repeated in an answer", { subnet }, hasSubnet("192.0.2.0/24/0")],
  ["RFC 7871 §7.2.1", "repeated in NODATA, scope 0", { name: mail, type: "TXT", subnet }, hasSubnet("192.0.2.0/24/0")],
  [
    "RFC 7871 §7.2.1",
    "repeated in NXDOMAIN, scope 0",
    { name: "nope.cdn.test", subnet },
    all(rcode(3), hasSubnet("192.0.2.0/24/0")),
  ],
  ["RFC 7871 §7.2.1", "repeated in a referral", { name: "x.child.cdn.test", subnet }, hasSubnet("192.0.2.0/24/0")],
  [
    "RFC 7871 §7.2.1",
    "repeated in REFUSED",
    { name: "example.net", subnet },
    all(rcode(5), hasSubnet("192.0.2.0/24/0")),
  ],
  [
    "RFC 7871 §7.2.1",
    "repeated with bits to spare",
    { name: mail, subnet: "10.31.128.0/18" },
    hasSubnet("10.31.128.0/18/0"),
  ],
  [
    "RFC 7871 §7.2.1",
    "repeated for IPv6 of an odd number of octets",
    { name: mail, subnet: "2001:db8:1:100::/56" },
    hasSubnet("2001:db8:1:100::/56/0"),
  ],
  [
    "RFC 7871 §7.2.1",
    "malformed is FORMERR and not repeated",
    malformedSubnet,
    all(rcode(1), (answer) => {
      assert.equal(answer.subnet, null);
    }),
  ],
  [
    "RFC 7871 §7.1.2",
    "a source prefix of 0 has scope 0",
    { name: "weighted.cdn.test", subnet: "0.0.0.0/0" },
    hasSubnet("0.0.0.0/0/0"),
  ],
  [
    "RFC 7871 §7.2.1",
    "the scope may be longer than the source",
    { name: "weighted.cdn.test", subnet: "10.0.0.0/8" },
    hasScope(9, 24),
  ],
  [
    "RFC 7871 §7.2.1",
    "the scope may be shorter than the source",
    { name: "weighted.cdn.test", subnet: "10.1.2.3/32" },
    hasScope(1, 24),
  ],

  // RFC 8906: always answer
  ["RFC 8906 §3.1.1", "unknown types are answered", { name: mail, type: 1000 }, rcode(0, "qr aa")],
  ["RFC 8906 §3.1.2", "TC in a query is ignored", { name: mail, flags: 0x0200 }, rcode(0, "qr aa")],
  [
    "RFC 8906 §3.1.4",
    "unknown opcodes are NOTIMP, header only, flags cleared",
    raw(header(0x7fff & ~0x8000, 1, 0, 0, 0), question),
    all(rcode(4, "qr"), isBare, (answer) => {
      assert.equal(answer.opcode, 15);
    }),
  ],
  [
    "RFC 8906 §3.1.4",
    "… also without anything behind the header",
    raw(header(0x5800, 0, 0, 0, 0)),
    all(rcode(4, "qr"), isBare),
  ],
  [
    "RFC 8906 §3.2.1",
    "EDNS version and option unknown",
    { name: mail, edns: { version: 100, options: [{ code: 100, data: [] }] } },
    all(rcode(16), hasOpt),
  ],

  // RFC 9619: one question
  [
    "RFC 9619 §4",
    "two questions are FORMERR",
    raw(header(0, 2, 0, 0, 0), question, question),
    all(rcode(1, "qr"), isBare),
  ],
  ["RFC 9619 §4", "no question is FORMERR", raw(header(0, 0, 0, 0, 0)), all(rcode(1, "qr"), isBare)],
  [
    "RFC 9619 §4",
    "65,535 announced questions are FORMERR",
    raw(header(0, 65_535, 65_535, 65_535, 65_535)),
    all(rcode(1, "qr"), isBare),
  ],

  // RFC 6895 and others: what stands behind the question does no harm
  [
    "RFC 1035 §4.1",
    "records in a query are stepped over",
    raw(header(0, 1, 1, 0, 0), nameBytes(mail), [0, 1, 0, 1], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]),
    rcode(0, "qr aa"),
  ],
];

for (const transport of ["udp", "tcp"] as const) {
  for (const [section, claim, query, check] of rows) {
    test(`${section}, ${transport}: ${claim}`, () => {
      const bytes = query instanceof Uint8Array ? query : queryOf(query);
      const answer = send(bytes, { transport });
      if (check === "silence") assert.equal(answer.length, 0);
      else check(readAnswer(answer), bytes);
    });
  }
}

test("RFC 6335 §6: nothing is sent to port 0", () => {
  const { send: sendThere, stats } = bench();
  assert.equal(sendThere(queryOf({ name: mail }), { port: 0 }).length, 0);
  assert.equal(stats().outcomes.udp["ignored-port"], 1);
});
