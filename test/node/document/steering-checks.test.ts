/** What a fleet document may say of steering, beyond its schema: one row per rule, with the words of its refusal. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { problemLines } from "#base/schema.ts";
import { checkFleet, parseFleet } from "#document/read-document.ts";
import { fleetValue, fleetWith } from "../../support/fleet.ts";

const geo = (more: object = {}): Record<string, unknown> => ({ name: "img.cdn.test", policy: "geo", ...more });

function linesOf(...steering: unknown[]): string[] {
  const checked = checkFleet(fleetValue({ steering }));
  return checked.ok ? [] : problemLines(checked.problems);
}
const linesOfOverrides = (...overrides: object[]): string[] =>
  linesOf(geo({ overrides: overrides.map((one) => ({ site: "fra", ...one })) }));

test("what is allowed", () => {
  const rows: Record<string, unknown>[] = [
    geo(),
    geo({ withinKm: 500, weights: { fra: 0 } }),
    geo({ sites: ["fra"], weights: { fra: 3 } }),
    geo({ overrides: [{ asn: 64500, sites: ["fra", "nyc"] }] }),
    geo({
      overrides: [
        { cidr: "192.0.2.1/32", site: "fra" },
        { cidr: "2001:db8::/64", site: "nyc" },
      ],
    }),
    geo({
      overrides: [
        { cidr: "0.0.0.0/0", site: "fra" },
        { cidr: "::/0", site: "nyc" },
      ],
    }),
    geo({ ttlSeconds: 10, ttlFloorSeconds: 10 }),
    geo({ ttlSeconds: 0, ttlFloorSeconds: 0 }),
    { name: "img.cdn.test", policy: "weighted", weights: { fra: 0, nyc: 1 } },
  ];
  for (const row of rows) assert.deepEqual(linesOf(row), [], JSON.stringify(row));
});

test("an override is for exactly one of cidr, asn, country, and names exactly one of site, sites", () => {
  const [at, key] = ["steering[0].overrides[0]", "must have exactly one of cidr, asn and country"];
  const place = "must have exactly one of site and sites";
  const rows: [override: object, wanted: string[]][] = [
    [{ site: "fra" }, [`${at}: ${key}`]],
    [{ site: "fra", cidr: "10.0.0.0/8", asn: 1 }, [`${at}: ${key}`]],
    [{ site: "fra", cidr: "10.0.0.0/8", country: "DE" }, [`${at}: ${key}`]],
    [{ site: "fra", asn: 1, country: "DE" }, [`${at}: ${key}`]],
    [{ country: "DE" }, [`${at}: ${place}`]],
    [{ country: "DE", site: "fra", sites: ["nyc"] }, [`${at}: ${place}`]],
    [{ country: "DE", site: "tyo" }, [`${at}.site: "tyo" is not one of the sites`]],
    [{ asn: 5, sites: ["fra", "tyo"] }, [`${at}.sites[1]: "tyo" is not one of the sites`]],
    [{ asn: 5, sites: ["fra", "nyc", "fra"] }, [`${at}.sites[2]: "fra" appears twice`]],
  ];
  for (const [override, wanted] of rows) {
    assert.deepEqual(linesOf(geo({ overrides: [override] })), wanted, JSON.stringify(override));
  }
  assert.deepEqual(linesOf(geo({ sites: ["fra"], overrides: [{ asn: 5, sites: ["fra", "nyc"] }] })), [
    `${at}.sites[1]: "nyc" is not in the sites of this name`,
  ]);
});

test("a network is an address prefix of at most 32 bits, or of 64 with IPv6", () => {
  const no = "is not an address prefix such as 192.0.2.0/24";
  const rows: [cidr: string, reason: string][] = [
    ["10.0.0.0/33", "is too narrow: IPv4 prefixes have at most 32 bits"],
    ["2001:db8::/65", "is too narrow: IPv6 prefixes have at most 64 bits"],
    ["2001:db8::1/128", "is too narrow: IPv6 prefixes have at most 64 bits"],
    ["::ffff:10.0.0.0/104", "is too narrow: IPv6 prefixes have at most 64 bits"],
    ["10.0.0/8", no],
    ["010.0.0.0/8", no],
    ["256.0.0.0/8", no],
    ["1:2:3/32", no],
    ["1::2::3/32", no],
  ];
  for (const [cidr, reason] of rows) {
    assert.deepEqual(linesOfOverrides({ cidr }), [`steering[0].overrides[0].cidr: "${cidr}" ${reason}`]);
  }
});

test("two overrides of one name are not for the same clients, however they are written", () => {
  const same: [object, object][] = [
    [{ country: "DE" }, { country: "DE" }],
    [{ asn: 64500 }, { asn: 64500 }],
    [{ cidr: "10.0.0.0/8" }, { cidr: "10.0.0.0/8" }],
    [{ cidr: "10.0.0.0/8" }, { cidr: "10.1.2.3/08" }],
    [{ cidr: "0.0.0.0/0" }, { cidr: "255.255.255.255/0" }],
    [{ cidr: "2001:db8::/32" }, { cidr: "2001:0DB8:0:0:0:0:0:1/32" }],
    [{ cidr: "::/64" }, { cidr: "::1.2.3.4/64" }],
    [{ cidr: "1:2:3:4::/64" }, { cidr: "1:2:3:4:5:6:7.8.9.10/64" }],
    [{ cidr: "1::/63" }, { cidr: "1:0:0:1:2:3:4:5/63" }],
    [{ cidr: "0:0:3:4::/64" }, { cidr: "::3:4:0:0:0:0/64" }],
  ];
  for (const [one, other] of same) {
    assert.deepEqual(
      linesOfOverrides(one, { country: "FR" }, other),
      ["steering[0].overrides[2]: is for the same clients as overrides[0]"],
      `${JSON.stringify(one)} ${JSON.stringify(other)}`,
    );
  }
  const different: [object, object][] = [
    [{ cidr: "10.0.0.0/8" }, { cidr: "10.0.0.0/9" }],
    [{ cidr: "10.0.0.0/8" }, { cidr: "11.0.0.0/8" }],
    [{ cidr: "0.0.0.0/0" }, { cidr: "::/0" }],
    [{ cidr: "1:2:3:4::/64" }, { cidr: "1:2:3:5::/64" }],
    [{ cidr: "::1:2:3:4:0:0/64" }, { cidr: "::1:2:3:4:0/64" }],
    [{ cidr: "128.0.0.0/1" }, { cidr: "8000::/1" }],
  ];
  for (const [one, other] of different) {
    assert.deepEqual(linesOfOverrides(one, other), [], `${JSON.stringify(one)} ${JSON.stringify(other)}`);
  }
  const twice = linesOfOverrides({ asn: 1 }, { asn: 2 }, { asn: 1 }, { asn: 1 });
  assert.deepEqual(
    twice.map((line) => line.split(" ").at(-1)),
    ["overrides[0]", "overrides[0]"],
    "each is told the first",
  );
});

test("weights leave at least one site to answer", () => {
  const rows: [steered: object, wanted: string[]][] = [
    [{ weights: { fra: 0, nyc: 0 } }, ["steering[0].weights: are all 0; at least one site must have a weight above 0"]],
    [
      { sites: ["fra"], weights: { fra: 0 } },
      ["steering[0].weights: are all 0; at least one site must have a weight above 0"],
    ],
    [{ weights: { fra: 0 } }, []],
    [
      { weights: { fra: 0 }, overrides: [{ asn: 1, sites: ["fra"] }] },
      ["steering[0].overrides[0].sites: all have weight 0; at least one must have a weight above 0"],
    ],
    [{ weights: { fra: 0 }, overrides: [{ asn: 1, sites: ["fra", "nyc"] }] }, []],
    [{ weights: { fra: 0 }, overrides: [{ asn: 1, site: "fra" }] }, []],
  ];
  for (const [steered, wanted] of rows) assert.deepEqual(linesOf(geo(steered)), wanted, JSON.stringify(steered));
});

test("withinKm means something only to geo", () => {
  for (const policy of ["anycast", "local", "weighted", "fixed"]) {
    const fleet = fleetValue({
      anycast: { addresses: ["192.0.2.9"] },
      steering: [{ name: "img.cdn.test", policy, sites: ["fra"], withinKm: 100 }],
    });
    const checked = checkFleet(fleet);
    assert(!checked.ok);
    assert.deepEqual(problemLines(checked.problems), [
      `steering[0].withinKm: 100 has no effect with policy "${policy}"; use it with "geo" only`,
    ]);
  }
});

test("the floor of the TTL is not above the TTL; left out, it follows a TTL below its default", () => {
  assert.deepEqual(linesOf(geo({ ttlSeconds: 5, ttlFloorSeconds: 6 })), [
    "steering[0].ttlFloorSeconds: 6 is above ttlSeconds, 5",
  ]);
  assert.deepEqual(linesOf(geo({ ttlSeconds: 5, ttlFloorSeconds: 10 })), [
    "steering[0].ttlFloorSeconds: 10 is above ttlSeconds, 5",
  ]);
  assert.deepEqual(linesOf(geo({ ttlFloorSeconds: 31 })), ["steering[0].ttlFloorSeconds: 31 is above ttlSeconds, 30"]);
  for (const [given, ttlSeconds, ttlFloorSeconds] of [
    [{}, 30, 10],
    [{ ttlSeconds: 5 }, 5, 5],
    [{ ttlSeconds: 0 }, 0, 0],
    [{ ttlSeconds: 10 }, 10, 10],
    [{ ttlSeconds: 60 }, 60, 10],
    [{ ttlSeconds: 60, ttlFloorSeconds: 60 }, 60, 60],
  ] as const) {
    const [steered] = fleetWith({ steering: [geo(given)] }).steering;
    assert.deepEqual([steered?.ttlSeconds, steered?.ttlFloorSeconds], [ttlSeconds, ttlFloorSeconds]);
  }
  // What the schema refuses is told once, in its words.
  for (const ttlSeconds of [-1, 1.5, "5", null]) {
    const lines = linesOf(geo({ ttlSeconds }));
    assert(lines.length > 0 && lines.every((line) => line.startsWith("steering[0].ttlSeconds")), lines.join());
  }
  for (const steering of [{}, [null], [[]], 5]) {
    const checked = checkFleet(fleetValue({ steering }));
    assert(!checked.ok);
  }
  assert(!parseFleet("steering: 5").ok);
});

test("a checked value is left as it was", () => {
  const value = fleetValue({ steering: [geo({ ttlSeconds: 5 })] });
  const before = structuredClone(value);
  assert(checkFleet(value).ok);
  assert.deepEqual(value, before);
});

test("names are steered in at most 32 ways; as many as one likes may share one", () => {
  const names = (count: number, kinds: number): Record<string, unknown>[] =>
    Array.from({ length: count }, (_, n) => ({
      ...geo({ weights: { fra: n % kinds }, ttlSeconds: 20 + n }),
      name: `n${n}.cdn.test`,
    }));
  assert.deepEqual(linesOf(...names(32, 32)), []);
  assert.deepEqual(linesOf(...names(1000, 32)), []);
  assert.deepEqual(linesOf(...names(1000, 100)), [
    "steering[32]: is steered in yet another way; names may differ in at most 32 ways in policy, sites, weights, " +
      "overrides and withinKm",
  ]);
});
