import assert from "node:assert/strict";
import { test } from "node:test";
import { stringify } from "yaml";
import { silentLog } from "#base/log.ts";
import { systemClock } from "#base/clock.ts";
import { openFleetMemory } from "#follow/fleet-memory.ts";
import { unpackZones } from "#document/packed-zones.ts";
import { parseFleet } from "#document/read-document.ts";
import { readFleet } from "#document/read-in-thread.ts";
import { emptyRoster } from "#document/roster.ts";
import { openMembership } from "../../../node/edge/phases/membership.ts";
import { fleetValue } from "../../support/fleet.ts";
import { recordsDocument, zoneTextDocument } from "../../support/long-documents.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { longestTurn } from "../../support/turns.ts";

/** The lease goes stale after 250 ms, and half of the machine may be somebody else's. */
const turnMsMax = 100;

const documents = [
  ["4 MB of zone file", zoneTextDocument()],
  ["10,000 records of YAML", recordsDocument()],
] as const;

for (const [what, text] of documents) {
  test(`${what}: read in a thread it is the same document, frozen, with its records packed`, async () => {
    const [inPlace, apart] = [parseFleet(text), await readFleet(text)];
    assert(inPlace.ok && apart.ok);
    const { packedZones, zones, ...read } = apart.value;
    assert(packedZones !== undefined);
    const { zones: wholeZones, ...whole } = inPlace.value;
    assert.deepEqual(read, whole);
    assert.deepEqual(unpackZones(packedZones), wholeZones);
    const [zone] = zones;
    assert(zone !== undefined);
    assert.deepEqual(
      zone.records,
      wholeZones[0]?.records.filter(({ type }) => type === "ALIAS"),
    );
    assert(Object.isFrozen(apart.value) && Object.isFrozen(zones) && Object.isFrozen(apart.value.sites[0]?.nodes));
  });

  test(`${what}: no turn of the main thread takes ${turnMsMax} ms, from answer to restart`, async (t) => {
    const memory = await openFleetMemory(await temporaryDirectory(t));
    const body = Buffer.from(JSON.stringify({ version: 1, text }));
    const open = async () =>
      await openMembership({
        node: "fra1",
        site: "fra",
        memory,
        origin: {
          fleet: async () => JSON.parse(body.toString()) as { version: number; text: string },
          roster: async () => emptyRoster,
        },
        changed: () => undefined,
        clock: systemClock,
        log: silentLog,
      });
    const membership = await open();
    t.after(membership.close);
    const taken = await longestTurn(membership.takeFleet);
    assert.equal(membership.current()?.version, 1);
    const started = await longestTurn(open);
    t.after(started.result.close);
    assert.equal(started.result.current()?.version, 1);
    for (const [when, { longestMs, totalMs }] of [
      ["taken", taken],
      ["remembered", started],
    ] as const) {
      t.diagnostic(`${when}: longest turn ${longestMs.toFixed(0)} ms, ${totalMs.toFixed(0)} ms in all`);
      assert(longestMs < turnMsMax, `${when}: ${longestMs} ms`);
    }
    const { longestMs } = await longestTurn(async () => parseFleet(text));
    t.diagnostic(`read in place it would be ${longestMs.toFixed(0)} ms`);
  });
}

test("a document with problems has the same ones, whichever way it is read", async () => {
  const text = recordsDocument().replace("policy: geo", "policy: astrology");
  assert.deepEqual(await readFleet(text), parseFleet(text));
  const short = "zones: [";
  assert.deepEqual(await readFleet(short), parseFleet(short));
});

test("documents taken at one moment are taken one after the other: an older one never replaces a newer", async (t) => {
  const memory = await openFleetMemory(await temporaryDirectory(t));
  // The first is long, so that it would be done last.
  const texts = [zoneTextDocument(), stringify(fleetValue())];
  let asked = 0;
  const membership = await openMembership({
    node: "fra1",
    site: "fra",
    memory,
    origin: {
      fleet: async () => ({ version: (asked += 1), text: texts[asked - 1] ?? "" }),
      roster: async () => emptyRoster,
    },
    changed: () => undefined,
    clock: systemClock,
    log: silentLog,
  });
  t.after(membership.close);
  await Promise.all([membership.takeFleet(), membership.takeFleet()]);
  assert.equal(membership.current()?.version, 2);
  assert.equal((await memory.loadFleet())?.version, 2);
});
