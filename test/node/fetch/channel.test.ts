/** The edge's end of the channel, where the origin refuses or fails: what is told again, and how often that is said. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { PurgeReport } from "#follow/channel/messages.ts";
import { createSeals } from "#follow/channel/seal.ts";
import { openOriginChannel } from "../../../node/fetch/channel.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";

const introduction = { node: "fra1", site: "fra", process: 0, processes: 1, release: "9.9.9", understands: {} };
const nothing = { entries: 0, bytes: 0 };

function reportOf(seq: number): PurgeReport {
  const held = { names: [], hosts: [], tags: [], prefix: false };
  return { seq, memory: nothing, disk: nothing, records: 0, isComplete: true, held };
}

/** @param answer what the origin answers: a status, or a throw */
function open(answer: (path: string, message: { seq?: number }) => number) {
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const seals = createSeals(() => [Buffer.alloc(32, 7)]);
  const told: string[] = [];
  const channel = openOriginChannel({
    introduction: () => introduction,
    presence: () => ({ state: "ready", fleetVersion: 1, feedSeq: 1 }),
    answer: async () => ({ status: 200, json: "{}" }),
    tell: async (path, _fields, json) => {
      const message = JSON.parse(json) as { seq?: number };
      told.push(message.seq === undefined ? path : `report ${message.seq}`);
      return answer(path, message);
    },
    seals,
    clock,
    log,
  });
  const pass = async (seconds: number): Promise<void> => {
    for (let second = 0; second < seconds; second += 1) {
      clock.advance(1000);
      for (let count = 0; count < 20; count += 1) await turn();
    }
  };
  const reports = (): string[] => told.filter((what) => what.startsWith("report"));
  return { channel, pass, reports, warnings: () => lines.filter(({ level }) => level === "warn"), lines };
}

test("a report that fails delays no other, is sent again, and is given up after three tries", async () => {
  let badTries = 0;
  const { channel, pass, reports, warnings } = open((_path, { seq }) => {
    if (seq === 1) return 500;
    if (seq === 2 && (badTries += 1) < 2) throw new Error("connection reset");
    return 204;
  });
  channel.report(reportOf(9)); // nobody to tell it to
  channel.opened("one");
  for (const seq of [1, 2, 3]) channel.report(reportOf(seq));
  await pass(1);
  assert.deepEqual(reports(), ["report 1", "report 2", "report 3"]);
  await pass(60);
  assert.deepEqual(reports().slice(3), ["report 1", "report 2", "report 1"]);
  assert.deepEqual(
    warnings().map(({ facts }) => [facts["seq"], facts["reason"], facts["tries"]]),
    [
      [1, "status 500", 1],
      [2, "connection reset", 1],
      [1, "status 500", 2],
      [1, "status 500", 3],
    ],
  );
});

test("reports left by a broken connection are sent over the next one; none after the end", async () => {
  const { channel, pass, reports } = open((_path, { seq }) => {
    if (seq !== 1 || reports().length > 1) return 204;
    channel.opened(null);
    throw new Error("connection reset");
  });
  channel.opened("one");
  for (const seq of [1, 2]) channel.report(reportOf(seq));
  await pass(60);
  assert.deepEqual(reports(), ["report 1"]);
  channel.opened("two");
  await pass(1);
  assert.deepEqual(reports(), ["report 1", "report 1", "report 2"]);
  channel.close();
  channel.report(reportOf(3));
  await pass(60);
  assert.equal(reports().length, 3);
});

test("an origin that refuses for an hour is one line; another status, and the end of it, is one more", async () => {
  let status = 403;
  const { channel, pass, warnings, lines } = open(() => status);
  channel.opened("one");
  await pass(3600);
  assert.deepEqual(
    warnings().map(({ facts }) => facts["status"]),
    [403],
  );
  status = 503;
  await pass(60);
  assert.deepEqual(
    warnings().map(({ facts }) => facts["status"]),
    [403, 503],
  );
  status = 204;
  await pass(60);
  assert.equal(lines.filter(({ level }) => level === "info").length, 1);
  status = 503;
  await pass(60);
  assert.equal(warnings().length, 3, "it began anew");
});

test("an origin that takes the introduction and refuses what follows is worth one line", async () => {
  const { channel, pass, warnings } = open((path) => (path === "presence" ? 403 : 204));
  channel.opened("one");
  await pass(600);
  assert.equal(warnings().length, 1);
});
