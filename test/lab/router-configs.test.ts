/** What the lab tells its routers and nodes: read by BIRD itself. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { parseFleet } from "#document/read-document.ts";
import { edgeConfigSchema } from "../../node/config.ts";
import { check } from "#base/schema.ts";
import { edgeConfig, fleetDocument } from "./documents.ts";
import { cables, clients, cloudsOf, clouds, nodes, routers, sites } from "./plan.ts";
import { nodeBird, routerBird } from "./router-configs.ts";
import { needsProgram } from "../support/needs.ts";

function fleet() {
  const checked = parseFleet(fleetDocument());
  assert.ok(checked.ok, JSON.stringify(checked));
  return checked.value;
}

test("the fleet document and each edge's settings are good", () => {
  fleet();
  for (const node of nodes) {
    const checked = check(edgeConfigSchema, parse(edgeConfig(node)));
    assert.ok(checked.ok, JSON.stringify(checked));
  }
});

test("BIRD takes the configuration of every router and every node", async (t) => {
  if (!needsProgram(t, "bird")) return;
  const directory = await mkdtemp(join(tmpdir(), "nearcast-lab-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const passwordFile = join(directory, "password.conf");
  await writeFile(passwordFile, 'password "of the lab";\n');
  const texts = [
    ...routers.map((router) => [router, routerBird(fleet(), router)] as const),
    ...nodes.map(({ name, site }) => [name, nodeBird(fleet(), site, name, passwordFile)] as const),
  ];
  for (const [name, text] of texts) {
    const file = join(directory, `${name}.conf`);
    await writeFile(file, text);
    assert.doesNotThrow(() => execFileSync("bird", ["-p", "-c", file], { stdio: "pipe" }), name);
  }
});

test("every address stands once, and every interface's name fits", () => {
  const ends = cables.flatMap(({ a, b }) => [a, b]);
  for (const { namespace } of ends) assert.ok(namespace.length <= 15, namespace);
  // A site's router has one address on all its cables to nodes.
  const accessOnce = cables.flatMap(({ a, b, kind }) => (kind === "access" ? [a] : [a, b]));
  for (const key of ["address4", "address6"] as const) {
    const addresses = accessOnce.map((end) => end[key]);
    assert.equal(new Set(addresses).size, addresses.length, key);
  }
});

test("no site announces two clouds, so that a dead one never takes both nameservers", () => {
  assert.equal(clouds.length, 2);
  for (const { name } of sites) assert.equal(cloudsOf(name).length, 1, name);
  assert.deepEqual(
    new Set(clients.map(({ nearest }) => nearest)),
    new Set(sites.map(({ name }) => name)),
    "every site is the nearest of somebody",
  );
});
