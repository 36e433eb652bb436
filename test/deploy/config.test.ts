/** The commented examples in deploy/config are complete and valid: they are the manual. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadConfig } from "#base/read-config.ts";
import { ownerOf } from "#record/domain-names.ts";
import { parseFleet } from "#document/read-document.ts";
import { parse } from "yaml";
import { edgeConfigSchema } from "../../node/config.ts";
import { loadOriginConfig, originConfigSchema } from "../../origin/config.ts";

const fileOf = (name: string): string => fileURLToPath(new URL(`../../deploy/config/${name}`, import.meta.url));

test("the example fleet document is valid and shows every section, record type and host kind", async () => {
  const checked = parseFleet(await readFile(fileOf("fleet.example.yaml"), "utf8"));
  assert.ok(checked.ok, checked.ok ? "" : JSON.stringify(checked.problems));
  const written = parse(await readFile(fileOf("fleet.example.yaml"), "utf8")) as Record<string, unknown>;
  assert.deepEqual(Object.keys(written).toSorted(), Object.keys(checked.value).toSorted());
  const types = checked.value.zones.flatMap(({ records }) => records.map(({ type }) => type));
  const all = ["A", "AAAA", "ALIAS", "CAA", "CNAME", "DNAME", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "RAW"];
  assert.deepEqual([...new Set(types)].toSorted(), [...all, "SRV", "SSHFP", "SVCB", "TLSA", "TXT"]);
  assert.deepEqual([...new Set(checked.value.hosts.map(({ kind }) => kind))].toSorted(), ["assets", "images"]);
});

test("the example document promises no protocol for the names in its zones that nothing here speaks", async () => {
  const checked = parseFleet(await readFile(fileOf("fleet.example.yaml"), "utf8"));
  assert.ok(checked.ok);
  for (const { name, records } of checked.value.zones) {
    for (const record of records) {
      if (record.type !== "HTTPS" && record.type !== "SVCB") continue;
      // An HTTPS record alone already turns http into https (RFC 9460 section 9.5).
      const target = ownerOf(record.target, name);
      assert.ok(
        record.target !== "." && !target.endsWith(`.${name}`),
        `${record.name} ${record.type} points to ${target}`,
      );
    }
  }
});

test("the minimal fleet document is valid, has at most 15 lines and only the sections that are needed", async () => {
  const text = await readFile(fileOf("fleet.minimal.yaml"), "utf8");
  assert.ok(text.trimEnd().split("\n").length <= 15);
  const checked = parseFleet(text);
  assert.ok(checked.ok, checked.ok ? "" : JSON.stringify(checked.problems));
  assert.deepEqual(Object.keys(parse(text) as object), ["zones", "sites", "hosts", "steering"]);
});

test("the example settings of an edge are valid and name every section", async () => {
  const config = await loadConfig(edgeConfigSchema, fileOf("edge.example.yaml"), "NEARCAST_EDGE", {});
  const written = parse(await readFile(fileOf("edge.example.yaml"), "utf8")) as Record<string, unknown>;
  assert.deepEqual(Object.keys(written).toSorted(), Object.keys(edgeConfigSchema.properties).toSorted());
  assert.equal(config.node, "fra1");
});

test("the example settings of the origin are valid and name every section", async () => {
  const config = await loadOriginConfig({ file: fileOf("origin.example.yaml") });
  const written = parse(await readFile(fileOf("origin.example.yaml"), "utf8")) as Record<string, unknown>;
  assert.deepEqual(Object.keys(written).toSorted(), Object.keys(originConfigSchema.properties).toSorted());
  assert.equal(config.listen.port, 7070);
});
