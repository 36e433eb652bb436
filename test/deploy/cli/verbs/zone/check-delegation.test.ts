/**
 * The check of a delegation, against real responders on loopback:
 *
 *   127.0.0.1   the parent zone example.org, and the resolver that finds it
 *   127.0.0.2   the zone cdn.example.org, on the same port
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { sleep } from "#base/clock.ts";
import { type AskDns, askDns, type DnsReply } from "../../../../../deploy/cli/verbs/zone/ask-dns.ts";
import { type CheckedDelegation, checkDelegation } from "../../../../../deploy/cli/verbs/zone/check-delegation.ts";
import { budgetMs, OutOfTime, withinBudget } from "../../../../../deploy/cli/verbs/zone/query-budget.ts";
import { delegationOf } from "../../../../../deploy/cli/verbs/zone/wanted-delegation.ts";
import { fakeClock } from "../../../../support/fake-clock.ts";
import { testFleet } from "../../../../dns/support/fleet.ts";
import { running } from "../../../../dns/support/sockets.ts";

const childZone = `
zones:
  - name: cdn.example.org
    nameservers:
      - {name: ns1, addresses: [127.0.0.2]}
      - {name: ns2, addresses: [127.0.0.2]}
`;
const child = testFleet({ zones: childZone, steering: "" });
const right = [
  "{name: cdn, type: NS, target: ns1.cdn}",
  "{name: cdn, type: NS, target: ns2.cdn}",
  "{name: ns1.cdn, type: A, address: 127.0.0.2}",
  "{name: ns2.cdn, type: A, address: 127.0.0.2}",
];

async function check(
  t: TestContext,
  parentRecords: readonly string[],
  childAnswers = child,
): Promise<CheckedDelegation> {
  const zones = `
zones:
  - name: example.org
    nameservers: [{name: ns, addresses: [127.0.0.1]}]
    records:
${["{name: other, type: A, address: 192.0.2.9}", ...parentRecords].map((record) => `      - ${record}`).join("\n")}
`;
  const { port } = await running(t, {}, { fleet: testFleet({ zones, steering: "" }) });
  await running(t, { addresses: [{ host: "127.0.0.2", port }] }, { fleet: childAnswers });
  const [zone] = child.zones;
  assert.ok(zone !== undefined);
  return await checkDelegation(delegationOf(zone), { ask: askDns, resolver: { host: "127.0.0.1", port }, port });
}

test("a delegation that is right has no findings", async (t) => {
  assert.deepEqual(await check(t, right), {
    parent: { zone: "example.org", servers: ["ns.example.org"] },
    problem: undefined,
    findings: [],
    unchecked: [],
  });
});

test("a parent without the delegation is reported", async (t) => {
  const { findings } = await check(t, []);
  assert.deepEqual(findings, [{ kind: "missing", text: "the parent has no NS records for cdn.example.org" }]);
});

test("a missing and an extra nameserver, and wrong glue, are each one finding", async (t) => {
  const { findings } = await check(t, [
    "{name: cdn, type: NS, target: ns1.cdn}",
    "{name: cdn, type: NS, target: old.example.net.}",
    "{name: ns1.cdn, type: A, address: 192.0.2.66}",
  ]);
  assert.deepEqual(findings, [
    { kind: "missing", text: "NS ns2.cdn.example.org" },
    { kind: "extra", text: "NS old.example.net is not in the fleet document" },
    { kind: "missing", text: "glue ns1.cdn.example.org 127.0.0.2" },
    { kind: "extra", text: "glue ns1.cdn.example.org 192.0.2.66 is not in the fleet document" },
  ]);
});

test("a nameserver that does not answer for the zone is lame", async (t) => {
  const elsewhere = testFleet({ zones: childZone.replace("cdn.example.org", "else.example.org"), steering: "" });
  const { findings } = await check(t, right, elsewhere);
  assert.deepEqual(findings, [
    {
      kind: "lame",
      text: "ns1.cdn.example.org (127.0.0.2) does not answer for cdn.example.org with authority: it answers REFUSED",
    },
    {
      kind: "lame",
      text: "ns2.cdn.example.org (127.0.0.2) does not answer for cdn.example.org with authority: it answers REFUSED",
    },
  ]);
});

test("a DS record at the parent is reported, since the zone is not signed", async (t) => {
  const digest = "d4b7d520e7bb5f0f67674a0cceb1e3e0614b93c4f9e99b8383f6a1e4469da50a";
  const ds = `{name: cdn, type: DS, keyTag: 1, algorithm: 13, digestType: 2, digest: ${digest}}`;
  const { findings } = await check(t, [...right, ds]);
  assert.deepEqual(
    findings.map(({ kind }) => kind),
    ["signed"],
  );
});

test("without a resolver the parent is not checked, and the reason is given", async () => {
  const [zone] = child.zones;
  assert.ok(zone !== undefined);
  const silent = async (): Promise<never> => {
    throw new Error("connection refused");
  };
  const resolver = { host: "127.0.0.1", port: 1 };
  const checked = await checkDelegation(delegationOf(zone), { ask: silent, resolver, port: 1 });
  assert.equal(checked.parent, undefined);
  assert.equal(checked.problem, "the resolver 127.0.0.1 port 1 does not answer: connection refused");
  assert.ok(checked.findings.every(({ kind }) => kind === "lame"));
});

/** A network of answers: `SERVER NAME TYPE`, or `NAME TYPE` at the resolver; everything else answers REFUSED. */
type Answers = Record<string, Partial<DnsReply> | Error>;

