/** Zone files on their way: beside a fleet document, into what is published, to the answers of an edge. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { Resolver } from "node:dns/promises";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { stringify } from "yaml";
import { fleetValue } from "../support/fleet.ts";
import { startWorld } from "../support/world.ts";
import { nearcast, temporaryFolder } from "./support/command.ts";

const start = "$TTL 300\n@ SOA ns1 host 9 3600 600 86400 50\n@ NS ns1\nns1 A 192.0.2.53\n";

test("check reads zone files beside the document and below it, and says why it does not read others", async (t) => {
  const outside = await temporaryFolder(t, "outside");
  const folder = await temporaryFolder(t, "zones");
  await mkdir(join(folder, "zones", "parts"), { recursive: true });
  await writeFile(join(outside, "secret.zone"), start);
  await symlink(join(outside, "secret.zone"), join(folder, "link.zone"));
  await symlink(join(folder, "zones", "good.zone"), join(folder, "inner-link.zone"));
  await promisify(execFile)("mkfifo", [join(folder, "pipe.zone")]);
  await writeFile(join(folder, "zones", "good.zone"), `${start}$INCLUDE parts/hosts\n`);
  await writeFile(join(folder, "zones", "parts", "hosts"), "$INCLUDE ../more\nwww A 192.0.2.1\n");
  await writeFile(join(folder, "zones", "more"), "more A 192.0.2.2\nmore 5 A 192.0.2.3\n");
  await writeFile(join(folder, "climbs.zone"), `${start}$INCLUDE ../../../../../../etc/hosts\n`);
  await writeFile(join(folder, "wrong.zone"), `${start}www A 192.0.2.256\n`);
  await writeFile(join(folder, "latin.zone"), Buffer.from(`${start}www TXT "\xe9"\n`, "latin1"));
  await writeFile(join(folder, "large.zone"), `${start};${" ".repeat(4 * 1024 * 1024)}\n`);
  await writeFile(join(folder, "many.zone"), start + "; 3456\n".repeat(500_000));
  const check = async (...zoneFiles: string[]): Promise<{ status: number; lines: string[]; notes: string }> => {
    const file = join(folder, "fleet.yaml");
    const zones = zoneFiles.map((zoneFile, index) => ({ name: `z${index}.test`, file: zoneFile }));
    await writeFile(file, stringify(fleetValue({ zones, hosts: [{ name: "img.z0.test", kind: "images" }] })));
    const { status, stdout, stderr } = await nearcast(["fleet", "check", file], { cwd: folder });
    return { status, lines: stdout.trimEnd().split("\n").slice(1), notes: stderr };
  };
  const rows: [zoneFile: string, line: RegExp][] = [
    ["missing.zone", /^ {2}zones\[0\]\.file \(line 3\): "missing\.zone" does not exist$/],
    ["/etc/hostname", /^ {2}zones\[1\]\.file \(line 5\): "\/etc\/hostname" must be a relative path$/],
    ["link.zone", /"link\.zone" must be in the directory of the fleet document or below it$/],
    ["zones", /"zones" is not a regular file$/],
    ["pipe.zone", /"pipe\.zone" is not a regular file$/],
    ["latin.zone", /"latin\.zone" is not valid UTF-8; write other octets as \\DDD$/],
    ["large.zone", /"large\.zone" has 4194376 bytes; at most 4194304 are allowed$/],
    ["wrong.zone", /^ {2}wrong\.zone, line 5, column 7: the address must be an IPv4 address \(got "192\.0\.2\.256"\)$/],
    ["climbs.zone", /^ {2}climbs\.zone, line 5, column 10: ".*hosts" (must be in the directory of|does not exist)/],
  ];
  const all = await check(...rows.map(([zoneFile]) => zoneFile));
  assert.equal(all.status, 2);
  assert.equal(all.lines.length, rows.length, all.lines.join("\n"));
  for (const [index, [, line]] of rows.entries()) assert.match(all.lines[index] ?? "", line);

  const large = await check("many.zone");
  assert.deepEqual(
    [large.status, large.lines],
    [2, ["  the document is too large; at most 4194304 bytes are allowed"]],
  );

  const good = await check("zones/good.zone", "inner-link.zone", "./zones/../zones/good.zone");
  assert.equal(good.status, 0);
  const warnings = [0, 1, 2].map(
    (zone) =>
      `warning: zones/more, line 2: the TTL 5 of more.z${zone}.test. A is ignored: the first record of this RRset ` +
      "has 300 (zones/more:1)\n",
  );
  // The three zones share their nameserver's address: that is one thing to mend.
  const unwise = [
    "warning: zones[0] (line 2): 192.0.2.53, the address of the nameservers ns1.z0.test, ns1.z1.test, ns1.z2.test, " +
      "belongs to no node of this fleet (use the address of a node, or join the machine that has it; " +
      "ignore this if other DNS software answers there)\n",
    "warning: hosts[0].name (line 28): img.z0.test has no address in its zone " +
      "(add it to steering, or add a record for it)\n",
  ];
  assert.equal(good.notes, [...warnings, ...unwise].join(""));
});

test("apply publishes the zone files' text, edges answer from it, a rollback brings the old one back", async (t) => {
  const world = await startWorld(t, ["fra"]);
  const folder = join(world.directory, "written");
  await mkdir(folder);
  const file = join(folder, "fleet.yaml");
  const token = join(world.directory, "origin", "secrets", "writer.token");
  const { host, port } = world.edge("fra").dns;
  const fleet = { ...world.fleet(), zones: [{ name: "cdn.test", file: "cdn.zone" }] };
  await writeFile(file, stringify(fleet));
  await writeFile(join(folder, "hosts"), "www 77 A 192.0.2.81\n$GENERATE 1-3 h$ A 192.0.2.$\n");
  await writeFile(join(folder, "cdn.zone"), `${start}$INCLUDE hosts sub\n@ ALIAS img\n`);

  const refused = await world.api("PUT", "/fleet", fleet, [422]);
  assert.match(await refused.text(), /zones\[0\]\.file \(line \d+\): .*publish with `nearcast fleet apply`/);
  const applied = await nearcast(["fleet", "apply", file, "--yes", "--origin", world.originUrl, "--token-file", token]);
  assert.equal(applied.status, 0, applied.stderr);
  assert.match(applied.stdout, /^published as version 2 \(zone cdn\.test changed/);
  const { text } = (await (await world.api("GET", "/fleet")).json()) as { text: string };
  assert.match(text, /text: \|\n +\$TTL 300\n[\s\S]*\$ORIGIN sub\.cdn\.test\.\n +www 77 A 192\.0\.2\.81\n/);

  const resolver = new Resolver({ timeout: 1000, tries: 2 });
  resolver.setServers([`${host}:${port}`]);
  const addressesOf = async (name: string): Promise<string[]> => {
    try {
      const found = await resolver.resolve4(name, { ttl: true });
      return found.map(({ ttl, address }) => `${ttl} ${address}`);
    } catch (error) {
      return [(error as NodeJS.ErrnoException).code ?? ""];
    }
  };
  const until = async (name: string, wanted: readonly string[]): Promise<void> => {
    const deadline = Date.now() + 10_000;
    let got = await addressesOf(name);
    while (String(got) !== String(wanted)) {
      assert(Date.now() < deadline, `${name}: ${got.join(", ")}`);
      await pause(50);
      got = await addressesOf(name);
    }
  };
  await until("www.sub.cdn.test", ["77 192.0.2.81"]);
  assert.deepEqual(await addressesOf("h3.sub.cdn.test"), ["300 192.0.2.3"]);
  // By the ALIAS at the apex: the address of the site, as img.cdn.test has it.
  assert.match((await addressesOf("cdn.test")).join(), /^\d+ 127\.[\d.]+$/);

  const back = await nearcast(["fleet", "rollback", "--force", "--origin", world.originUrl, "--token-file", token]);
  assert.equal(back.status, 0, back.stderr);
  await until("www.sub.cdn.test", ["ENOTFOUND"]);
  const forth = await nearcast(["fleet", "rollback", "2", "--origin", world.originUrl, "--token-file", token]);
  assert.equal(forth.status, 0, forth.stderr);
  await until("www.sub.cdn.test", ["77 192.0.2.81"]);
});
