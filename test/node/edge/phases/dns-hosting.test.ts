import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { NearcastError } from "#base/errors.ts";
import { openDnsHosting } from "../../../../node/edge/phases/dns-hosting.ts";
import type { DnsPart } from "../../../../node/edge/phases/dns-responder.ts";
import { fleetWith } from "../../../support/fleet.ts";
import { keptLog } from "../../../support/kept-log.ts";

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

function open(part: DnsPart | undefined) {
  const { log, lines } = keptLog();
  const state = { version: 0, keptShares: new Map([["fra", 1]]) };
  const names = openDnsHosting({
    part,
    inputs: () => (state.version === 0 ? null : { fleet, siteStates: new Map(), ...state }),
    soonestChangesMs: () => new Map([["fra", 500]]),
    secrets: () => [new Uint8Array([7])],
    log,
  });
  return { names, state, lines };
}

test("nothing is sent before begin(), which resolves when the first update is in force", async () => {
  const { told, updates, part } = scriptedDns();
  const { names, state } = open(part);
  state.version = 2;
  names.refresh();
  assert.deepEqual([told, names.answers(), names.version()], [[], false, 0]);
  names.setSoonestChanges(new Map());
  names.setSecrets([]);
  told.length = 0;

  state.version = 3;
  const started = names.begin();
  assert.equal(await Promise.race([started, turn("waiting")]), "waiting");
  assert.deepEqual(told, [
    ["secrets", [7]],
    ["soonest", { fra: 500 }],
    ["update", 3, { fra: 1 }],
  ]);
  assert.deepEqual([names.answers(), names.version()], [false, 0]);
  updates[0]?.done.resolve();
  await started;
  assert.deepEqual([names.answers(), names.version()], [true, 3]);
  assert.equal(names.status()?.["version"], 3);
});

test("a document that can't be used leaves names as they were; the next one is taken", async () => {
  const { updates, part } = scriptedDns();
  const { names, state, lines } = open(part);
  state.version = 1;
  const started = names.begin();
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

test("the status tells whether answers are based on the newest inputs", async () => {
  const { updates, part } = scriptedDns();
  const { names, state } = open(part);
  const isCurrent = (): unknown => names.status()?.["isCurrent"];
  assert.equal(isCurrent(), false);
  state.version = 1;
  const started = names.begin();
  updates[0]?.done.resolve();
  await started;
  assert.equal(isCurrent(), true);
  state.version = 2;
  names.refresh();
  names.refresh();
  assert.equal(isCurrent(), false);
  // An update resolves as well when newer inputs are in force: here, the older one ends last.
  updates[2]?.done.resolve();
  await turn();
  assert.equal(isCurrent(), true);
  updates[1]?.done.resolve();
  await turn();
  assert.equal(isCurrent(), true);
  names.refresh();
  updates[3]?.done.reject(new Error("no zones"));
  await turn();
  assert.equal(isCurrent(), false);
});

test("closing cuts off the first update, and later inputs go nowhere", async () => {
  const { told, updates, part } = scriptedDns();
  const { names, state, lines } = open(part);
  state.version = 1;
  void names.begin();
  await turn();
  await names.close();
  updates[0]?.done.reject(new Error("DNS was stopped"));
  await turn();
  names.refresh();
  await names.begin();
  assert.deepEqual(told.at(-1), ["close"]);
  assert.deepEqual(lines, [], "an update that the end cut off is no news");
});

test("a node without a responder has nothing to wait for", async () => {
  const { names, state } = open(undefined);
  state.version = 1;
  await names.begin();
  names.refresh();
  names.setSoonestChanges(new Map());
  names.setSecrets([]);
  assert.deepEqual([names.answers(), names.status(), names.part()], [false, null, undefined]);
  await names.close();
});

test("ports that can't be bound by the first update end the start", async () => {
  const part: DnsPart = {
    ...scriptedDns().part,
    update: () => Promise.reject(new NearcastError("CANNOT_LISTEN", "DNS can't listen")),
  };
  const { names, state } = open(part);
  state.version = 1;
  await assert.rejects(names.begin(), { code: "CANNOT_LISTEN" });
});
