import { seededRandom, type Random } from "#base/random.ts";
import type { Fleet } from "#document/document.ts";
import type { SiteState } from "#health/health.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { explainAnswer, type DnsExplanation, type SteeringExplanation } from "../../dns/explain.ts";
import { ttlOf } from "../../dns/steer/ttl.ts";
import { ipToText, parseIp } from "../../dns/wire/address.ts";
import { queryOf, readServices } from "./support/ask.ts";
import { bench, octetGeo, testFleet, zoneText, type Bench } from "./support/fleet.ts";

const zones = zoneText(
  [
    "{name: '@', type: ALIAS, target: img}",
    "{name: other, type: ALIAS, target: weighted, ttlSeconds: 7}",
    "{name: '*.many', type: ALIAS, target: fixed}",
    "{name: plain, type: ALIAS, target: mail}",
    "{name: mail, type: A, address: 192.0.2.25}",
    "{name: mail, type: TXT, text: [here]}",
    "{name: www, type: CNAME, target: img}",
    "{name: twice, type: CNAME, target: www}",
    "{name: away, type: CNAME, target: www.example.net.}",
    "{name: loop1, type: CNAME, target: loop2}",
    "{name: loop2, type: CNAME, target: loop1}",
    "{name: dangling, type: CNAME, target: nothing}",
    "{name: old, type: DNAME, target: new}",
    `{name: stretch, type: DNAME, target: ${Array(3).fill("l".repeat(60)).join(".")}}`,
    "{name: a.new, type: CNAME, target: local}",
    "{name: b.new, type: TXT, text: [moved]}",
    "{name: img, type: HTTPS, priority: 1, target: '.', params: {alpn: [h2]}}",
    "{name: within, type: HTTPS, priority: 1, target: weighted, params: {alpn: [h2]}}",
    "{name: within, type: HTTPS, priority: 2, target: any, params: {port: 8443}}",
    "{name: fixed, type: SVCB, priority: 1, target: img, params: {port: 853}}",
    "{name: mail, type: HTTPS, priority: 1, target: '.', params: {alpn: [h2]}}",
    "{name: child, type: NS, target: ns.child}",
    "{name: ns.child, type: A, address: 192.0.2.60}",
  ]
    .map((line) => `      - ${line}`)
    .join("\n"),
);

const steering = `
steering:
  - name: img.cdn.test
    policy: geo
    ttlSeconds: 60
    weights: {fra: 3, nyc: 0}
    overrides:
      - {cidr: 1.2.0.0/16, site: tyo}
      - {cidr: 1.2.3.0/24, sites: [fra, tyo]}
      - {cidr: "2001:db8::/32", site: nyc}
      - {country: US, site: fra}
  - {name: within.cdn.test, policy: geo, withinKm: 9500, weights: {fra: 1, tyo: 2}}
  - {name: fixed.cdn.test, policy: fixed, sites: [nyc, fra], ttlSeconds: 5, ttlFloorSeconds: 5}
  - {name: local.cdn.test, policy: local}
  - {name: weighted.cdn.test, policy: weighted, weights: {fra: 3, nyc: 1, tyo: 0}}
  - {name: any.cdn.test, policy: anycast}
anycast: {addresses: [203.0.113.7, "2001:db8:ffff::7"]}
`;
const fleet = testFleet({ zones, steering });

interface Scene {
  readonly states?: ReadonlyMap<string, SiteState>;
  readonly keptShares?: ReadonlyMap<string, number>;
  readonly soonestChangeMs?: ReadonlyMap<string, number>;
  readonly self?: string;
}

