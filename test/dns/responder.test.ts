import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { newCounters, readStats } from "../../dns/counters.ts";
import { createCookies } from "../../dns/guard/cookie.ts";
import { createRateLimit, newRateTable, type RateLimit } from "../../dns/guard/rate-limit.ts";
import type { ResponderDeps } from "../../dns/answer/state.ts";
import { createResponder, type Responder } from "../../dns/responder.ts";
import { parseIp } from "../../dns/wire/address.ts";
import { queryOf, readAnswer, type Asking } from "./support/ask.ts";
import { bench, octetGeo, testFleet, zoneText } from "./support/fleet.ts";

const address = parseIp("127.0.0.1");
assert.ok(address);
const client = { address, port: 40_000, transport: "udp" } as const;
const from = (text: string) => ({ address: parseIp(text) ?? assert.fail(text) });

/** Options of queries. */
const nsidOption = { code: 3, data: [] };
const keepaliveOption = { code: 11, data: [] };
const cookieOption = (...data: readonly number[]) => ({ code: 10, data: [1, 2, 3, 4, 5, 6, 7, 8, ...data] });
const secret = Uint8Array.from({ length: 16 }, (_, index) => index);

function responder(deps: Partial<ResponderDeps> & Pick<ResponderDeps, "snapshot" | "counters">): Responder {
  return createResponder({
    cookies: createCookies(),
    rateLimit: undefined,
    identity: { nsid: undefined, version: undefined, id: undefined },
    amplificationMax: 0,
    random: seededRandom(1),
    nowMs: () => 0,
    onFailure: assert.fail,
    ...deps,
  });
}

test("until the first snapshot every question is SERVFAIL, and what is malformed is still FORMERR", () => {
  const counters = newCounters();
  const { respond } = responder({ snapshot: () => undefined, counters });
  const out = new Uint8Array(65_535);
  const ask = (query: Buffer) => readAnswer(out.slice(0, respond(query, query.length, client, out)));
  const first = ask(queryOf({ edns: {} }));
  assert.deepEqual([first.rcode, first.extendedError], [2, 14]);
  assert.deepEqual([ask(queryOf({})).rcode, ask(queryOf({})).opt], [2, null]);
  assert.equal(ask(queryOf({ edns: { options: [{ code: 8, data: [] }] } })).rcode, 1);
  const { udp } = readStats([counters]).outcomes;
  assert.deepEqual([udp.servfail, udp.formerr], [3, 1]);
});

test("a failure inside is a SERVFAIL of the header alone, told once per query, and the next query is answered", () => {
  const { snapshot } = bench();
  const failures: string[] = [];
  let isBroken = true;
  const counters = newCounters();
  const { respond } = responder({
    snapshot: () => {
      if (isBroken) throw new Error("broken on purpose");
      return snapshot;
    },
    counters,
    onFailure: (error) => failures.push(error.message),
  });
  const out = new Uint8Array(65_535);
  const query = queryOf({ flags: 0x0100 });
  const ask = () => readAnswer(out.slice(0, respond(query, query.length, client, out)));
  const broken = ask();
  assert.deepEqual([broken.rcode, broken.flags, broken.length], [2, "qr rd", 12]);
  assert.deepEqual([failures, readStats([counters]).failures], [["broken on purpose"], 1]);
  isBroken = false;
  assert.equal(ask().rcode, 0);
});

test("a query is as long as it is said to be, whatever stands behind it", () => {
  const { respond, send } = bench();
  const query = queryOf({ name: "mail.cdn.test", edns: {} });
  const expected = send(query);
  const slot = new Uint8Array(new SharedArrayBuffer(1500)).fill(0xff);
  slot.set(query);
  const out = new Uint8Array(new SharedArrayBuffer(1500)).fill(0xff);
  const length = respond(slot, query.length, client, out);
  assert.deepEqual(Buffer.from(out.slice(0, length)), Buffer.from(expected));
  assert.equal(
    out.slice(length).findIndex((octet) => octet !== 0xff),
    -1,
    "nothing is written behind the answer",
  );
});

