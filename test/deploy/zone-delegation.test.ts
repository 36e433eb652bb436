/** `nearcast zone delegation` as a command: what it prints, and its exit codes. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { nearcast, temporaryFolder } from "./support/command.ts";

const minimal = fileURLToPath(new URL("../../deploy/config/fleet.minimal.yaml", import.meta.url));

interface Answer {
  ok: boolean;
  zones: { zone: string; records: string[]; checked?: { problem?: string } }[];
}

test("it prints the records of a document without asking anyone", async () => {
  const { status, stdout } = await nearcast(["zone", "delegation", "--file", minimal, "--no-check"]);
  assert.equal(status, 0);
  assert.match(stdout, /^ {2}cdn\.example\.com\. {6}NS {4}ns1\.cdn\.example\.com\.$/m);
  assert.match(stdout, /^ {2}ns2\.cdn\.example\.com\. {2}A {5}192\.0\.2\.10$/m);
  assert.match(stdout, /Add no DS record: nearcast does not sign zones/);
});

test("an unknown zone and a bad resolver are wrong usage", async () => {
  const unknown = await nearcast(["zone", "delegation", "cdn.example.con", "--file", minimal, "--no-check"]);
  assert.deepEqual([unknown.status, unknown.stdout], [2, ""]);
  assert.match(unknown.stderr, /no zone "cdn\.example\.con"[\s\S]*cdn\.example\.com/);
  const resolver = await nearcast(["zone", "delegation", "--file", minimal, "--resolver", "here"]);
  assert.equal(resolver.status, 2);
});

test("where nothing can be reached it says so, still prints, and ends with 3", async (t) => {
  const file = join(await temporaryFolder(t, "delegation"), "fleet.yaml");
  const text = `
zones:
  - { name: cdn.nearcast-zone.net, nameservers: [{ name: ns1.nearcast-zone.org. }] }
sites: [{ name: fra, place: { latitude: 50.11, longitude: 8.68 } }]
hosts: [{ name: img.cdn.nearcast-zone.net, kind: images }]
`;
  await writeFile(file, text);
  // Nobody listens on port 1 of loopback.
  const asked = ["zone", "delegation", "--file", file, "--resolver", "127.0.0.1:1", "--json"];
  const { status, json } = await nearcast(asked);
  const answer = json() as Answer;
  assert.equal(status, 3);
  assert.equal(answer.ok, false);
  assert.deepEqual(answer.zones[0]?.records, ["cdn.nearcast-zone.net.  NS    ns1.nearcast-zone.org."]);
  assert.match(answer.zones[0]?.checked?.problem ?? "", /^the resolver 127\.0\.0\.1 port 1 does not answer/);
});
