/** Which request gives way to one that waits. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createHeadTimes, recordHeadTime } from "../../../../node/fetch/upstream/head-times.ts";
import {
  type Awaited,
  firstToGiveWay,
  givesWayTo,
  isSuspect,
  suspect,
  type Suspects,
} from "../../../../node/fetch/upstream/overdue.ts";
import { createPlaces, joinQueue, nextBeyondBounds, nextInTurn, type PlaceWish, takePlace } from "#base/places.ts";

const nowMs = 100_000;

function awaited(url: string, network: string, ageMs: number, isAtOrigin = true): Awaited {
  return {
    place: { url, network },
    sinceMs: nowMs - ageMs,
    isAtOrigin: () => isAtOrigin,
    giveWay: () => undefined,
  };
}

/** An origin whose heads take this long. */
function times(headMs: number) {
  const all = createHeadTimes(nowMs);
  for (let index = 0; index < 200; index += 1) recordHeadTime(all, headMs, nowMs);
  return all;
}

function placesOf(all: readonly Awaited[]) {
  const places = createPlaces<string>({ placesMax: 64, waitingMax: 10 });
  for (const { place } of all) takePlace(places, place);
  return places;
}

/** The request that gives way to this wish. */
function overdueFor(all: readonly Awaited[], wish: PlaceWish, known = times(10)): Awaited | undefined {
  const places = placesOf(all);
  const late = firstToGiveWay(all, places.inUseByNetwork, known, nowMs);
  return late !== undefined && givesWayTo(late, places, wish) ? late : undefined;
}

test("the oldest that is overdue gives way, of the network that holds most", () => {
  const rows: [what: string, all: Awaited[], wish: { url: string; network: string }, chosen: string | undefined][] = [
    ["one that is late", [awaited("/a", "n1", 600)], { url: "/x", network: "n1" }, "/a"],
    ["none that is not", [awaited("/a", "n1", 400)], { url: "/x", network: "n1" }, undefined],
    ["none for a URL that is under way", [awaited("/a", "n1", 600)], { url: "/a", network: "n2" }, undefined],
    [
      "none of a network that holds less",
      [awaited("/a", "n1", 600), awaited("/b", "n2", 600), awaited("/c", "n2", 400)],
      { url: "/x", network: "n2" },
      "/b",
    ],
    [
      "of the network that holds most",
      [awaited("/a", "n1", 900), awaited("/b", "n2", 800), awaited("/c", "n2", 700)],
      { url: "/x", network: "n3" },
      "/b",
    ],
    ["none that is connecting", [awaited("/a", "n1", 600, false)], { url: "/x", network: "n1" }, undefined],
  ];
  for (const [what, all, wish, chosen] of rows) {
    const found = overdueFor(all, wish);
    assert.equal(found?.place.url, chosen, what);
  }
});

test("what is late depends on the origin: eight times its median, or a second while little is known", () => {
  const wish = { url: "/x", network: "n1" };
  const isOverdue = (ageMs: number, known = times(250)): boolean => {
    const all = [awaited("/a", "n1", ageMs)];
    return overdueFor(all, wish, known) !== undefined;
  };
  assert.deepEqual([isOverdue(1900), isOverdue(2600)], [false, true]);
  const unknown = createHeadTimes(nowMs);
  assert.deepEqual([isOverdue(999, unknown), isOverdue(1000, unknown)], [false, true]);
});

test("places beyond the bounds go to networks and URLs in their turns", () => {
  const places = createPlaces<string>({ placesMax: 0, waitingMax: 10 });
  for (const [url, network] of [
    ["/1", "n1"],
    ["/2", "n1"],
    ["/3", "n2"],
  ] as const) {
    joinQueue(places, { url, network }, url);
  }
  const next = () => nextBeyondBounds(places, ({ url }) => url !== "/2");
  assert.deepEqual([next(), next(), next()], ["/1", "/3", undefined]);
  assert.deepEqual([places.inUse, places.waiting], [2, 1]);
});

test("networks that are suspected come when nobody else waits, and lose their place in the queue first", () => {
  const places = createPlaces<string>({ placesMax: 2, waitingMax: 3 });
  const join = (name: string, network: string, isLast: boolean): string | undefined =>
    joinQueue(places, { url: `/${name}`, network }, name, isLast);
  join("s1", "n1", true);
  join("s2", "n2", true);
  join("good1", "n3", false);
  assert.equal(join("good2", "n3", false), "s1", "one that comes last, although n3 has more in the queue");
  assert.equal(join("s3", "n4", true), "s2", "one of a network that has more in the queue");
  assert.deepEqual([nextInTurn(places), nextInTurn(places), nextInTurn(places)], ["good1", "good2", undefined]);
  places.placesMax = 3;
  assert.equal(nextInTurn(places), "s3");
  assert.equal(places.waiting, 0);
});

test("requests that wait already come last as soon as their network is suspected", () => {
  const places = createPlaces<string>({ placesMax: 0, waitingMax: 10 });
  const join = (name: string, network: string, isLast = false): void => {
    joinQueue(places, { url: `/${name.at(-1)}`, network }, name, isLast);
  };
  join("slow1", "n1");
  join("slow2", "n1");
  join("good1", "n2");
  suspect({ suspects: new Map(), places }, "n1", nowMs);
  join("good2", "n2");
  join("slow later 3", "n1", true);
  join("slow again 1", "n1");
  join("slow again 4", "n1");
  suspect({ suspects: new Map(), places }, "n1", nowMs);
  assert.deepEqual([places.waiting, places.last.get("n1")?.count, places.byNetwork.size], [7, 5, 1]);
  places.placesMax = 64;
  assert.deepEqual(
    Array.from({ length: 8 }, () => nextInTurn(places)),
    ["good1", "good2", "slow1", "slow2", "slow later 3", "slow again 4", "slow again 1", undefined],
  );
  assert.deepEqual([places.waiting, places.last.size], [0, 0]);
});

test("a suspicion ends by itself, and those that are known are limited", () => {
  const suspects: Suspects = new Map();
  const places = createPlaces<string>({ placesMax: 2, waitingMax: 3 });
  for (let index = 0; index < 11_000; index += 1) suspect({ suspects, places }, `n${index}`, nowMs + index);
  assert.equal(suspects.size, 10_000);
  assert.deepEqual(
    ["n999", "n1000"].map((name) => isSuspect(suspects, name, nowMs)),
    [false, true],
  );
  assert(!isSuspect(suspects, "n1000", nowMs + 11_000));
});

test("a thousand that wait behind a thousand cost little, however many are overdue", () => {
  const places = createPlaces<number>({ placesMax: 64, waitingMax: 1000 });
  const all = Array.from({ length: 64 }, (_, index) => awaited(`/h${index}`, `n${index % 9}`, 5000 - index));
  for (const { place } of all) takePlace(places, place);
  const known = times(10);
  const startedMs = performance.now();
  for (let index = 0; index < 2000; index += 1) {
    // As for each arrival: nothing gives way, since every URL is under way.
    joinQueue(places, { url: `/h${index % 64}`, network: `m${index}` }, index);
    const late = firstToGiveWay(all, places.inUseByNetwork, known, nowMs);
    assert(late !== undefined);
    if (index % 100 === 0) nextBeyondBounds(places, (wish) => givesWayTo(late, places, wish));
  }
  assert(performance.now() - startedMs < 2000);
});
