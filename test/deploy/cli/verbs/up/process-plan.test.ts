import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFleet } from "#document/read-document.ts";
import { CommandFailure } from "../../../../../deploy/cli/exit-codes.ts";
import { cities } from "../../../../../deploy/cli/verbs/up/cities.ts";
import { firstFleet } from "../../../../../deploy/cli/verbs/up/first-fleet.ts";
import { parseBaseAddress, parseSites, planEdges } from "../../../../../deploy/cli/verbs/up/process-plan.ts";

test("one edge shares the origin's address; sites stand on the addresses after it", () => {
  const addressesOf = (sites: string[], base: string): string[] => planEdges(sites, base).map(({ address }) => address);
  assert.deepEqual(addressesOf(["local"], "127.0.0.1"), ["127.0.0.1"]);
  assert.deepEqual(addressesOf(["fra", "nyc", "tyo"], "127.0.0.1"), ["127.0.1.1", "127.0.2.1", "127.0.3.1"]);
  assert.deepEqual(addressesOf(["fra"], "127.0.9.1"), ["127.0.10.1"]);
  assert.throws(() => planEdges(["fra", "nyc"], "127.0.254.1"), CommandFailure);
});

test("several nodes of a site stand beside each other, and have names of their own", () => {
  const planned = planEdges(["fra", "nyc"], "127.0.0.1", 2).map(({ node, site, address }) => [node, site, address]);
  assert.deepEqual(planned, [
    ["fra1", "fra", "127.0.1.1"],
    ["fra2", "fra", "127.0.1.2"],
    ["nyc1", "nyc", "127.0.2.1"],
    ["nyc2", "nyc", "127.0.2.2"],
  ]);
  assert.deepEqual(
    planEdges(["local"], "127.0.9.1", 2).map(({ address }) => address),
    ["127.0.9.1", "127.0.9.2"],
  );
  assert.throws(() => planEdges(["fra"], "127.0.0.250", 8), CommandFailure);
  assert.throws(() => planEdges([...cities.keys()].slice(0, 16), "127.0.0.1", 2), CommandFailure);
});

test("an unknown site is refused with a list of the known ones", () => {
  assert.deepEqual(parseSites(" fra, NYC ,tyo"), ["fra", "nyc", "tyo"]);
  assert.throws(
    () => parseSites("fra,xyz"),
    (error: unknown) => {
      assert.ok(error instanceof CommandFailure);
      assert.match(error.message, /"xyz"/);
      for (const code of cities.keys()) assert.ok(error.lines.join(" ").includes(code), code);
      return true;
    },
  );
  for (const sites of ["", ",", "fra,fra", [...cities.keys()].join(",")]) {
    assert.throws(() => parseSites(sites), CommandFailure, sites);
  }
});

test("only a loopback address may be the base of a trial", () => {
  assert.equal(parseBaseAddress("127.0.9.1"), "127.0.9.1");
  for (const address of ["10.0.0.1", "::1", "localhost", "127.0.0.256"]) {
    assert.throws(() => parseBaseAddress(address), CommandFailure, address);
  }
});

test("every city has a code, a place on earth and a country", () => {
  assert.ok(cities.size >= 40);
  for (const [code, { city, country, latitude, longitude }] of cities) {
    assert.match(code, /^[a-z]{3}$/, code);
    assert.match(country, /^[A-Z]{2}$/, code);
    assert.ok(city !== "" && Math.abs(latitude) <= 70 && Math.abs(longitude) <= 180, code);
  }
});

test("the first fleet document is valid for any number of sites", () => {
  for (const [nodes, sites] of [
    [1, ["local"]],
    [2, ["fra", "nyc", "tyo"]],
    [1, [...cities.keys()].slice(0, 16)],
  ] as const) {
    const edges = planEdges(sites, "127.0.0.1", nodes).map((edge) => ({ ...edge, httpPort: 8080 }));
    const checked = parseFleet(firstFleet(edges));
    assert.ok(checked.ok, sites.join(","));
    assert.ok(checked.value.sites.every((site) => site.nodes.length === nodes));
    assert.deepEqual(
      checked.value.sites.map(({ name }) => name),
      sites,
    );
  }
});