const refused: DnsReply = {
  rcode: 5,
  isAuthoritative: false,
  nameservers: [],
  addresses: [],
  glue: [],
  answerTypes: [],
  hasDs: false,
};
const noError: Partial<DnsReply> = { rcode: 0 };
const authority: Partial<DnsReply> = { rcode: 0, isAuthoritative: true };
const referral: Partial<DnsReply> = {
  rcode: 0,
  nameservers: ["ns1", "ns2"].map((name) => ({ owner: "cdn.example.org", target: `${name}.cdn.example.org` })),
  glue: ["ns1", "ns2"].map((name) => ({ owner: `${name}.cdn.example.org`, address: "127.0.0.2" })),
};
const well: Answers = {
  "example.org NS": { rcode: 0, nameservers: [{ owner: "example.org", target: "ns.example.org" }] },
  "ns.example.org A": { rcode: 0, addresses: ["127.0.0.1"] },
  "127.0.0.1 cdn.example.org NS": referral,
  "127.0.0.1 cdn.example.org DS": authority,
  "127.0.0.2 cdn.example.org SOA": { ...authority, answerTypes: ["SOA"] },
};

async function checkWith(changes: Answers, zone = child.zones[0]): Promise<CheckedDelegation> {
  const answers = { ...well, ...changes };
  const ask: AskDns = async ({ host }, { name, type, isRecursive }) => {
    const found = answers[isRecursive ? `${name} ${type}` : `${host} ${name} ${type}`];
    if (found instanceof Error) throw found;
    return { ...refused, ...found };
  };
  assert.ok(zone !== undefined);
  return await checkDelegation(delegationOf(zone), { ask, resolver: { host: "127.0.0.53", port: 53 }, port: 53 });
}

test("a resolver or parent that fails is no evidence against the delegation", async () => {
  const cases: [what: string, changes: Answers, problem: RegExp][] = [
    ["the resolver fails", { "example.org NS": { rcode: 2 } }, /answers SERVFAIL for the NS records of example\.org$/],
    ["the parent refuses", { "127.0.0.1 cdn.example.org NS": refused }, /ns\.example\.org \(127\.0\.0\.1\): .*REFUSED/],
    ["the parent is lame", { "127.0.0.1 cdn.example.org NS": noError }, /neither refers to cdn\.example\.org nor/],
    [
      "the parent refers back up",
      { "127.0.0.1 cdn.example.org NS": { rcode: 0, nameservers: [{ owner: "", target: "a.root-servers.net" }] } },
      /neither refers to cdn\.example\.org nor/,
    ],
    ["the parent is silent", { "127.0.0.1 cdn.example.org NS": new Error("no answer") }, /127\.0\.0\.1\): no answer/],
    ["the parent has no address", { "ns.example.org A": noError, "ns.example.org AAAA": noError }, /has no address/],
    ["its address is unknown", { "ns.example.org A": { rcode: 2 } }, /address unknown.*SERVFAIL/],
    ["there is no time left", { "example.org NS": new OutOfTime() }, /^the check took longer than/],
  ];
  for (const [what, changes, problem] of cases) {
    const checked = await checkWith(changes);
    assert.match(checked.problem ?? "", problem, what);
    assert.deepEqual([checked.parent, checked.findings], [undefined, []], what);
  }
});

test("other nameservers of the parent are asked when the first ones are silent", async () => {
  const names = Array.from({ length: 13 }, (_none, index) => `ns${index}.example.org`);
  const checked = await checkWith({
    "example.org NS": { rcode: 0, nameservers: names.map((target) => ({ owner: "example.org", target })) },
    ...Object.fromEntries(names.map((name) => [`${name} A`, { rcode: 0, addresses: ["127.0.0.9"] }])),
    "127.0.0.9 cdn.example.org NS": new Error("no answer"),
    "ns12.example.org A": { rcode: 0, addresses: ["127.0.0.1"] },
  });
  assert.deepEqual(checked.parent, { zone: "example.org", servers: ["ns12.example.org"] });
  assert.deepEqual(checked.findings, []);
});