/** A responder, and the explanation of what it answers. */
function scene(options: Scene = {}): Bench & {
  explain: (name: string, type: string, ip: string) => DnsExplanation;
  steer: (name: string, type: string, ip: string) => SteeringExplanation;
} {
  const { states = new Map(), keptShares = new Map(), soonestChangeMs = new Map(), self = "nyc" } = options;
  const one = bench({ fleet, geo: octetGeo, states, keptShares, self });
  writeTtls(one, fleet, soonestChangeMs);
  const inputs = { snapshot: one.snapshot, fleet, states, keptShares, soonestChangeMs };
  const explain = (name: string, type: string, ip: string) => explainAnswer(inputs, { name, type, ip });
  return {
    ...one,
    explain,
    steer(name, type, ip) {
      const explanation = explain(name, type, ip);
      assert.ok("steering" in explanation && explanation.steering !== null, JSON.stringify(explanation));
      return explanation.steering;
    },
  };
}

/** As the owner of the clock does. */
function writeTtls({ snapshot }: Bench, of: Fleet, soonestChangeMs: ReadonlyMap<string, number>): void {
  const all = of.sites.map((site) => site.name);
  for (const [index, steered] of of.steering.entries()) {
    snapshot.steering.ttlSeconds[index] = ttlOf(steered, steered.sites ?? all, soonestChangeMs).seconds;
  }
}

test("an answer is explained: rule, candidates with their distance, load and weight, scope, TTL", () => {
  const { explain, steer } = scene({
    states: new Map<string, SiteState>([
      ["nyc", "down"],
      ["fra", "up"],
    ]),
    soonestChangeMs: new Map([["nyc", 12_900]]),
  });
  const explanation = explain("TWICE.cdn.test", "a", "3.1.2.3");
  assert.ok("aliases" in explanation);
  assert.deepEqual(
    [explanation.outcome, explanation.name, explanation.type, explanation.zone, explanation.aliases],
    ["steered", "twice.cdn.test", "A", "cdn.test", ["www.cdn.test", "img.cdn.test"]],
  );
  const told = steer("TWICE.cdn.test", "a", "3.1.2.3");
  assert.deepEqual(
    [told.name, told.policy, told.rule, told.chosen, told.addresses, told.scope, told.scopePrefixLength],
    ["img.cdn.test", "geo", "distance", "tyo", ["127.0.3.1"], "3.0.0.0/8", 8],
  );
  assert.match(told.why, /^tyo is the nearest, \d+ km away$/);
  assert.deepEqual(
    [told.ttlSeconds, told.ttlReason],
    [12, "since the answer can change with the state of site nyc in 12 s at the earliest"],
  );
  assert.deepEqual([told.standing, told.shedBy, told.overrideIndex], ["up", [], null]);
  assert.deepEqual(
    told.candidates.map((one) => [
      one.site,
      one.state,
      one.isCandidate,
      one.preference,
      one.isChosen,
      one.keptShare,
      one.weight,
    ]),
    [
      ["fra", "up", true, 2, false, 1, null],
      ["nyc", "down", false, null, false, 1, null],
      ["tyo", "up", true, 1, true, 1, null],
    ],
  );
  assert.ok((told.candidates[0]?.distanceKm ?? 0) > 9000);
  assert.deepEqual([told.client.country, told.client.latitude, told.client.asn], ["JP", 35, null]);
  assert.deepEqual(JSON.parse(JSON.stringify(explanation)), explanation, "fit for JSON");
});

