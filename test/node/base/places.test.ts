import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import {
  createPlaces,
  emptyQueue,
  hasPlaceFor,
  joinQueue,
  leaveQueue,
  nextInTurn,
  type Places,
  type PlaceWish,
  releasePlace,
  takePlace,
} from "#base/places.ts";

const open = (placesMax = 64, waitingMax = 1000): Places<string> => createPlaces({ placesMax, waitingMax });
const wish = (network: string, url: string): PlaceWish => ({ network, url });

/** Takes as many places as one can get. */
function takeAll(places: Places<string>, wishOf: (count: number) => PlaceWish): number {
  let count = 0;
  for (; hasPlaceFor(places, wishOf(count)); count += 1) takePlace(places, wishOf(count));
  return count;
}

test("a URL that hangs, or a network, takes a part of the pool and leaves the rest to the others", () => {
  const rows: [what: string, takers: number, wishOf: (taker: number, count: number) => PlaceWish, free: number][] = [
    ["one URL, each time for another network", 1, (_taker, count) => wish(`n${count}`, "/hangs"), 42],
    ["one network, each time another URL", 1, (_taker, count) => wish("n", `/${count}`), 21],
    ["one URL for one network", 1, () => wish("n", "/hangs"), 42],
    ["four URLs", 4, (taker, count) => wish(`n${count}`, `/${taker}`), 20],
    ["four networks", 4, (taker, count) => wish(`n${taker}`, `/${count}`), 5],
    ["forty networks", 40, (taker, count) => wish(`n${taker}`, `/${count}`), 1],
  ];
  for (const [what, takers, wishOf, free] of rows) {
    const places = open();
    let isOver = false;
    const counts = Array.from({ length: takers }, () => 0);
    while (!isOver) {
      isOver = true;
      for (const [taker, count] of counts.entries()) {
        const one = wishOf(taker, count);
        if (!hasPlaceFor(places, one)) continue;
        takePlace(places, one);
        counts[taker] = count + 1;
        isOver = false;
      }
    }
    const left = places.placesMax - places.inUse;
    assert.ok(left >= free, `${what}: ${left} places are free (${counts.join(" ")})`);
    assert.ok(hasPlaceFor(places, wish("another", "/other")), what);
  }
});

test("places go round the networks, and round the URLs of a network", () => {
  const places = open(2);
  takePlace(places, wish("x", "/x"));
  takePlace(places, wish("y", "/y"));
  const join = (network: string, url: string, name: string): void => {
    assert.equal(joinQueue(places, wish(network, url), name), undefined);
  };
  for (const name of ["a1", "a2", "a3"]) join("a", "/1", name);
  join("a", "/2", "a4");
  join("b", "/1", "b1");
  join("c", "/3", "c1");
  const order: (string | undefined)[] = [];
  let held = wish("x", "/x");
  const wishes: Readonly<Record<string, PlaceWish>> = {
    a1: wish("a", "/1"),
    a2: wish("a", "/1"),
    a3: wish("a", "/1"),
    a4: wish("a", "/2"),
    b1: wish("b", "/1"),
    c1: wish("c", "/3"),
  };
  for (let count = 0; count < 6; count += 1) {
    releasePlace(places, held);
    const next = nextInTurn(places);
    order.push(next);
    held = wishes[next ?? ""] ?? held;
  }
  assert.deepEqual(order, ["a1", "b1", "c1", "a4", "a2", "a3"]);
  assert.equal(places.waiting, 0);
  assert.equal(places.byNetwork.size, 0);
});

test("who waits for a URL that has its share does not hold up the others", () => {
  const places = open();
  takeAll(places, (count) => wish(`n${count}`, "/hangs"));
  joinQueue(places, wish("n", "/hangs"), "waits");
  joinQueue(places, wish("n", "/other"), "other");
  assert.equal(nextInTurn(places), "other");
  assert.equal(nextInTurn(places), undefined);
  assert.equal(places.waiting, 1);
});

test("when too many wait, the network with most of them loses one, and no other", () => {
  const places = open(0, 10);
  for (let count = 0; count < 8; count += 1) joinQueue(places, wish("big", `/${count % 2}`), `big${count}`);
  joinQueue(places, wish("small", "/a"), "small1");
  joinQueue(places, wish("small", "/b"), "small2");
  assert.equal(joinQueue(places, wish("big", "/c"), "big8"), "big8", "the one that would be one more of the most");
  const lost = joinQueue(places, wish("new", "/a"), "new1");
  assert.ok(lost?.startsWith("big"), String(lost));
  assert.equal(places.waiting, 10);
  assert.deepEqual(
    emptyQueue(places).filter((name) => !name.startsWith("big")),
    ["small1", "small2", "new1"],
  );
  assert.equal(places.waiting, 0);
});

test("nobody is lost, counted twice or given a place too many, whatever happens", () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const random = seededRandom(seed);
    const pick = (count: number): number => Math.floor(random() * count);
    const places = createPlaces<PlaceWish>({ placesMax: 8, waitingMax: 20 });
    const waiting = new Set<PlaceWish>();
    const inUse: PlaceWish[] = [];
    const pump = (): void => {
      for (let next = nextInTurn(places); next !== undefined; next = nextInTurn(places)) {
        assert.ok(waiting.delete(next), `seed ${seed}: a place for one that does not wait`);
        inUse.push(next);
      }
    };
    for (let round = 0; round < 2000; round += 1) {
      const action = pick(4);
      if (action <= 1) {
        const one = wish(`n${pick(4)}`, `/${pick(6)}`);
        waiting.add(one);
        const displaced = joinQueue(places, one, one);
        if (displaced !== undefined) assert.ok(waiting.delete(displaced), `seed ${seed}`);
      } else if (action === 2) {
        const [done] = inUse.splice(pick(inUse.length), 1);
        if (done !== undefined) releasePlace(places, done);
      } else {
        const one = [...waiting][pick(waiting.size)];
        if (one !== undefined) leaveQueue(places, one, one);
        if (one !== undefined) waiting.delete(one);
      }
      places.placesMax = pick(10) === 0 ? pick(9) : places.placesMax;
      pump();
      assert.equal(places.waiting, waiting.size, `seed ${seed}, round ${round}`);
      assert.equal(places.inUse, inUse.length, `seed ${seed}, round ${round}`);
      assert.ok(places.waiting <= 20);
    }
    places.placesMax = 8;
    pump();
    for (let one = inUse.pop(); one !== undefined; one = inUse.pop()) {
      releasePlace(places, one);
      pump();
    }
    assert.equal(waiting.size, 0, `seed ${seed}: all who wait get their turn`);
    assert.deepEqual([places.inUseByUrl.size, places.inUseByNetwork.size, places.byNetwork.size], [0, 0, 0]);
  }
});
