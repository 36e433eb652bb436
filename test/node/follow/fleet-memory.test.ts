import assert from "node:assert/strict";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { stringify } from "yaml";
import { openFleetMemory } from "#follow/fleet-memory.ts";
import { fleetValue } from "../../support/fleet.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const text = stringify(fleetValue());

test("what was stored is there after a restart", async (t) => {
  const directory = join(await temporaryDirectory(t), "deep", "er");
  const memory = await openFleetMemory(directory);
  assert.equal(await memory.loadFleet(), null);
  assert.equal(await memory.loadPosition(), null);
  await memory.storeFleet(3, text);
  await memory.storePosition({ originId: "o", seq: 9 });
  const again = await openFleetMemory(directory);
  assert.equal((await again.loadFleet())?.version, 3);
  assert.deepEqual(await again.loadPosition(), { originId: "o", seq: 9 });
});

test("the fleet secret is kept for the owner's eyes only, also where an older file was not", async (t) => {
  const directory = await temporaryDirectory(t);
  const memory = await openFleetMemory(directory);
  assert.equal(await memory.loadSecrets(), null);
  const file = join(directory, "secret.json");
  await writeFile(file, "{}", { mode: 0o644 });
  const first = { current: "A".repeat(43) };
  const second = { current: "B".repeat(43), previous: first.current };
  for (const secrets of [first, second]) {
    await memory.storeSecrets(secrets);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.deepEqual(await (await openFleetMemory(directory)).loadSecrets(), secrets);
  }
  for (const content of [
    "",
    "{",
    "null",
    "{}",
    '{"current":"short"}',
    `{"current":"${"A".repeat(43)}","previous":1}`,
  ]) {
    await writeFile(file, content);
    assert.equal(await memory.loadSecrets(), null, content);
  }
});

test("the roster is kept; a damaged one is none", async (t) => {
  const directory = await temporaryDirectory(t);
  const memory = await openFleetMemory(directory);
  assert.equal(await memory.loadRoster(), null);
  const node = { name: "fra2", site: "fra", http: "http://10.0.0.2", addresses: ["10.0.0.2"] };
  const roster = { revision: 4, nodes: [node], draining: ["fra1"] };
  await memory.storeRoster(roster);
  assert.deepEqual(await (await openFleetMemory(directory)).loadRoster(), roster);
  for (const content of ["", "{}", '{"revision":-1,"nodes":[],"draining":[]}', '{"revision":1,"nodes":[{}]}']) {
    await writeFile(join(directory, "roster.json"), content);
    assert.equal(await memory.loadRoster(), null, content);
  }
});

test("two versions that arrive together do not harm each other; the later one stays", async (t) => {
  const directory = await temporaryDirectory(t);
  const memory = await openFleetMemory(directory);
  const versions = Array.from({ length: 10 }, (_, index) => index + 1);
  await Promise.all(
    versions.map((version) => memory.storeFleet(version, `${text}#${"x".repeat(50_000 * (version % 3))}`)),
  );
  assert.equal((await memory.loadFleet())?.version, 10);
});

test("a damaged file is as if nothing were remembered", async (t) => {
  const directory = await temporaryDirectory(t);
  const rows = [
    "",
    "{",
    "null",
    "[]",
    '{"version":"3","text":""}',
    '{"version":1}',
    '{"version":1,"text":"zones: ["}',
    '{"version":1,"text":"a: 1"}',
    "\u0000\u0000",
  ];
  const memory = await openFleetMemory(directory);
  for (const content of rows) {
    await writeFile(join(directory, "fleet.json"), content);
    await writeFile(join(directory, "feed.json"), content);
    assert.equal(await memory.loadFleet(), null, content);
    assert.equal(await memory.loadPosition(), null, content);
  }
  for (const content of ['{"originId":"a","seq":-1}', '{"originId":3,"seq":1}', '{"originId":"a","seq":1.5}']) {
    await writeFile(join(directory, "feed.json"), content);
    assert.equal(await memory.loadPosition(), null, content);
  }
});