test("rules are reported with their override, their sharing and what sheds", () => {
  const calm = scene();
  const told = ({ rule, overrideIndex, chosen, why }: SteeringExplanation) => [rule, overrideIndex, chosen, why];
  assert.deepEqual(told(calm.steer("img.cdn.test", "A", "1.2.9.0/24")), [
    "cidr",
    0,
    "tyo",
    "overrides[0] sends this client network to tyo",
  ]);
  assert.deepEqual(told(calm.steer("img.cdn.test", "A", "2.2.3.0")), [
    "country",
    3,
    "fra",
    "overrides[3] sends clients in US to fra",
  ]);
  assert.match(
    calm.steer("img.cdn.test", "A", "1.2.3.4").why,
    /^overrides\[1\] sends this client network to fra, tyo by weight: (fra|tyo) won this network$/,
  );
  assert.match(
    calm.steer("within.cdn.test", "A", "1.9.9.9").why,
    /^fra, nyc, tyo are at most 9500 km farther than .* and share its clients by weight: \w+ won this network$/,
  );
  assert.equal(calm.steer("img.cdn.test", "A", "9.9.9.9").why, "fra comes first in the order of the fleet document");
  assert.equal(calm.steer("fixed.cdn.test", "A", "9.9.9.9").why, "nyc comes first in the order of `sites`");
  assert.equal(calm.steer("local.cdn.test", "A", "9.9.9.9").why, "nyc is the site of this node");
  assert.match(calm.steer("weighted.cdn.test", "A", "9.9.9.9").why, /won this client network by weight$/);
  assert.equal(calm.steer("any.cdn.test", "A", "9.9.9.9").why, "all sites share the anycast addresses");

  const loaded = scene({ keptShares: new Map([["tyo", 0]]) });
  const shed = loaded.steer("img.cdn.test", "A", "3.1.2.3");
  assert.match(shed.why, /^tyo sheds this client network for load; fra is the nearest of the others, \d+ km away$/);
  assert.deepEqual(
    [shed.chosen, shed.shedBy, shed.candidates.map((one) => [one.site, one.preference, one.keptShare])],
    [
      "fra",
      ["tyo"],
      [
        ["fra", 2, 1],
        ["nyc", 3, 1],
        ["tyo", 1, 0],
      ],
    ],
  );

  const alone = scene({ states: new Map(["fra", "tyo"].map((site) => [site, "down" as const])) });
  assert.equal(alone.steer("img.cdn.test", "A", "3.1.2.3").why, "nyc is the only candidate");
  const none = scene({ states: new Map(["fra", "tyo", "nyc"].map((site) => [site, "down" as const])) });
  assert.equal(none.steer("img.cdn.test", "A", "3.1.2.3").standing, "all");
  assert.equal(none.steer("img.cdn.test", "A", "3.1.2.3").chosen, "tyo");
});

test("ALIAS, wildcards, DNAME and HTTPS are reported", () => {
  const { explain } = scene();
  const part = (name: string, type: string) => {
    const told = explain(name, type, "3.1.2.3");
    assert.ok("aliases" in told, JSON.stringify(told));
    return told;
  };
  const apex = part("cdn.test", "A");
  assert.deepEqual([apex.aliasTarget, apex.steering?.name], ["img.cdn.test", "img.cdn.test"]);
  const short = part("other.cdn.test", "A");
  assert.deepEqual([short.steering?.ttlSeconds, short.aliasTarget], [7, "weighted.cdn.test"]);
  assert.match(short.steering?.ttlReason ?? "", /^limited by an alias/);
  const wild = part("x.y.many.cdn.test", "A");
  assert.deepEqual([wild.wildcard, wild.aliasTarget], ["*.many.cdn.test", "fixed.cdn.test"]);
  const plain = part("plain.cdn.test", "A");
  assert.deepEqual([plain.outcome, plain.aliasTarget, plain.steering], ["records", "mail.cdn.test", null]);
  const moved = part("a.old.cdn.test", "AAAA");
  assert.deepEqual([moved.outcome, moved.aliases], ["steered", ["a.new.cdn.test", "local.cdn.test"]]);
  const hinted = part("within.cdn.test", "HTTPS");
  assert.deepEqual(
    hinted.hints.map(({ ipv4, ipv6 }) => [ipv4.name, ipv4.rule, ipv6.name]),
    [
      ["weighted.cdn.test", "weight", "weighted.cdn.test"],
      ["any.cdn.test", "anycast", "any.cdn.test"],
    ],
  );
  assert.deepEqual(part("mail.cdn.test", "HTTPS").hints, []);
});

