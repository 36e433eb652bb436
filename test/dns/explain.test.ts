import { seededRandom } from "#base/random.ts";
import type { SiteState } from "#fleet/health.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { explainAnswer, type DnsExplanation } from "../../dns/explain.ts";
import { bench, octetGeo, testFleet } from "./support/fleet.ts";

const steering = `
steering:
  - {name: img.cdn.test, policy: geo, overrides: [{cidr: 1.2.0.0/16, site: tyo}, {country: US, site: fra}]}
  - {name: fixed.cdn.test, policy: fixed, sites: [nyc, fra], ttlSeconds: 5}
  - {name: local.cdn.test, policy: local}
  - {name: weighted.cdn.test, policy: weighted, weights: {fra: 3, nyc: 1, tyo: 0}}
  - {name: any.cdn.test, policy: anycast}
anycast: {addresses: [203.0.113.7, "2001:db8:ffff::7"]}
`;
const fleet = testFleet({ steering });

function steeringOf(explanation: DnsExplanation) {
  assert.equal(explanation.outcome, "steered");
  assert.ok("steering" in explanation && explanation.steering !== null);
  return explanation.steering;
}

test("an answer is explained: rule, candidates with their distance, scope", () => {
  const { snapshot } = bench({
    fleet,
    geo: octetGeo,
    states: new Map<string, SiteState>([
      ["nyc", "down"],
      ["fra", "up"],
      ["tyo", "up"],
    ]),
  });
  const explanation = explainAnswer(snapshot, { name: "WWW.cdn.test", type: "a", ip: "3.1.2.3" });
  assert.ok("aliases" in explanation);
  assert.deepEqual(
    [explanation.name, explanation.type, explanation.zone, explanation.aliases],
    ["www.cdn.test", "A", "cdn.test", ["img.cdn.test"]],
  );
  const told = steeringOf(explanation);
  assert.deepEqual(
    [told.policy, told.rule, told.chosen, told.addresses, told.scope, told.ttlSeconds],
    ["geo", "distance", "tyo", ["127.0.3.1"], "3.1.0.0/16", 30],
  );
  assert.match(told.why, /^tyo is the nearest, \d+ km away$/);
  assert.deepEqual(
    told.candidates.map((one) => [one.site, one.state, one.isCandidate, one.isChosen]),
    [
      ["fra", "up", true, false],
      ["nyc", "down", false, false],
      ["tyo", "up", true, true],
    ],
  );
  assert.ok((told.candidates[0]?.distanceKm ?? 0) > 9000);
  assert.deepEqual([told.client.country, told.client.latitude], ["JP", 35]);
  assert.deepEqual(JSON.parse(JSON.stringify(explanation)), explanation, "fit for JSON");
});

test("overrides are named by their index", () => {
  const { snapshot } = bench({ fleet, geo: octetGeo });
  const network = steeringOf(explainAnswer(snapshot, { name: "img.cdn.test", type: "A", ip: "1.2.3.0/24" }));
  assert.deepEqual(
    [network.rule, network.overrideIndex, network.chosen, network.why],
    ["cidr", 0, "tyo", "overrides[0] sends this client network to tyo"],
  );
  const country = steeringOf(explainAnswer(snapshot, { name: "img.cdn.test", type: "A", ip: "2.2.3.0" }));
  assert.deepEqual(
    [country.rule, country.overrideIndex, country.chosen, country.why],
    ["country", 1, "fra", "overrides[1] sends clients in US to fra"],
  );
});

test("what is not steered is explained by its outcome", () => {
  const { snapshot } = bench();
  const outcome = (name: string, type: string): string =>
    explainAnswer(snapshot, { name, type, ip: "127.0.0.1" }).outcome;
  const cases: readonly (readonly [string, string, string])[] = [
    ["mail.cdn.test", "A", "records"],
    ["mail.cdn.test", "ANY", "records"],
    ["away.cdn.test", "A", "records"],
    ["loop1.cdn.test", "A", "records"],
    ["mail.cdn.test", "TXT", "nodata"],
    ["nope.cdn.test", "A", "nxdomain"],
    ["dangling.cdn.test", "A", "nxdomain"],
    ["x.child.cdn.test", "A", "referral"],
    ["example.net", "A", "refused"],
    ["a..b", "A", "invalid"],
    ["mail.cdn.test", "TYPE1", "records"],
    ["mail.cdn.test", "TYPE65280", "nodata"],
    ["cdn.test", "TYPE65536", "invalid"],
    ["cdn.test", "NONSENSE", "invalid"],
  ];
  for (const [name, type, expected] of cases) assert.equal(outcome(name, type), expected, `${name} ${type}`);
  assert.equal(explainAnswer(snapshot, { name: "cdn.test", type: "A", ip: "300.1.1.1" }).outcome, "invalid");
});

test("the explanation equals the answer on the wire", () => {
  const seed = 77;
  const random = seededRandom(seed);
  const names = ["img", "fixed", "local", "weighted", "any", "alias"];
  for (let world = 0; world < 40; world++) {
    const states = new Map<string, SiteState>(
      ["fra", "nyc", "tyo"].map((site) => [site, random() < 0.7 ? "up" : "down"]),
    );
    const { ask, snapshot } = bench({ fleet, geo: octetGeo, states, self: "nyc" });
    for (let trial = 0; trial < 100; trial++) {
      const octet = () => Math.floor(random() * 5);
      const bits = 8 + Math.floor(random() * 3) * 8;
      const octets = [octet(), octet(), octet()].map((one, index) => (index * 8 < bits ? one : 0));
      const subnet = `${octets.join(".")}.0/${bits}`;
      const name = `${names[Math.floor(random() * names.length)]}.cdn.test`;
      const type = random() < 0.5 ? "A" : "AAAA";
      const told = steeringOf(explainAnswer(snapshot, { name, type, ip: subnet }));
      const wire = ask({ name, type, subnet });
      const addresses = wire.answers
        .filter((one) => one.includes(` ${type} `))
        .map((one) => one.split(" ").at(-1) ?? "");
      const where = `SEED=${seed} world ${world} ${name} ${type} ${subnet}`;
      assert.deepEqual(addresses.toSorted(), told.addresses.toSorted(), where);
      assert.equal(wire.subnet?.split("/")[2], String(told.scopePrefixLength), where);
      for (const answer of wire.answers.filter((one) => one.includes(` ${type} `))) {
        assert.equal(answer.split(" ")[1], String(told.ttlSeconds), where);
      }
    }
  }
});
