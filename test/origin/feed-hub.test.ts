/** The hub by itself, over a real catalogue: what becomes of subscribers that read slowly or not at all. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { silentLog } from "#base/log.ts";
import type { Catalogue } from "../../origin/catalogue/catalogue.ts";
import { openSqliteCatalogue } from "../../origin/catalogue/sqlite.ts";
import { openFeedHub, type FeedHub, type FeedSink } from "../../origin/feed/hub.ts";
import { fakeClock, type FakeClock } from "../support/fake-clock.ts";
import { tester, wideLimits } from "./tester.ts";
import { turnsUntil } from "../support/turns-until.ts";

const settings = {
  heartbeatMs: 2000,
  bufferBytesMax: 20_000,
  stallMs: 30_000,
  subscribersMax: 10,
  subscribersPerAddressMax: 100,
};
/** One that proved itself: it gives way to nobody. */
const node = { network: "192.0.2.7", tokenId: "0123abcd", provenAs: () => ({ node: "fra1", process: 0 }) };

interface TestSink extends FeedSink {
  /** What was written and not yet taken. */
  readonly waiting: string[];
  /** Takes all that waits. */
  readonly take: () => string;
  state: "open" | "ended" | "cut";
}

function openSink(): TestSink {
  const waiting: string[] = [];
  let drain = Promise.withResolvers<void>();
  const sink: TestSink = {
    waiting,
    state: "open",
    take: () => {
      const text = waiting.splice(0).join("");
      drain.resolve();
      drain = Promise.withResolvers();
      return text;
    },
    write: (bytes) => {
      waiting.push(bytes.toString());
    },
    waitingBytes: () => Buffer.byteLength(waiting.join("")),
    drained: async () => {
      await drain.promise;
    },
    end: () => {
      sink.state = "ended";
    },
    cut: () => {
      sink.state = "cut";
      drain.resolve();
    },
  };
  return sink;
}

async function openHub(t: TestContext): Promise<{ catalogue: Catalogue; hub: FeedHub; clock: FakeClock }> {
  const clock = fakeClock();
  const catalogue = openSqliteCatalogue(":memory:", wideLimits, clock);
  const hub = await openFeedHub({ catalogue, settings, members: async () => new Set(), clock, log: silentLog });
  t.after(async () => {
    await hub.close();
    await catalogue.close();
  });
  return { catalogue, hub, clock };
}

/** Lets everything that only waits for promises come to rest. */
async function settle(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

const idsIn = (text: string): number[] => [...text.matchAll(/^id: (\d+)$/gm)].map((match) => Number(match[1]));
const upTo = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

test("a live subscriber that lets more wait than it may is cut; others don't notice", async (t) => {
  const { catalogue, hub } = await openHub(t);
  const [slow, quick] = [openSink(), openSink()];
  await hub.subscribe(slow, node, undefined);
  await hub.subscribe(quick, node, undefined);
  await settle();
  const seen: number[] = [];
  for (let count = 0; count < 30; count += 1) {
    await catalogue.purge({ reason: "purge", names: ["x".repeat(1000)] }, tester);
    hub.wake();
    await settle();
    seen.push(...idsIn(quick.take()));
  }
  assert.equal(slow.state, "cut");
  assert.ok(slow.waitingBytes() < settings.bufferBytesMax + 2000);
  assert.equal(quick.state, "open");
  assert.deepEqual(seen, upTo(1, 30));
  assert.deepEqual(hub.counts(), { subscribers: 1, published: 30, cut: 1 });

  // Coming back with the last number that it has, it misses nothing.
  const back = openSink();
  await hub.subscribe(back, node, 18);
  await settle();
  const replayed = idsIn(back.take());
  await settle();
  assert.deepEqual([...replayed, ...idsIn(back.take())], upTo(19, 30));
});

test("one that catches up may take its past slowly, and is not cut for it", async (t) => {
  const { catalogue, hub } = await openHub(t);
  for (let count = 0; count < 150; count += 1)
    await catalogue.purge({ reason: "purge", names: ["x".repeat(1000)] }, tester);
  hub.wake();
  const sink = openSink();
  await hub.subscribe(sink, node, 0);
  const seen: number[] = [];
  await turnsUntil(async () => {
    await settle();
    assert.ok(sink.waitingBytes() <= settings.bufferBytesMax);
    seen.push(...idsIn(sink.take()));
    return seen.length >= 150;
  });
  assert.deepEqual(seen, upTo(1, 150));
  assert.equal(sink.state, "open");
});

test("one whose place is pruned while it catches up is cut", async (t) => {
  const { catalogue, hub } = await openHub(t);
  for (let count = 0; count < 150; count += 1)
    await catalogue.purge({ reason: "purge", names: ["x".repeat(1000)] }, tester);
  hub.wake();
  const sink = openSink();
  await hub.subscribe(sink, node, 0);
  await settle();
  for (let count = 0; count < 300; count += 1) await catalogue.purge({ reason: "purge", all: true }, tester);
  hub.wake();
  for (let round = 0; round < 50; round += 1) {
    sink.take();
    await settle();
  }
  assert.equal(sink.state, "cut");
});

test("heartbeats go to those who keep up; one that takes nothing for the stall time is cut", async (t) => {
  const { hub, clock } = await openHub(t);
  const [dead, alive] = [openSink(), openSink()];
  await hub.subscribe(dead, node, undefined);
  await hub.subscribe(alive, node, undefined);
  await settle();
  alive.take();
  let beats = 0;
  for (let passedMs = 0; passedMs < 34_000; passedMs += 2000) {
    clock.advance(2000);
    await settle();
    beats += alive.take().split(":\n\n").length - 1;
  }
  assert.equal(beats, 17);
  assert.equal(dead.state, "cut");
  assert.equal(alive.state, "open");
});

test("an event that nobody announced is found at the next heartbeat", async (t) => {
  const { catalogue, hub, clock } = await openHub(t);
  const sink = openSink();
  await hub.subscribe(sink, node, undefined);
  await settle();
  await catalogue.purge({ reason: "purge", all: true }, tester);
  clock.advance(2000);
  await settle();
  assert.deepEqual(idsIn(sink.take()), [1]);
});

test("no event waits for the next heartbeat, however its announcement meets the end of the one before", async (t) => {
  for (let turns = 0; turns < 40; turns += 1) {
    const { catalogue, hub } = await openHub(t);
    const sink = openSink();
    await hub.subscribe(sink, node, undefined);
    await settle();
    await catalogue.purge({ reason: "purge", all: true }, tester);
    hub.wake();
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    await catalogue.purge({ reason: "purge", all: true }, tester);
    hub.wake();
    await settle();
    assert.deepEqual(idsIn(sink.take()), [1, 2], `${turns} turns`);
  }
});

test("one that left gets nothing more, and closing ends the rest", async (t) => {
  const { catalogue, hub } = await openHub(t);
  const [left, stays] = [openSink(), openSink()];
  const leave = await hub.subscribe(left, node, undefined);
  await hub.subscribe(stays, node, undefined);
  await settle();
  left.take();
  leave();
  await catalogue.purge({ reason: "purge", all: true }, tester);
  hub.wake();
  await settle();
  assert.deepEqual(left.waiting, []);
  await hub.close();
  assert.deepEqual([left.state, stays.state], ["open", "ended"]);
  await assert.rejects(hub.subscribe(openSink(), node, undefined), { code: "OVERLOADED" });
});
