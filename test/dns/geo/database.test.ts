import { silentLog, type Log } from "#base/log.ts";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { loadGeo } from "../../../dns/geo/database.ts";
import { parseIp } from "../../../dns/wire/address.ts";
import { bench } from "../support/fleet.ts";
import { writeMmdb } from "../support/mmdb-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "nearcast-geo-"));
after(() => {
  rmSync(folder, { recursive: true });
});

/** A log that keeps its warnings. */
function warningsOf(): { log: Log; warnings: unknown[] } {
  const warnings: unknown[] = [];
  const warn: Log["warn"] = (facts: unknown) => {
    warnings.push(facts);
  };
  const { debug, info, error, fatal } = silentLog;
  const log: Log = { debug, info, warn, error, fatal };
  return { log, warnings };
}

test("the default city database sends clients to the nearest of Frankfurt, New York and Tokyo", async () => {
  const { log, warnings } = warningsOf();
  const geo = await loadGeo({}, log);
  assert.deepEqual(warnings, []);
  assert.match(geo.description, /dbip-city-ipv4\.mmdb.*dbip-city-ipv6\.mmdb/);
  const { ask } = bench({ geo });
  const cases: readonly (readonly [string, string])[] = [
    ["133.11.1.0/24", "127.0.3.1"], // the University of Tokyo
    ["81.2.69.0/24", "127.0.1.1"], // London
    ["8.8.8.0/24", "127.0.2."], // the USA
    ["2001:200:0:0::/48", "127.0.3.1"], // WIDE, Japan
  ];
  for (const [subnet, address] of cases) {
    const answer = ask({ subnet });
    assert.ok(answer.answers[0]?.includes(` A ${address}`), `${subnet}: ${answer.answers.join()}`);
    const scope = Number(answer.subnet?.split("/")[2]);
    assert.ok(scope > 0 && scope <= 48, `${subnet}: ${answer.subnet}`);
  }
  const tokyo = parseIp("133.11.1.1");
  assert.ok(tokyo);
  assert.equal(geo.find(tokyo).place?.country, "JP");
});

test("missing and damaged files are named in a warning, and names are steered by the document's order", async () => {
  const cut = join(folder, "cut.mmdb");
  const text = join(folder, "text.mmdb");
  writeFileSync(
    cut,
    writeMmdb({ ipVersion: 4, databaseType: "x", records: { "8.0.0.0/8": { country_code: "US" } } }).subarray(0, 100),
  );
  writeFileSync(text, "this is a text, and certainly not a database of places of any kind");
  const { log, warnings } = warningsOf();
  const geo = await loadGeo({ files: [join(folder, "missing.mmdb"), cut, text] }, log);
  assert.equal(warnings.length, 3);
  assert.match(JSON.stringify(warnings), /missing\.mmdb.*cut\.mmdb.*text\.mmdb/);
  assert.equal(geo.description, "no geo data");
  const { answers, subnet } = bench({ geo }).ask({ subnet: "133.11.1.0/24" });
  assert.deepEqual([answers, subnet], [["img.cdn.test 30 A 127.0.1.1"], "133.11.1.0/24/0"]);
});

test("an IPv6 client is not looked up in a file that holds IPv4 only", async () => {
  const path = join(folder, "four.mmdb");
  // 2001:: begins with the octets 32 and 1: a reader that takes any address finds Tokyo there.
  writeFileSync(
    path,
    writeMmdb({ ipVersion: 4, databaseType: "x", records: { "0.0.0.0/1": { latitude: 35.5, longitude: 139.5 } } }),
  );
  const { ask } = bench({ geo: await loadGeo({ files: [path] }, silentLog) });
  assert.deepEqual(ask({ subnet: "32.1.0.0/24" }).answers, ["img.cdn.test 30 A 127.0.3.1"]);
  const six = ask({ subnet: "2001:db8::/32" });
  assert.deepEqual([six.answers, six.subnet], [["img.cdn.test 30 A 127.0.1.1"], "2001:db8::/32/0"]);
});

test("no files: no warning, no geo data", async () => {
  const { log, warnings } = warningsOf();
  assert.equal((await loadGeo({ files: [] }, log)).description, "no geo data");
  assert.deepEqual(warnings, []);
});