test("geo is steered by the client subnet, and by the resolver where there is none or it has length 0", () => {
  const { ask } = bench({ geo: octetGeo });
  const cases: readonly (readonly [string, string | undefined, string, boolean])[] = [
    ["1.0.0.1", "3.3.3.0/24", "127.0.3.1", true],
    ["1.0.0.1", "3.3.0.0/16", "127.0.3.1", true],
    ["1.0.0.1", "3.0.0.0/8", "127.0.3.1", true],
    ["3.0.0.1", undefined, "127.0.3.1", false],
    ["3.0.0.1", "0.0.0.0/0", "127.0.3.1", false],
    ["3.0.0.1", "9.9.9.0/24", "127.0.1.1", true],
  ];
  for (const [resolver, subnet, expected, hasScope] of cases) {
    const answer = ask(subnet === undefined ? { edns: {} } : { subnet }, from(resolver));
    assert.deepEqual(answer.answers, [`img.cdn.test 30 A ${expected}`], `${resolver} ${subnet}`);
    const scope = answer.subnet?.split("/")[2];
    if (hasScope) assert.ok(Number(scope) > 0 && Number(scope) <= 8, `${subnet}: scope ${scope}`);
    else assert.equal(scope ?? "0", "0", `${resolver} ${subnet}`);
  }
});

