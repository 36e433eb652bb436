/** The systemd units: systemd finds no fault with them, nor much to attack, and they name what there is. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { needsProgram } from "../support/needs.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { installer } from "./support/installed.ts";

const units = fileURLToPath(new URL("../../deploy/systemd/", import.meta.url));
const names = ["nearcast-addresses", "nearcast-daisy", "nearcast-edge", "nearcast-lease-guard", "nearcast-origin"];

async function analyze(...words: string[]): Promise<{ isGood: boolean; said: string }> {
  return await new Promise((resolve) => {
    execFile("systemd-analyze", words, (error, stdout, stderr) => {
      resolve({ isGood: error === null, said: stdout + stderr });
    });
  });
}

async function settingsOf(name: string): Promise<Map<string, string[]>> {
  const settings = new Map<string, string[]>();
  for (const line of (await readFile(join(units, name), "utf8")).split("\n")) {
    const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) settings.set(key, [...(settings.get(key) ?? []), value]);
  }
  return settings;
}

test("systemd takes every unit as install.sh puts it, with all that it runs", async (t) => {
  if (!needsProgram(t, "systemd-analyze")) return;
  const { root, run, node, release } = await installer(t);
  const installed = await run("--origin", "--edge", "--package", await release("1.2.3"), ...node);
  assert.equal(installed.status, 0, installed.stderr);
  // The system's own targets, and a BIRD for the drop-in.
  await cp("/lib/systemd/system", join(root, "lib/systemd/system"), { recursive: true, verbatimSymlinks: true });
  const bird = "[Service]\nExecStart=/opt/nearcast/node/bin/node\n";
  await writeFile(join(root, "etc/systemd/system/bird.service"), bird);
  assert.deepEqual(
    (await readdir(units)).filter((file) => file.endsWith(".service")).toSorted(),
    names.map((name) => `${name}.service`),
  );
  for (const name of [...names, "bird"]) {
    const { isGood, said } = await analyze("verify", "--man=no", `--root=${root}`, `${name}.service`);
    // Faults of other units of this machine are none of ours.
    const ours = said.split("\n").filter((line) => /nearcast|bird/.test(line));
    assert.deepEqual(ours, [], `${name}: ${isGood}`);
  }
});

test("systemd's own measure of exposure stays low", async (t) => {
  if (!needsProgram(t, "systemd-analyze")) return;
  for (const name of names) {
    // In tenths: 2.9 of 10. MemoryDenyWriteExecute is missing for V8, the network for all.
    const words = ["security", "--no-pager", "--offline=true", "--threshold=29", join(units, `${name}.service`)];
    const { isGood, said } = await analyze(...words);
    assert.ok(isGood, said.split("\n").slice(-3).join("\n"));
  }
});

test("the edge's unit: restarts for ever, drains in time, may use low ports and nothing else of root's", async () => {
  const edge = await settingsOf("nearcast-edge.service");
  const wanted: Record<string, string> = {
    Type: "notify",
    WatchdogSec: "10",
    Restart: "always",
    KillMode: "mixed",
    StartLimitIntervalSec: "0",
    AmbientCapabilities: "CAP_NET_BIND_SERVICE",
    CapabilityBoundingSet: "CAP_NET_BIND_SERVICE",
    User: "nearcast",
    OOMPolicy: "continue",
  };
  for (const [key, value] of Object.entries(wanted)) assert.deepEqual(edge.get(key), [value], key);
  // drainMs twice and announce.shutdownMs as they are by default, and the longest answer.
  assert.ok(Number(edge.get("TimeoutStopSec")?.[0]) > 2 * 15 + 10 + 30);
  assert.ok(!edge.has("MemoryDenyWriteExecute"), "V8 writes the code that it runs");
  assert.ok(edge.get("SystemCallFilter")?.[0]?.split(" ").includes("seccomp"), "decoders lock themselves in");
  assert.equal((await readdir(units)).filter((file) => file.endsWith(".socket")).length, 0);
});

test("units that load nftables rules follow nftables.service, which flushes the whole ruleset", async () => {
  for (const name of ["nearcast-lease-guard", "nearcast-daisy"]) {
    const settings = await settingsOf(`${name}.service`);
    for (const key of ["After", "PartOf", "ReloadPropagatedFrom"]) {
      assert.ok(settings.get(key)?.[0]?.split(" ").includes("nftables.service"), `${name}: ${key}`);
    }
    assert.ok(settings.has("ExecReload"), name);
    assert.deepEqual(settings.get("ExecReload"), settings.get("ExecStart"), name);
  }
});

test("service addresses are put on lo, whatever else stands in the file", async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, "addresses");
  await writeFile(file, "# a comment\n\n198.51.100.53/32\n2001:db8:a::53/128 more\n");
  // An `ip` that only says what it was told: the real one would change this machine.
  const bin = join(directory, "bin");
  await mkdir(bin);
  await writeFile(join(bin, "ip"), '#!/bin/sh\necho "$@"\n', { mode: 0o755 });
  const said = await new Promise<string>((resolve, reject) => {
    const env = { PATH: `${bin}:/usr/bin:/bin` };
    execFile(join(units, "service-addresses.sh"), [file], { env }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(error);
    });
  });
  assert.deepEqual(said.trim().split("\n"), [
    "-4 address replace 198.51.100.53/32 dev lo",
    "-6 address replace 2001:db8:a::53/128 dev lo nodad preferred_lft 0",
  ]);
});
