import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { newStats } from "../../dns/counters.ts";
import { createResponder } from "../../dns/responder.ts";
import { parseIp } from "../../dns/wire/address.ts";
import { queryOf, readAnswer } from "./support/ask.ts";
import { bench, octetGeo, testFleet } from "./support/fleet.ts";

const address = parseIp("127.0.0.1");
assert.ok(address);
const client = { address, port: 40_000, transport: "udp" } as const;

test("until the first snapshot every question is SERVFAIL, and what is malformed is still FORMERR", () => {
  const stats = newStats();
  const respond = createResponder({
    snapshot: () => undefined,
    stats,
    random: seededRandom(1),
    onFailure: assert.fail,
  });
  const out = new Uint8Array(65_535);
  const ask = (query: Buffer): number => readAnswer(out.slice(0, respond(query, client, out))).rcode;
  assert.equal(ask(queryOf({ edns: {} })), 2);
  assert.equal(ask(queryOf({ edns: { options: [{ code: 8, data: [] }] } })), 1);
  assert.deepEqual([stats.outcomes.udp.servfail, stats.outcomes.udp.formerr], [1, 1]);
});

test("a failure inside is a SERVFAIL of the header alone, told once per query, and the next query is answered", () => {
  const { snapshot } = bench();
  const failures: string[] = [];
  let isBroken = true;
  const stats = newStats();
  const respond = createResponder({
    snapshot: () => {
      if (isBroken) throw new Error("broken on purpose");
      return snapshot;
    },
    stats,
    random: seededRandom(1),
    onFailure: (error) => failures.push(error.message),
  });
  const out = new Uint8Array(65_535);
  const query = queryOf({ flags: 0x0100 });
  const broken = readAnswer(out.slice(0, respond(query, client, out)));
  assert.deepEqual([broken.rcode, broken.flags, broken.length], [2, "qr rd", 12]);
  assert.deepEqual([failures, stats.failures], [["broken on purpose"], 1]);
  isBroken = false;
  assert.equal(readAnswer(out.slice(0, respond(query, client, out))).rcode, 0);
});

test("geo is steered by the client subnet, and by the resolver where there is none or it has length 0", () => {
  const { ask } = bench({ geo: octetGeo });
  const from = (text: string) => ({ address: parseIp(text) ?? address });
  const cases: readonly (readonly [string, string | undefined, string, string | null])[] = [
    ["1.0.0.1", "3.3.3.0/24", "127.0.3.1", "3.3.3.0/24/16"],
    ["1.0.0.1", "3.3.0.0/16", "127.0.3.1", "3.3.0.0/16/16"],
    ["1.0.0.1", "3.0.0.0/8", "127.0.3.1", "3.0.0.0/8/16"],
    ["3.0.0.1", undefined, "127.0.3.1", null],
    ["3.0.0.1", "0.0.0.0/0", "127.0.3.1", "0.0.0.0/0/0"],
    ["3.0.0.1", "9.9.9.0/24", "127.0.1.1", "9.9.9.0/24/8"],
  ];
  for (const [resolver, subnet, expected, echoed] of cases) {
    const answer = ask(subnet === undefined ? { edns: {} } : { subnet }, from(resolver));
    assert.deepEqual(answer.answers, [`img.cdn.test 30 A ${expected}`], `${resolver} ${subnet}`);
    assert.equal(answer.subnet, echoed, `${resolver} ${subnet}`);
  }
});

test("a steered name reached through an alias carries the scope as well", () => {
  const { ask } = bench({ geo: octetGeo });
  const { answers, subnet } = ask({ name: "alias.cdn.test", subnet: "3.3.3.0/24" });
  assert.equal(answers.at(-1), "img.cdn.test 30 A 127.0.3.1");
  assert.equal(subnet, "3.3.3.0/24/16");
});

