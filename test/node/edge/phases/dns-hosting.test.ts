import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { NearcastError } from "#base/errors.ts";
import { check } from "#base/schema.ts";
import { edgeConfigSchema, type EdgeConfig } from "../../../../node/config.ts";
import { type DnsPart, openDnsHosting, type StartDns } from "../../../../node/edge/phases/dns-hosting.ts";
import { fleetWith } from "../../../support/fleet.ts";
import { keptLog } from "../../../support/kept-log.ts";

function edgeConfig(dns: object = {}): EdgeConfig {
  const origin = { url: "http://127.0.0.1:1", tokenFile: "token" };
  const checked = check(edgeConfigSchema, { node: "fra1", site: "fra", origin, dns });
  assert.ok(checked.ok, JSON.stringify(checked));
  return checked.value;
}

const zeros = { truncated: 0, clientSubnets: 0, steered: 0, failures: 0, sendErrors: 0, cookiesValid: 0 };
const moreZeros = { cookiesInvalid: 0, batches: 0, tcpAccepted: 0, tcpRefused: 0, tcpCut: 0 };

/** A responder that says what it was told, and takes each update when the test lets it. */
function scriptedDns() {
  const told: unknown[] = [];
  const updates: { version: number; done: PromiseWithResolvers<void> }[] = [];
  const part: DnsPart = {
    update: async ({ version, keptShares }) => {
      const done = Promise.withResolvers<void>();
      updates.push({ version, done });
      told.push(["update", version, Object.fromEntries(keptShares)]);
      await done.promise;
    },
    setSoonestChanges: (msBySite) => told.push(["soonest", Object.fromEntries(msBySite)]),
    setCookieSecrets: (secrets) => told.push(["secrets", secrets.map((one) => one[0])]),
    stats: () => ({ outcomes: {}, ...zeros, ...moreZeros }),
    connections: () => 0,
    threads: () => 1,
    explain: () => undefined,
    addresses: () => [{ host: "127.0.0.1", port: 5300 }],
    geo: () => "no geo data",
    close: async () => {
      told.push(["close"]);
    },
  };
  return { told, updates, part };
}

const fleet = fleetWith();

function open(startDns: StartDns, config = edgeConfig()) {
  const { log, lines } = keptLog();
  const state = { version: 0, keptShares: new Map([["fra", 1]]) };
  const names = openDnsHosting({
    config,
    startDns,
    inputs: () => (state.version === 0 ? null : { fleet, siteStates: new Map(), ...state }),
    soonestChangesMs: () => new Map([["fra", 500]]),
    secrets: () => [new Uint8Array([7])],
    log,
  });
  return { names, state, lines };
}

test("a start ends when the first update answers; secrets and soonest changes are set before it", async () => {
  const { told, updates, part } = scriptedDns();
  const { names, state } = open(async () => part);
  names.refresh();
  names.setSoonestChanges(new Map());
  names.setSecrets([]);
  assert.deepEqual([told, names.status(), names.version()], [[], null, 0], "before the start nobody listens");

  state.version = 3;
  const started = names.start();
  assert.equal(await Promise.race([started, turn("waiting")]), "waiting");
  assert.deepEqual(told, [
    ["secrets", [7]],
    ["soonest", { fra: 500 }],
    ["update", 3, { fra: 1 }],
  ]);
  assert.equal(names.version(), 0);
  updates[0]?.done.resolve();
  await started;
  assert.equal(names.version(), 3);
  assert.equal(names.status()?.["version"], 3);
});

test("a document that can't be used leaves names as they were; the next one is taken", async () => {
  const { updates, part } = scriptedDns();
  const { names, state, lines } = open(async () => part);
  state.version = 1;
  const started = names.start();
  await turn();
  updates[0]?.done.reject(new Error("no zones"));
  await turn();
  assert.deepEqual([names.version(), lines.map(({ level }) => level)], [0, ["error"]]);
  state.version = 2;
  names.refresh();
  updates[1]?.done.resolve();
  await started;
  state.version = 3;
  names.refresh();
  updates[2]?.done.reject(new Error("no zones"));
  await turn();
  assert.equal(names.version(), 2);
});

test("what is opened is closed, also when the end came first", async () => {
  const { told, part } = scriptedDns();
  const opening = Promise.withResolvers<DnsPart>();
  const { names, state } = open(async () => await opening.promise);
  state.version = 1;
  const started = names.start();
  await names.close();
  opening.resolve(part);
  await started;
  assert.deepEqual(told, [["close"]]);

  const again = scriptedDns();
  const second = open(async () => again.part);
  second.state.version = 1;
  void second.names.start();
  await turn();
  await second.names.close();
  assert.deepEqual(again.told.at(-1), ["close"]);
  again.updates[0]?.done.reject(new Error("DNS was stopped"));
  await turn();
  assert.deepEqual(second.lines, [], "an update that the end cut off is no news");
});

test("the settings become the responder's options", async () => {
  const optionsOf = async (dns: object): Promise<Parameters<StartDns>[0]> => {
    const asked = Promise.withResolvers<Parameters<StartDns>[0]>();
    const { names } = open(async (options) => {
      asked.resolve(options);
      return scriptedDns().part;
    }, edgeConfig(dns));
    void names.start();
    return await asked.promise;
  };
  assert.deepEqual(await optionsOf({}), {
    addresses: [{ host: "127.0.0.1", port: 5300 }],
    site: "fra",
    geo: {},
    geoCheckMs: 30_000,
    threads: 1,
    guard: { responsesPerSecond: 1000, slip: 2, amplificationMax: 3 },
    identity: { nsid: "fra1", id: "fra1" },
    sharesPorts: false,
  });
  const geo = { geoFiles: [], asnFile: "/asn.mmdb" };
  const identity = { nsid: "", id: "frankfurt", version: "nearcast" };
  const rest = await optionsOf({ ...geo, identity, threads: 0, responsesPerSecond: 0, slip: 1, amplificationMax: 0 });
  assert.deepEqual(rest.geo, { files: [], asnFile: "/asn.mmdb" });
  assert.deepEqual(rest.identity, { id: "frankfurt", version: "nearcast" });
  assert.deepEqual(rest.guard, { responsesPerSecond: 0, slip: 1, amplificationMax: 0 });
  assert.equal(rest.threads, 0);
  const { threads } = await optionsOf({ threads: "auto" });
  assert.ok(Number.isInteger(threads) && threads >= 1, `${threads}`);
});

test("ports that can't be bound by the first update end the start", async () => {
  const part: DnsPart = {
    ...scriptedDns().part,
    update: () => Promise.reject(new NearcastError("CANNOT_LISTEN", "DNS can't listen")),
  };
  const { names, state } = open(async () => part);
  state.version = 1;
  await assert.rejects(names.start(), { code: "CANNOT_LISTEN" });
});

test("settings outside of their range are refused with what is allowed", () => {
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
