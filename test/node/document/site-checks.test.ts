import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import type { ValueProblem } from "#base/schema.ts";
import { checkFleet } from "#document/read-document.ts";

const site = (name: string, more: object = {}): object => ({
  name,
  place: { latitude: 50, longitude: 8 },
  addresses: ["192.0.2.80"],
  nodes: [{ name: `${name}1`, http: "http://192.0.2.80" }],
  ...more,
});

function check(more: object): { problems: string[]; warnings: string[] } {
  const warnings: ValueProblem[] = [];
  const written = {
    zones: [{ name: "cdn.test", nameservers: [{ name: "ns1", addresses: ["192.0.2.53"] }] }],
    sites: [site("fra"), site("nyc", { nodes: [{ name: "nyc1", http: "http://192.0.2.81" }] })],
    hosts: [{ name: "img.cdn.test", kind: "images" }],
    ...more,
  };
  const checked = checkFleet(written, { warn: (warning) => warnings.push(warning) });
  const lines = (list: readonly ValueProblem[]): string[] => list.map(({ path, message }) => `${path}: ${message}`);
  return { problems: checked.ok ? [] : lines(checked.problems), warnings: lines(warnings) };
}

const cloud = { name: "a", prefixes: ["192.0.2.0/24"], addresses: ["192.0.2.53"], sites: ["fra"] };

test("a cloud whose addresses lie in its prefixes is good", () => {
  const v6 = { name: "b", prefixes: ["2001:db8:1::/48"], addresses: ["2001:db8:1::53"], sites: ["nyc"] };
  deepEqual(check({ anycast: { as: 64500, clouds: [cloud, v6] } }), { problems: [], warnings: [] });
});

test("a shield, or a cloud's site, must be one of the sites", () => {
  const { problems } = check({ shield: "par", anycast: { clouds: [{ ...cloud, sites: ["fra", "lon"] }] } });
  deepEqual(problems, [
    'shield: "par" is not one of the sites',
    'anycast.clouds[0].sites[1]: "lon" is not one of the sites',
  ]);
});

test("an address outside of its cloud's prefixes is reported, and so are two clouds of one name", () => {
  const { problems } = check({ anycast: { clouds: [cloud, { ...cloud, addresses: ["198.51.100.1"] }] } });
  deepEqual(problems, [
    'anycast.clouds[1].name: "a" appears twice',
    "anycast.clouds[1].addresses[0]: 198.51.100.1 is in none of the prefixes of this cloud",
  ]);
});

test("a prefix with bits past its length is reported with what was meant", () => {
  const prefixes = ["192.0.2.53/24", "2001:db8:1:5::1/47"];
  const { problems } = check({ anycast: { clouds: [{ ...cloud, prefixes }] } });
  deepEqual(problems, [
    "anycast.clouds[0].prefixes[0]: 192.0.2.53/24 has bits set after its length; write 192.0.2.0/24",
    "anycast.clouds[0].prefixes[1]: 2001:db8:1:5::1/47 has bits set after its length; write 2001:db8::/47",
  ]);
});

test("what is no prefix is refused by the schema", () => {
  const { problems } = check({ anycast: { clouds: [{ ...cloud, prefixes: ["192.0.2.0/33", "fra/24", "::/0/1"] }] } });
  equal(problems.length, 3);
});

test("prefixes that the internet does not take are a warning", () => {
  const long = { ...cloud, prefixes: ["192.0.2.53/32"] };
  deepEqual(check({ anycast: { clouds: [long] } }), {
    problems: [],
    warnings: ["anycast.clouds[0].prefixes[0]: 192.0.2.53/32: other networks accept nothing longer than /24"],
  });
});

test("BGP needs an AS number, and two nodes can't have one URL", () => {
  const bgp = { routers: [{ address: "192.0.2.1", as: 65001 }] };
  const nodes = [
    { name: "fra1", http: "http://192.0.2.80" },
    { name: "fra2", http: "http://192.0.2.80/" },
  ];
  deepEqual(check({ sites: [site("fra", { bgp, nodes })] }).problems, [
    "anycast.as: is missing; the nodes of site fra need an AS number for BGP",
    "sites[0].nodes[1].http: http://192.0.2.80/ is another node's, too",
  ]);
});

test("a site without addresses is good: nodes may join it, which review/warnings.ts knows", () => {
  deepEqual(check({ sites: [site("fra"), site("nyc", { addresses: [], nodes: [] })] }), { problems: [], warnings: [] });
});