test("each policy answers the addresses of its site, at the TTL of the name", () => {
  const { ask } = bench({ self: "tyo", states: new Map([["nyc", "down"]]) });
  assert.deepEqual(ask({ name: "fixed.cdn.test" }).answers, ["fixed.cdn.test 5 A 127.0.1.1"]);
  assert.deepEqual(ask({ name: "local.cdn.test" }).answers, ["local.cdn.test 30 A 127.0.3.1"]);
  assert.deepEqual(ask({ name: "weighted.cdn.test", subnet: "9.0.0.0/24" }).answers, [
    "weighted.cdn.test 30 A 127.0.1.1",
  ]);
  assert.deepEqual(ask({ name: "any.cdn.test" }).answers, ["any.cdn.test 30 A 203.0.113.7"]);
  assert.deepEqual(ask({ name: "any.cdn.test", type: "AAAA" }).answers, ["any.cdn.test 30 AAAA 2001:db8:ffff::7"]);
});

test("AAAA is NODATA where the best site has no IPv6 address, with the scope of that choice", () => {
  const { ask } = bench({ geo: octetGeo });
  const { rcode, answers, authorities, subnet } = ask({ type: "AAAA", subnet: "2.2.2.0/24" });
  assert.deepEqual([rcode, answers.length, authorities.length, subnet], [0, 0, 1, "2.2.2.0/24/16"]);
  assert.deepEqual(ask({ type: "AAAA", subnet: "3.2.2.0/24" }).answers, ["img.cdn.test 30 AAAA 2001:db8:3::1"]);
});

test("a site that is not up is in no answer; when none is up, all count", () => {
  const down = (...names: string[]) => new Map(names.map((name) => [name, "down"] as const));
  const at = (states: ReadonlyMap<string, "down">) =>
    bench({ geo: octetGeo, states }).ask({ subnet: "3.3.3.0/24" }).answers;
  assert.deepEqual(at(down("tyo")), ["img.cdn.test 30 A 127.0.1.1"]);
  assert.deepEqual(at(down("tyo", "fra", "nyc")), ["img.cdn.test 30 A 127.0.3.1"]);
});

test("the addresses of one site take turns, and all of them are in each answer", () => {
  const { ask } = bench({ geo: octetGeo });
  const firsts = new Set<string>();
  for (let i = 0; i < 50; i++) {
    const { answers } = ask({ subnet: "2.2.2.0/24" });
    assert.deepEqual(answers.toSorted(), ["img.cdn.test 30 A 127.0.2.1", "img.cdn.test 30 A 127.0.2.2"]);
    firsts.add(answers[0] ?? "");
  }
  assert.equal(firsts.size, 2);
});

test("what happened is counted, once per packet", () => {
  const { ask, send, stats } = bench();
  ask({});
  ask({ name: "mail.cdn.test", type: "TXT" });
  ask({ name: "nope.cdn.test", subnet: "192.0.2.0/24" });
  ask({ name: "x.child.cdn.test" }, { transport: "tcp" });
  ask({ name: "example.net" });
  ask({ edns: { version: 3 } });
  ask({ flags: 0x2000 });
  send(Buffer.alloc(3));
  send(queryOf({ flags: 0x8000 }));
  const { udp, tcp } = stats.outcomes;
  assert.deepEqual(
    Object.entries(udp).filter(([, count]) => count > 0),
    [
      ["noerror", 1],
      ["nodata", 1],
      ["nxdomain", 1],
      ["refused", 1],
      ["notimp", 1],
      ["badvers", 1],
      ["ignored-response", 1],
      ["ignored-short", 1],
    ],
  );
  assert.deepEqual(
    Object.entries(tcp).filter(([, count]) => count > 0),
    [["referral", 1]],
  );
  assert.deepEqual([stats.steered, stats.clientSubnets, stats.truncated, stats.failures], [1, 1, 0, 0]);
});

test("names that are steered alike share their decisions, and differ in TTL", () => {
  const fleet = testFleet({
    steering: `
steering:
  - {name: a.cdn.test, policy: geo, ttlSeconds: 10}
  - {name: b.cdn.test, policy: geo, ttlSeconds: 20}
`,
  });
  const { ask, snapshot } = bench({ fleet, geo: octetGeo });
  assert.deepEqual([...snapshot.compiled.planOf], [0, 0]);
  assert.deepEqual(ask({ name: "a.cdn.test", subnet: "3.3.3.0/24" }).answers, ["a.cdn.test 10 A 127.0.3.1"]);
  assert.deepEqual(ask({ name: "b.cdn.test", subnet: "3.3.3.0/24" }).answers, ["b.cdn.test 20 A 127.0.3.1"]);
});
