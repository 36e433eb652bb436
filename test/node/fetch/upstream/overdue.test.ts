/** Which request gives way to one that waits. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createHeadTimes, recordHeadTime } from "../../../../node/fetch/upstream/head-times.ts";
import { type Awaited, overdueFor } from "../../../../node/fetch/upstream/overdue.ts";
import { createPlaces, joinQueue, nextBeyondBounds, takePlace } from "../../../../node/fetch/upstream/places.ts";

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
    const found = overdueFor(all, placesOf(all), wish, times(10), nowMs);
    assert.equal(found?.place.url, chosen, what);
  }
});

test("what is late depends on the origin: eight times its median, or a second while little is known", () => {
  const wish = { url: "/x", network: "n1" };
  const isOverdue = (ageMs: number, known = times(250)): boolean => {
    const all = [awaited("/a", "n1", ageMs)];
    return overdueFor(all, placesOf(all), wish, known, nowMs) !== undefined;
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
