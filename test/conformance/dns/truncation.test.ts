/** RFC 1035 §4.2.1, RFC 2181 §9, RFC 6891 §6.2.5 and §7, RFC 9471: answers that do not fit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bench, testFleet, zoneText } from "../../dns/support/fleet.ts";

const texts = (name: string, count: number): string =>
  Array.from(
    { length: count },
    (_, i) => `      - {name: ${name}, type: TXT, text: ["${String(i).padStart(3, "0").padEnd(100, "x")}"]}`,
  ).join("\n");

/** A delegation of `child` to so many nameservers, each with its glue. */
const delegations = (prefix: string, count: number): string =>
  Array.from({ length: count }, (_, i) => {
    const server = `${prefix}${i}.child`;
    return [
      `      - {name: child, type: NS, target: ${server}}`,
      `      - {name: ${server}, type: AAAA, address: "2001:db8::${i}"}`,
    ].join("\n");
  }).join("\n");

const fleet = testFleet({
  zones: `
zones:
  - name: cdn.test
    nameservers: [{name: ns1, addresses: [192.0.2.1]}]
    records:
${texts("t4", 4)}
${texts("t10", 10)}
${texts("t12", 12)}
${texts("t500", 500)}
${delegations("ns", 60)}
`,
  steering: "",
});
const { ask, stats } = bench({ fleet });

// One record is pointer 2 + 10 + 1 + 100 = 113 octets, the rest 12 + 17 or 18, the OPT record 11.
const cases: readonly (readonly [name: string, announced: number | null, fits: boolean])[] = [
  ["t4", null, true],
  ["t10", null, false],
  ["t10", 511, false],
  ["t4", 0, true],
  ["t10", 1232, true],
  ["t10", 1100, false],
  ["t12", 1232, false],
  ["t12", 4096, false],
  ["t12", 65_535, false],
];

test("over UDP an answer has at most min(announced, 1232) octets, 512 without EDNS, else TC and no records", () => {
  for (const [name, announced, fits] of cases) {
    const where = `${name} announced ${announced}`;
    const before = stats().truncated;
    const answer = ask({
      name: `${name}.cdn.test`,
      type: "TXT",
      ...(announced === null ? {} : { edns: { udpSize: announced } }),
    });
    const limit = Math.min(Math.max(announced ?? 0, 512), 1232);
    assert.ok(answer.length <= limit, where);
    assert.equal(answer.flags, fits ? "qr aa" : "qr aa tc", where);
    assert.equal(answer.answers.length, fits ? Number(name.slice(1)) : 0, where);
    assert.equal(answer.opt === null, announced === null, `${where}: the OPT record survives`);
    assert.deepEqual(answer.questions.length, 1, where);
    assert.equal(stats().truncated, before + (fits ? 0 : 1), where);
  }
});

test("the client subnet survives truncation", () => {
  const { flags, subnet } = ask({ name: "t500.cdn.test", type: "TXT", subnet: "192.0.2.0/24" });
  assert.deepEqual([flags, subnet], ["qr aa tc", "192.0.2.0/24/0"]);
});

test("over TCP the same answers are whole", () => {
  for (const [name, count] of [
    ["t10", 10],
    ["t12", 12],
    ["t500", 500],
  ] as const) {
    const { flags, answers } = ask({ name: `${name}.cdn.test`, type: "TXT" }, { transport: "tcp" });
    assert.deepEqual([flags, answers.length], ["qr aa", count]);
  }
});

test("a referral whose glue does not fit is truncated (RFC 9471 §3.1)", () => {
  const cut = ask({ name: "x.child.cdn.test", edns: {} });
  assert.deepEqual([cut.flags, cut.authorities.length], ["qr tc", 0]);
  const whole = ask({ name: "x.child.cdn.test", edns: {} }, { transport: "tcp" });
  assert.deepEqual([whole.flags, whole.authorities.length, whole.additionals.length], ["qr", 60, 60]);
});

test("what fits into no message is SERVFAIL over TCP, not a part of it", () => {
  const huge = testFleet({ zones: zoneText(delegations("nameserver-", 2000)), steering: "" });
  const { rcode, flags, authorities, opt, subnet } = bench({ fleet: huge }).ask(
    { name: "x.child.cdn.test", subnet: "192.0.2.0/24" },
    { transport: "tcp" },
  );
  assert.deepEqual([rcode, flags, authorities.length, opt?.version, subnet], [2, "qr", 0, 0, "192.0.2.0/24/0"]);
});
