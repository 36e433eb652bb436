/** deploy/sysctl: every key exists in this kernel, or is marked as one that may be missing; each has its reason. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { platform } from "node:os";
import { test } from "node:test";
import { needs } from "../support/needs.ts";

const file = new URL("../../deploy/sysctl/90-nearcast.conf", import.meta.url);

interface Setting {
  key: string;
  value: string;
  mayBeMissing: boolean;
}

function settingsIn(text: string): Setting[] {
  return text.split("\n").flatMap((line) => {
    const [, minus, key, value] = /^(-?)([a-z0-9_.-]+) = (.+)$/.exec(line) ?? [];
    return key === undefined || value === undefined ? [] : [{ key, value, mayBeMissing: minus === "-" }];
  });
}

test("each key is one of this kernel's, or may be missing", async (t) => {
  if (!needs(t, platform() === "linux", "sysctl settings are Linux'")) return;
  const settings = settingsIn(await readFile(file, "utf8"));
  assert.ok(settings.length > 20);
  const unknown = settings.filter(
    ({ key, mayBeMissing }) => !mayBeMissing && !existsSync(`/proc/sys/${key.replaceAll(".", "/")}`),
  );
  assert.deepEqual(unknown, []);
  assert.equal(new Set(settings.map(({ key }) => key)).size, settings.length, "none is there twice");
});

test("every paragraph begins with the reason", async () => {
  const paragraphs = (await readFile(file, "utf8")).trim().split("\n\n");
  for (const paragraph of paragraphs) assert.match(paragraph, /^# \S/, paragraph);
  const strange = paragraphs
    .join("\n")
    .split("\n")
    .filter((line) => !line.startsWith("#") && settingsIn(line).length === 0);
  assert.deepEqual(strange, []);
});

test("anycast's needs are among them", async () => {
  const values = new Map(settingsIn(await readFile(file, "utf8")).map(({ key, value }) => [key, value]));
  assert.deepEqual(
    ["all.rp_filter", "default.rp_filter", "all.arp_ignore", "all.arp_announce"].map((key) =>
      values.get(`net.ipv4.conf.${key}`),
    ),
    ["2", "2", "1", "2"],
  );
});