test("a steered name reached through an alias carries the scope as well", () => {
  const { ask } = bench({ geo: octetGeo });
  const { answers, subnet } = ask({ name: "alias.cdn.test", subnet: "3.3.3.0/24" });
  assert.equal(answers.at(-1), "img.cdn.test 30 A 127.0.3.1");
  assert.equal(subnet, ask({ subnet: "3.3.3.0/24" }).subnet);
  assert.notEqual(subnet, "3.3.3.0/24/0");
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

test("the TTL of a steered answer is read from the snapshot at each answer", () => {
  const { ask, snapshot } = bench({ geo: octetGeo });
  const steered = testFleet().steering.findIndex((one) => one.name === "img.cdn.test");
  snapshot.steering.ttlSeconds[steered] = 13;
  assert.deepEqual(ask({ subnet: "3.3.3.0/24" }).answers, ["img.cdn.test 13 A 127.0.3.1"]);
});

test("AAAA is NODATA where the best site has no IPv6 address, with the scope of that choice", () => {
  const { ask } = bench({ geo: octetGeo });
  const { rcode, answers, authorities, subnet } = ask({ type: "AAAA", subnet: "2.2.2.0/24" });
  assert.deepEqual([rcode, answers.length, authorities.length], [0, 0, 1]);
  assert.notEqual(subnet, "2.2.2.0/24/0");
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

test("CH TXT tells version and id by policy, else it is REFUSED", () => {
  const told = bench({ identity: { version: "nearcast 1", id: "fra1" } });
  const silent = bench();
  const chaos = (name: string, type = "TXT"): Asking => ({ name, type, class: 3, edns: {} });
  for (const [name, text] of [
    ["version.bind", "nearcast 1"],
    ["VERSION.server", "nearcast 1"],
    ["id.server", "fra1"],
    ["hostname.bind", "fra1"],
  ] as const) {
    for (const type of ["TXT", "ANY"]) {
      const { rcode, flags, answers } = told.ask(chaos(name, type));
      assert.deepEqual([rcode, flags, answers], [0, "qr aa", [`${name} 0 TXT "${text}"`]]);
    }
    const refused = silent.ask(chaos(name));
    assert.deepEqual([refused.rcode, refused.answers.length, refused.extendedError], [5, 0, 18], name);
    assert.equal(told.ask(chaos(name, "A")).rcode, 5);
    assert.equal(told.ask({ name, type: "TXT" }).rcode, 5, "in class IN it is a name like any other");
  }
  for (const name of ["authors.bind", "cdn.test", "bind", ""]) assert.equal(told.ask(chaos(name)).rcode, 5, name);
});

test("an extended error says why, and only to those with EDNS (RFC 8914)", () => {
  const { ask } = bench();
  const cases: readonly (readonly [Asking, number, number | null])[] = [
    [{ name: "example.net" }, 5, 20],
    [{ name: "mail.cdn.test", class: 255 }, 5, 20],
    [{ name: "cdn.test", type: "AXFR" }, 5, 18],
    [{ name: "cdn.test", type: "IXFR" }, 5, 18],
    [{ name: "cdn.test", type: "MAILA" }, 4, 21],
    [{ name: "nope.cdn.test" }, 3, null],
    [{ name: "mail.cdn.test" }, 0, null],
  ];
  for (const [asking, rcode, extendedError] of cases) {
    const answer = ask({ ...asking, edns: {} });
    assert.deepEqual([answer.rcode, answer.extendedError], [rcode, extendedError], JSON.stringify(asking));
    assert.equal(ask(asking).opt, null);
  }
});

test("NSID is said when it is asked for (RFC 5001), keepalive over TCP when it is asked for (RFC 7828)", () => {
  const { ask } = bench({ identity: { nsid: Buffer.from("fra1") } });
  const both = { name: "mail.cdn.test", edns: { options: [nsidOption, keepaliveOption] } };
  assert.equal(ask(both).options.get(3)?.toString(), "fra1");
  assert.ok(!ask({ name: "mail.cdn.test", edns: {} }).options.has(3));
  assert.ok(!bench().ask(both).options.has(3));
  assert.ok(!ask(both).options.has(11), "never over UDP");
  const overTcp = ask(both, { transport: "tcp", keepaliveTenths: 100 });
  assert.deepEqual([...(overTcp.options.get(11) ?? [])], [0, 100]);
  assert.ok(!ask({ name: "mail.cdn.test", edns: {} }, { transport: "tcp", keepaliveTenths: 100 }).options.has(11));
});

test("a client cookie is answered with a server cookie that is then taken for valid (RFC 7873)", () => {
  const { ask, send, stats } = bench({ cookieSecrets: [secret] });
  const asking = (...server: readonly number[]): Asking => ({
    name: "mail.cdn.test",
    edns: { options: [cookieOption(...server)] },
  });
  const given = [...(ask(asking()).options.get(10) ?? [])];
  assert.deepEqual([given.length, given.slice(0, 8)], [24, [1, 2, 3, 4, 5, 6, 7, 8]]);
  assert.deepEqual([stats().cookiesValid, stats().cookiesInvalid], [0, 0]);
  assert.deepEqual([...(ask(asking(...given.slice(8))).options.get(10) ?? [])], given);
  assert.deepEqual([stats().cookiesValid, stats().cookiesInvalid], [1, 0]);
  ask(asking(...given.slice(8)), from("127.0.0.2"));
  assert.deepEqual([stats().cookiesValid, stats().cookiesInvalid], [1, 1]);
  assert.ok(!bench().ask(asking()).options.has(10), "without a secret there is none");

  // RFC 7873 §5.4: no question, only a cookie.
  const only = Buffer.from([...queryOf({}).subarray(0, 4), 0, 0, 0, 0, 0, 0, 0, 1, ...optOf(asking())]);
  const { rcode, questions, options } = readAnswer(send(only));
  assert.deepEqual([rcode, questions, options.get(10)?.length], [0, [], 24]);
});

/** The OPT record of a query. */
function optOf(asking: Asking): Uint8Array {
  return queryOf(asking).subarray(queryOf(asking.name === undefined ? {} : { name: asking.name }).length);
}

test("the rate limit: answers, then slips with TC and no records, then silence; not over TCP", () => {
  let nowMs = 1_000_000;
  const rateLimit = createRateLimit({ responsesPerSecond: 10, slip: 2 }, newRateTable());
  const one = bench({ rateLimit, nowMs: () => nowMs, cookieSecrets: [secret] });
  const query = queryOf({ name: "mail.cdn.test", edns: {} });
  for (let i = 0; i < 30; i++) one.send(query);
  const { noerror, slipped, "ignored-rate": silent } = one.stats().outcomes.udp;
  assert.equal(noerror + slipped + silent, 30);
  assert.ok(noerror >= 10 && noerror <= 11 && Math.abs(slipped - silent) <= 1, `${noerror} ${slipped} ${silent}`);
  let slip = one.send(query);
  if (slip.length === 0) slip = one.send(query);
  const { flags, answers, rcode, opt, questions } = readAnswer(slip);
  assert.deepEqual([flags, rcode, answers, questions.length, opt?.version], ["qr tc", 0, [], 1, 0]);
  assert.equal(one.ask({ name: "mail.cdn.test" }, { transport: "tcp" }).answers.length, 2);
  assert.equal(one.ask({ name: "mail.cdn.test" }, from("127.0.9.1")).answers.length, 2, "another network");
  nowMs += 2000;
  assert.equal(one.ask({ name: "mail.cdn.test" }).answers.length, 2, "later");
});

test("who has a valid cookie is not limited", () => {
  const asked: string[] = [];
  const rateLimit: RateLimit = {
    decide: ({ bytes }) => {
      asked.push(String(bytes[3]));
      return 2;
    },
  };
  const one = bench({ rateLimit, cookieSecrets: [secret] });
  const cookie = [
    ...(bench({ cookieSecrets: [secret] })
      .ask({
        edns: { options: [cookieOption()] },
      })
      .options.get(10) ?? []),
  ].slice(8);
  const edns = { options: [cookieOption(...cookie)] };
  assert.equal(one.ask({ name: "mail.cdn.test", edns }).answers.length, 2);
  assert.deepEqual(asked, []);
  assert.equal(one.send(queryOf({ name: "mail.cdn.test", edns }), from("127.0.0.9")).length, 0);
  for (const malformed of [queryOf({ flags: 0x2000 }), queryOf({}).subarray(0, 20)]) {
    assert.equal(one.send(malformed).length, 0, "errors count as answers");
  }
  assert.deepEqual(asked, ["9", "1", "1"]);
  assert.equal(one.stats().outcomes.udp["ignored-rate"], 3);
});

test("over UDP without a valid cookie no answer is longer than three times its query", () => {
  const records = [
    ...Array.from({ length: 20 }, (_, i) => `      - {name: many, type: A, address: 192.0.2.${i}}`),
    `      - {name: long, type: TXT, text: ["${"x".repeat(250)}"]}`,
    "      - {name: one, type: A, address: 192.0.2.1}",
    ...Array.from({ length: 8 }, (_, i) => `      - {name: child, type: NS, target: ns${i}.child}`),
    ...Array.from({ length: 8 }, (_, i) => `      - {name: ns${i}.child, type: A, address: 192.0.2.${i}}`),
  ].join("\n");
  const one = bench({
    fleet: testFleet({ zones: zoneText(records), steering: "" }),
    amplificationMax: 3,
    cookieSecrets: [secret],
    identity: { nsid: Buffer.alloc(120, 0x61), version: "v".repeat(200) },
  });
  const cookie = [...(one.ask({ edns: { options: [cookieOption()] } }).options.get(10) ?? [])].slice(8);
  const before = one.stats().truncated;
  let cut = 0;
  for (const name of ["many", "long", "one", "x.child", "nope", "@", ""]) {
    for (const type of ["A", "TXT", "NS", "ANY", "SOA", "AXFR"]) {
      for (const edns of [undefined, {}, { options: [nsidOption] }, { options: [cookieOption()] }]) {
        const full = name === "@" ? "cdn.test" : name === "" ? "" : `${name}.cdn.test`;
        const query = queryOf({ name: full, type, ...(edns === undefined ? {} : { edns }) });
        const answer = one.send(query);
        assert.ok(answer.length <= 3 * query.length, `${name} ${type}: ${answer.length} for ${query.length}`);
        if (readAnswer(answer).flags.includes("tc")) cut++;
      }
    }
  }
  assert.equal(one.stats().truncated - before, cut);
  assert.ok(cut > 0);
  const proven = { name: "many.cdn.test", edns: { options: [cookieOption(...cookie)] } };
  assert.equal(one.ask(proven).answers.length, 20);
  assert.equal(one.ask({ name: "many.cdn.test" }, { transport: "tcp" }).answers.length, 20);
  const version = queryOf({ name: "version.bind", type: "TXT", class: 3 });
  assert.ok(one.send(version).length <= 3 * version.length);
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
  send(queryOf({}), { port: 0 });
  const { outcomes, steered, clientSubnets, truncated, failures } = stats();
  assert.deepEqual(
    Object.entries(outcomes.udp).filter(([, count]) => count > 0),
    [
      ["noerror", 1],
      ["nodata", 1],
      ["nxdomain", 1],
      ["refused", 1],
      ["notimp", 1],
      ["badvers", 1],
      ["ignored-response", 1],
      ["ignored-short", 1],
      ["ignored-port", 1],
    ],
  );
  assert.deepEqual(
    Object.entries(outcomes.tcp).filter(([, count]) => count > 0),
    [["referral", 1]],
  );
  assert.deepEqual([steered, clientSubnets, truncated, failures], [1, 1, 0, 0]);
});

test("the work of a query is counted and bounded", () => {
  const { ask, steps, send } = bench({ geo: octetGeo });
  ask({ name: "mail.cdn.test" });
  const plain = steps();
  assert.ok(plain > 5 && plain < 100, `${plain}`);
  ask({ name: Array<string>(120).fill("x").join(".") + ".cdn.test" });
  assert.ok(steps() < 1000, `${steps()}`);
  ask({ name: "loop1.cdn.test" });
  assert.ok(steps() < 1000, `${steps()}`);
  send(Buffer.alloc(3));
  assert.ok(steps() < 10, "each query begins anew");
});