const outcomes: readonly (readonly [string, string, string])[] = [
  ["mail.cdn.test", "A", "records"],
  ["mail.cdn.test", "ANY", "records"],
  ["img.cdn.test", "ANY", "records"],
  ["away.cdn.test", "A", "records"],
  ["loop1.cdn.test", "A", "records"],
  ["www.cdn.test", "CNAME", "records"],
  ["b.old.cdn.test", "TXT", "records"],
  ["mail.cdn.test", "AAAA", "nodata"],
  ["new.cdn.test", "A", "nodata"],
  ["nope.cdn.test", "A", "nxdomain"],
  ["dangling.cdn.test", "A", "nxdomain"],
  [`${"x".repeat(60)}.${"y".repeat(60)}.stretch.cdn.test`, "A", "yxdomain"],
  ["x.child.cdn.test", "A", "referral"],
  ["example.net", "A", "refused"],
  ["img.cdn.test", "AXFR", "refused"],
  ["img.cdn.test", "MAILB", "notimp"],
];

test("what is not steered is explained by its outcome, which is the answer's", () => {
  const { explain, ask } = scene();
  const rcodeOf: Record<string, number> = { nxdomain: 3, yxdomain: 6, refused: 5, notimp: 4 };
  for (const [name, type, expected] of outcomes) {
    assert.equal(explain(name, type, "127.0.0.1").outcome, expected, `${name} ${type}`);
    const { rcode, answers } = ask({ name, type });
    assert.equal(rcode, rcodeOf[expected] ?? 0, `${name} ${type}`);
    if (expected === "records") assert.ok(answers.length > 0, `${name} ${type}`);
  }
  const invalid = (name: string, type: string, ip = "127.0.0.1") => {
    const told = explain(name, type, ip);
    assert.equal(told.outcome, "invalid", `${name} ${type} ${ip}`);
    return "reason" in told ? told.reason : "";
  };
  assert.equal(invalid("a..b", "A"), 'the name must be a domain name (got "a..b")');
  assert.equal(
    invalid("cdn.test", "TYPE65536"),
    'the type must be a record type such as A or TYPE65 (got "TYPE65536")',
  );
  assert.equal(invalid("cdn.test", "A", "300.1.1.1"), 'the client must be an address or a network (got "300.1.1.1")');
  assert.match(invalid("cdn.test", "OPT"), /is not a query type/);
});

const oneOf = <Item>(random: Random, items: readonly Item[]): Item =>
  items[Math.floor(random() * items.length)] ?? assert.fail("nothing to choose from");

function randomSubnet(random: Random): string {
  const octet = () => Math.floor(random() * 5);
  if (random() < 0.7) {
    const bits = 1 + Math.floor(random() * 32);
    const octets = [octet(), octet(), octet(), octet()].map((one, at) => {
      const kept = Math.min(8, Math.max(0, bits - 8 * at));
      return one & (0xff00 >> kept) & 0xff;
    });
    return `${octets.join(".")}/${bits}`;
  }
  const groups = [oneOf(random, [0x100, 0x2001, 0x300]), oneOf(random, [0xdb8, 0xdb9]), octet(), octet()];
  const bits = 16 * (1 + Math.floor(random() * 4));
  return `${groups.map((group, at) => (at * 16 < bits ? group : 0).toString(16)).join(":")}::/${bits}`;
}

