/**
 * The check of a delegation, against real responders on loopback:
 *
 *   127.0.0.1   the parent zone example.org, and the resolver that finds it
 *   127.0.0.2   the zone cdn.example.org, on the same port
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { askDns } from "../../../../../deploy/cli/verbs/zone/ask-dns.ts";
import { type CheckedDelegation, checkDelegation } from "../../../../../deploy/cli/verbs/zone/check-delegation.ts";
import { delegationOf } from "../../../../../deploy/cli/verbs/zone/wanted-delegation.ts";
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
    { kind: "lame", text: "ns1.cdn.example.org (127.0.0.2) does not answer for cdn.example.org with authority" },
    { kind: "lame", text: "ns2.cdn.example.org (127.0.0.2) does not answer for cdn.example.org with authority" },
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
