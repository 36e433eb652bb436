import assert from "node:assert/strict";
import { test } from "node:test";
import { check } from "#base/schema.ts";
import { edgeConfigSchema, type EdgeConfig } from "../../../../node/config.ts";
import { dnsOptions } from "../../../../node/edge/phases/dns-responder.ts";
import { alone } from "../../../../node/processes/process-share.ts";

function edgeConfig(dns: object = {}): EdgeConfig {
  const origin = { url: "http://127.0.0.1:1", tokenFile: "token" };
  const checked = check(edgeConfigSchema, { node: "fra1", site: "fra", origin, dns });
  assert.ok(checked.ok, JSON.stringify(checked));
  return checked.value;
}

test("the settings become the responder's options", () => {
  const optionsOf = (dns: object): ReturnType<typeof dnsOptions> => dnsOptions(edgeConfig(dns), alone);
  assert.deepEqual(optionsOf({}), {
    addresses: [{ host: "127.0.0.1", port: 5300 }],
    site: "fra",
    geo: {},
    geoCheckMs: 30_000,
    threads: 1,
    guard: { responsesPerSecond: 1000, slip: 2, amplificationMax: 3 },
    identity: { nsid: "fra1", id: "fra1" },
    sharesPorts: false,
    bindsLate: true,
  });
  const geo = { geoFiles: [], asnFile: "/asn.mmdb" };
  const identity = { nsid: "", id: "frankfurt", version: "nearcast" };
  const rest = optionsOf({ ...geo, identity, threads: 0, responsesPerSecond: 0, slip: 1, amplificationMax: 0 });
  assert.deepEqual(rest.geo, { files: [], asnFile: "/asn.mmdb" });
  assert.deepEqual(rest.identity, { id: "frankfurt", version: "nearcast" });
  assert.deepEqual(rest.guard, { responsesPerSecond: 0, slip: 1, amplificationMax: 0 });
  assert.equal(rest.threads, 0);
  const { threads } = optionsOf({ threads: "auto" });
  assert.ok(Number.isInteger(threads) && threads >= 1, `${threads}`);
});

test("settings outside their range are refused with the allowed range", () => {
  const rows: [dns: object, path: string, message: RegExp][] = [
    [{ threads: 65 }, "dns.threads", /65 is above the maximum of 64/],
    [{ threads: -1 }, "dns.threads", /-1 is below the minimum of 0/],
    [{ threads: 1.5 }, "dns.threads", /1.5 .*auto/],
    [{ threads: "many" }, "dns.threads", /"many" .*auto/],
    [{ responsesPerSecond: -1 }, "dns.responsesPerSecond", /-1 is below the minimum of 0/],
    [{ slip: 11 }, "dns.slip", /11 is above the maximum of 10/],
    [{ amplificationMax: 101 }, "dns.amplificationMax", /101 is above the maximum of 100/],
    [{ identity: { nsid: "ü" } }, "dns.identity.nsid", /"ü"/],
    [{ identity: { version: "x".repeat(256) } }, "dns.identity.version", /at most 255 characters/],
    [{ identity: { hostname: "x" } }, "dns.identity.hostname", /not a known key/],
    [{ asnFile: "" }, "dns.asnFile", /at least 1 character/],
  ];
  const origin = { url: "http://127.0.0.1:1", tokenFile: "token" };
  for (const [dns, path, message] of rows) {
    const checked = check(edgeConfigSchema, { node: "fra1", site: "fra", origin, dns });
    assert.ok(!checked.ok, JSON.stringify(dns));
    assert.deepEqual(
      checked.problems.map((problem) => problem.path),
      [path],
      JSON.stringify(checked.problems),
    );
    assert.match(checked.problems[0]?.message ?? "", message);
  }
});
