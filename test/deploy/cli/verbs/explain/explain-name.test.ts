import assert from "node:assert/strict";
import { test } from "node:test";
import { nameLines } from "../../../../../deploy/cli/verbs/explain/explain-name.ts";

const client = { ip: "133.11.1.1", latitude: 35.69, longitude: 139.692, country: "JP", city: "Tokyo", asn: 2501 };
const tokyo = { site: "tyo", state: "up", distanceKm: 5, weight: null, keptShare: 0.8, isCandidate: true };
const steering = {
  policy: "geo",
  rule: "distance",
  why: "tyo is the nearest, 5 km away",
  chosen: "tyo",
  addresses: ["192.0.2.3", "192.0.2.4"],
  ttlSeconds: 27,
  ttlReason: "since the answer can change with the state of site tyo in 27 s at the earliest",
  scope: "133.11.0.0/16",
  scopePrefixLength: 16,
  standing: "up",
  client,
  candidates: [
    { ...tokyo, preference: 1, isChosen: true },
    { ...tokyo, site: "fra", distanceKm: 9300, keptShare: 1, preference: 2, isChosen: false },
    { ...tokyo, site: "nyc", state: "down", distanceKm: null, keptShare: 1, isCandidate: false, preference: null },
  ],
};
const steered = {
  outcome: "steered",
  name: "www.cdn.test",
  type: "A",
  zone: "cdn.test",
  aliases: ["img.cdn.test"],
  aliasTarget: null,
  wildcard: "*.cdn.test",
  steering,
  hints: [],
};

test("a steered answer: who gets it, by which rule, for how long, and who else could have been named", () => {
  assert.deepEqual(nameLines(steered), [
    "www.cdn.test A for 133.11.1.1 in Tokyo, JP (35.69, 139.69), AS2501",
    "  answer    192.0.2.3, 192.0.2.4  (site tyo)",
    "  rule      geo, distance: tyo is the nearest, 5 km away",
    "  scope     133.11.0.0/16: all clients in it get this answer",
    "  TTL       27 s, since the answer can change with the state of site tyo in 27 s at the earliest",
    "  zone      cdn.test",
    "  aliases   www.cdn.test → img.cdn.test",
    "  wildcard  *.cdn.test matches the name",
    "",
    "SITE  STATE  KM    KEEPS  WEIGHT  CHOICE",
    "tyo   up     5     80 %   -       chosen",
    "fra   up     9300  100 %  -       rank 2",
    "nyc   down   -     100 %  -       not a candidate",
  ]);
});

test("what does not depend on the client says so; when no site is up, why there is an answer at all", () => {
  const nowhere = { ip: "192.0.2.1", latitude: null, longitude: null, country: null, city: null, asn: null };
  const everywhere = {
    ...steering,
    policy: "anycast",
    rule: "anycast",
    chosen: null,
    scope: "0.0.0.0/0",
    scopePrefixLength: 0,
    standing: "all",
    client: nowhere,
    candidates: [],
  };
  const lines = nameLines({ ...steered, aliases: [], wildcard: null, steering: everywhere });
  assert.equal(lines[0], "www.cdn.test A for 192.0.2.1, location unknown");
  assert.equal(lines[1], "  answer  192.0.2.3, 192.0.2.4");
  assert.ok(lines.includes("  rule    anycast: tyo is the nearest, 5 km away"), lines.join("\n"));
  assert.ok(lines.some((line) => line.startsWith("  sites   no site is up or draining: all sites are candidates")));
  assert.ok(lines.includes("  scope   0.0.0.0/0: every client gets this answer"));
  assert.equal(lines.at(-1), "  zone    cdn.test");
});

test("each other outcome is reported in words", () => {
  const rows: [body: Record<string, unknown>, line: RegExp][] = [
    [{ outcome: "records", zone: "cdn.test", steering: null }, /answer +the zone's records, the same for every client/],
    [{ outcome: "nodata", zone: "cdn.test", steering: null }, /answer +none: .*NODATA/],
    [{ outcome: "nxdomain", zone: "cdn.test", steering: null }, /answer +none: .*NXDOMAIN/],
    [{ outcome: "yxdomain", zone: "cdn.test", steering: null }, /answer +none: .*YXDOMAIN/],
    [{ outcome: "referral", zone: "cdn.test", steering: null }, /answer +a referral/],
    [{ outcome: "refused", reason: "the name lies in none of the zones" }, /REFUSED: the name lies in none of the/],
    [{ outcome: "invalid", reason: '"x" is not a record type' }, /none: "x" is not a record type/],
    [{ outcome: "of a later release" }, /answer +of a later release/],
  ];
  for (const [body, line] of rows) {
    const text = nameLines({ name: "x.cdn.test", type: "A", ...body }).join("\n");
    assert.match(text, /^x\.cdn\.test A\n/);
    assert.match(text, line);
  }
  assert.deepEqual(nameLines({}), ["", "  answer  "]);
});

test("address hints of HTTPS records are reported family by family", () => {
  const hints = [{ ipv4: steering, ipv6: { ...steering, addresses: [], chosen: null, why: "no site has one" } }];
  const lines = nameLines({ name: "cdn.test", type: "HTTPS", outcome: "records", steering: null, hints });
  assert.ok(lines.includes("  ipv4hint  192.0.2.3, 192.0.2.4  (site tyo): tyo is the nearest, 5 km away"));
  assert.ok(lines.includes("  ipv6hint  none: no site has one"));
});