test("of endless nameservers of the parent, thirteen are asked", async () => {
  const names = Array.from({ length: 10_000 }, (_none, index) => `ns${index}.example.org`);
  const { problem } = await checkWith({
    "example.org NS": { rcode: 0, nameservers: names.map((target) => ({ owner: "example.org", target })) },
  });
  assert.equal((problem ?? "").split("; ").length, 13);
});

test("a DS record that nobody could ask for leaves the check open", async () => {
  for (const [answer, why] of [
    [new Error("no answer"), "no answer"],
    [refused, "the parent answers REFUSED"],
  ] as const) {
    const { findings, unchecked } = await checkWith({ "127.0.0.1 cdn.example.org DS": answer });
    assert.deepEqual([findings, unchecked], [[], [`whether the parent has a DS record for cdn.example.org: ${why}`]]);
  }
});

test("a CNAME record in place of the delegation is named", async () => {
  const { findings } = await checkWith({ "127.0.0.1 cdn.example.org NS": { ...authority, answerTypes: ["CNAME"] } });
  assert.deepEqual(
    findings.map(({ text }) => text),
    ["the parent has no NS records for cdn.example.org: it has a CNAME record there"],
  );
});

test("where this machine reaches none of the nameservers, the check is left open", async () => {
  const unreachable = Object.assign(new Error("send ENETUNREACH"), { code: "ENETUNREACH" });
  const { findings, unchecked } = await checkWith({ "127.0.0.2 cdn.example.org SOA": unreachable });
  assert.deepEqual(findings, []);
  assert.match(unchecked.join(), /ns1\.cdn\.example\.org \(127\.0\.0\.2\): this machine has no route to it/);
});

test("a nameserver that could not be checked leaves the check open, although another one is right", async () => {
  const [zone] = testFleet({
    zones: `zones:
  - name: cdn.example.org
    nameservers: [{name: ns1, addresses: [127.0.0.2]}, {name: ns.example.net.}]`,
    steering: "",
  }).zones;
  const changes: Answers = {
    "127.0.0.1 cdn.example.org NS": {
      rcode: 0,
      nameservers: ["ns1.cdn.example.org", "ns.example.net"].map((target) => ({ owner: "cdn.example.org", target })),
      glue: [{ owner: "ns1.cdn.example.org", address: "127.0.0.2" }],
    },
    "ns.example.net A": { rcode: 2 },
  };
  const { findings, unchecked } = await checkWith(changes, zone);
  assert.deepEqual(findings, []);
  assert.match(unchecked.join(), /^ns\.example\.net: the resolver answers SERVFAIL/);
});

test("a nameserver outside the zone whose address is unknown, for lack of a resolver, is not called lame", async () => {
  const [zone] = testFleet({
    zones: "zones: [{name: cdn.example.org, nameservers: [{name: ns.example.net.}]}]",
    steering: "",
  }).zones;
  const changes: Answers = {
    "127.0.0.1 cdn.example.org NS": {
      rcode: 0,
      nameservers: [{ owner: "cdn.example.org", target: "ns.example.net" }],
    },
  };
  const failing = await checkWith({ ...changes, "ns.example.net A": { rcode: 2 } }, zone);
  assert.deepEqual(failing.findings, []);
  assert.match(failing.unchecked.join(), /^ns\.example\.net: the resolver answers SERVFAIL/);
  const absent = await checkWith(
    { ...changes, "ns.example.net A": { rcode: 3 }, "ns.example.net AAAA": noError },
    zone,
  );
  assert.deepEqual(absent.findings, [{ kind: "lame", text: "ns.example.net has no address" }]);
});

test("a thousand queries go out a few at a time, and none begins after the time is up", async () => {
  const clock = fakeClock();
  let open = 0;
  let openMost = 0;
  const ask = withinBudget(async () => {
    openMost = Math.max(openMost, ++open);
    await sleep(clock, 3500);
    open -= 1;
    return refused;
  }, clock);
  const question = { name: "example.org", type: "NS", isRecursive: false } as const;
  const asked = Promise.allSettled(
    Array.from({ length: 2000 }, async () => await ask({ host: "127.0.0.1", port: 53 }, question)),
  );
  for (let passedMs = 0; passedMs < budgetMs + 3500; passedMs += 500) {
    clock.advance(500);
    await new Promise(setImmediate);
  }
  const outcomes = await asked;
  const late = outcomes.filter(({ status }) => status === "rejected");
  assert.equal(openMost, 64);
  assert.ok(late.length > 500 && late.length < 1500, `${late.length} of 2000 were not sent`);
  assert.ok(late.every((one) => one.status === "rejected" && one.reason instanceof OutOfTime));
});