test("the explanation equals the answer on the wire, for 100,000 random queries", () => {
  const seed = 77;
  const random = seededRandom(seed);
  const names = ["img", "within", "fixed", "local", "weighted", "any", "www", "twice", "other", "x.many", "a.old"];
  const queriesWanted = 100_000;
  const queriesPerWorld = 1000;
  const seen = { steered: 0, hints: 0, nodata: 0, scoped: 0 };
  for (let asked = 0; asked < queriesWanted; asked += queriesPerWorld) {
    const sites = ["fra", "nyc", "tyo"];
    const world = scene({
      states: new Map(sites.map((site) => [site, oneOf(random, ["up", "up", "up", "down", "draining"] as const)])),
      keptShares: new Map(sites.filter(() => random() < 0.5).map((site) => [site, random()])),
      soonestChangeMs: new Map(sites.filter(() => random() < 0.5).map((site) => [site, random() * 70_000])),
      self: oneOf(random, [...sites, "moon"]),
    });
    for (let i = 0; i < queriesPerWorld; i++) {
      const subnet = randomSubnet(random);
      const isService = random() < 0.1;
      const name = random() < 0.1 ? "cdn.test" : `${oneOf(random, isService ? ["img", "within"] : names)}.cdn.test`;
      const type = isService && name !== "cdn.test" ? "HTTPS" : oneOf(random, ["A", "A", "AAAA"]);
      const where = `SEED=${seed} query ${asked + i} ${name} ${type} ${subnet}`;
      if (type === "HTTPS") {
        checkHints(world, name, subnet, where);
        seen.hints++;
        continue;
      }
      const told = world.steer(name, type, subnet);
      const wire = world.ask({ name, type, subnet });
      const records = wire.answers.map((line) => line.split(" ")).filter((words) => words[2] === type);
      const addresses = records.map((words) => plainText(words[3] ?? ""));
      if (addresses.toSorted().join() !== told.addresses.toSorted().join()) {
        assert.fail(`${where}: wire ${addresses.join()}, told ${told.addresses.join()}: ${told.why}`);
      }
      if (wire.subnet?.split("/")[2] !== String(told.scopePrefixLength)) {
        assert.fail(`${where}: wire ${wire.subnet}, told ${told.scope}`);
      }
      for (const words of records) {
        if (words[1] !== String(told.ttlSeconds)) assert.fail(`${where}: TTL ${words[1]}, told ${told.ttlSeconds}`);
      }
      const chosen = told.candidates.find((one) => one.isChosen);
      if (told.rule !== "anycast" && told.chosen !== null) {
        // The rule's own steps arrive at the chosen site.
        if (chosen === undefined || !chosen.isCandidate || chosen.preference === null) assert.fail(where);
        for (let before = 1; before < chosen.preference; before++) {
          const group = told.candidates.filter((one) => one.preference === before);
          assert.ok(
            group.some((one) => one.keptShare < 1),
            `${where}: nobody of ${JSON.stringify(group)} sheds`,
          );
        }
      }
      seen.steered++;
      if (addresses.length === 0) seen.nodata++;
      if (told.scopePrefixLength > 0) seen.scoped++;
    }
  }
  assert.ok(
    seen.steered > 80_000 && seen.hints > 5000 && seen.nodata > 1000 && seen.scoped > 10_000,
    JSON.stringify(seen),
  );
});

function checkHints(world: ReturnType<typeof scene>, name: string, subnet: string, told: string): void {
  const explanation = world.explain(name, "HTTPS", subnet);
  assert.ok("hints" in explanation);
  const query = queryOf({ name, type: "HTTPS", subnet });
  const services = readServices(query, world.send(query));
  assert.equal(services.length, explanation.hints.length, told);
  for (const [index, { ipv4, ipv6 }] of explanation.hints.entries()) {
    const service = services[index];
    assert.deepEqual(hintsOf(service?.params.get(4), 4), ipv4.addresses.toSorted(), told);
    assert.deepEqual(hintsOf(service?.params.get(6), 16), ipv6.addresses.toSorted(), told);
    assert.equal(service?.ttlSeconds, ipv4.ttlSeconds, told);
  }
}

function hintsOf(octets: Buffer | undefined, size: 4 | 16): string[] {
  const texts: string[] = [];
  for (let at = 0; at < (octets?.length ?? 0); at += size) {
    const bytes = new Uint8Array(16);
    bytes.set(octets?.subarray(at, at + size) ?? []);
    texts.push(ipToText({ family: size === 4 ? 4 : 6, bytes }));
  }
  return texts.toSorted();
}

function plainText(text: string): string {
  const address = parseIp(text);
  return address === undefined ? text : ipToText(address);
}
