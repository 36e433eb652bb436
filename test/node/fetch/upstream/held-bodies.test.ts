/** Which bodies give up their places because they are slow, and which of them is cut when too many are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import {
  heldBodiesMax,
  type HeldBody,
  holdIfSlow,
  holdSlowest,
  lookAt,
  newLooks,
  type PlacedBody,
} from "../../../../node/fetch/upstream/held-bodies.ts";
import { isSuspect, type Suspects } from "../../../../node/fetch/upstream/overdue.ts";
import { createPlaces } from "#base/places.ts";
import { fakeClock } from "../../../support/fake-clock.ts";

interface FakeBody {
  readonly network: string;
  bytes: number;
  isPaused: boolean;
  /** `place`: it has one; `held`: it gave it up; `over`: it was cut or has ended. */
  state: "place" | "held" | "over";
  readonly end: () => void;
}

/** An origin with bodies under way, none of which moves by itself. */
function bench() {
  const clock = fakeClock();
  const held = new Set<HeldBody>();
  const placed = new Set<PlacedBody>();
  const suspects: Suspects = new Map();
  const places = createPlaces<string>({ placesMax: 64, waitingMax: 1000 });
  const upstream = { clock, held, placed, places, suspects };
  const begin = (network: string, isEventStream = false): FakeBody => {
    const body: FakeBody = {
      network,
      bytes: 0,
      isPaused: false,
      state: "place",
      end() {
        body.state = "over";
        release();
      },
    };
    // Held at once, an event stream may be cut before its watch has begun.
    let release = (): void => undefined;
    release = holdIfSlow(
      upstream,
      {
        network,
        sinceMs: clock.monotonicMs(),
        watch: { isPaused: () => body.isPaused, isEventStream: () => isEventStream, bytes: () => body.bytes },
        cut() {
          body.end();
        },
      },
      () => {
        assert.equal(body.state, "place", "a place is given up once");
        body.state = "held";
      },
    );
    return body;
  };
  const holdNow = (): void => {
    holdSlowest(upstream);
  };
  return { clock, held, places, suspects, begin, holdNow };
}

/** Moves the clock on; meanwhile each body gets so many bytes a second. */
function run(clock: { advance: (ms: number) => void }, bodies: readonly FakeBody[], ms: number, rate: number): void {
  for (let passedMs = 0; passedMs < ms; passedMs += 100) {
    for (const body of bodies) body.bytes += rate / 10;
    clock.advance(100);
  }
}

test("a body is slow when hardly anything arrives for a second", () => {
  const watch = (bytes: number, isPaused = false) => ({
    bytes: () => bytes,
    isPaused: () => isPaused,
    isEventStream: () => false,
  });
  const looks = newLooks();
  assert.equal(lookAt(looks, watch(5000)), undefined, "its beginning was fast");
  assert.equal(lookAt(looks, watch(5000)), undefined, "for half a second only");
  assert.equal(lookAt(looks, watch(5511)), "dripping");
  assert.equal(lookAt(looks, watch(6023)), undefined, "512 bytes in half a second");
  for (let look = 1; look < 6; look += 1) assert.equal(lookAt(looks, watch(10_000 * look, true)), undefined);
  assert.equal(lookAt(looks, watch(90_000, true)), "paused", "its reader is slow for three seconds");
  assert.equal(lookAt({ ...newLooks(), dripping: 1 }, watch(0, true)), "paused", "and takes nothing");
});

test("a body that drips keeps its place for a second, and never gets it back; others keep theirs", () => {
  const { clock, held, begin, suspects } = bench();
  const drips = begin("n1");
  const flows = begin("n1");
  const both = (ms: number): void => {
    for (let passedMs = 0; passedMs < ms; passedMs += 100) {
      drips.bytes += 100;
      flows.bytes += 110;
      clock.advance(100);
    }
  };
  both(900);
  assert.deepEqual([drips.state, flows.state], ["place", "place"]);
  both(100);
  assert.deepEqual([drips.state, flows.state, held.size], ["held", "place", 1]);
  run(clock, [drips, flows], 60_000, 1_000_000);
  assert.deepEqual([drips.state, flows.state, held.size], ["held", "place", 1]);
  assert(!isSuspect(suspects, "n1", clock.monotonicMs()), "nobody waited");
  flows.end();
  drips.end();
  assert.equal(held.size, 0);
});

test("the network of a body that drips while others wait is suspected; that of a slow reader is not", () => {
  const { clock, places, begin, suspects } = bench();
  places.waiting = 1;
  const drips = begin("n1");
  const reader = begin("n2");
  reader.isPaused = true;
  clock.advance(1000);
  assert.deepEqual([drips.state, reader.state], ["held", "held"]);
  const suspected = ["n1", "n2"].map((network) => isSuspect(suspects, network, clock.monotonicMs()));
  assert.deepEqual(suspected, [true, false]);
});

test("past the limit: of the network with most, the slowest is cut; with as many, it is the new one's", () => {
  const rows: [what: string, network: string, rate: number, cut: string][] = [
    ["a new network, while another holds more", "new", 0, "big 1"],
    ["the largest network itself", "big", 500, "big 1"],
    ["the largest network itself, with one that is slower than all others", "big", 0, "big new"],
    ["one that would hold as many as the largest", "second", 500, "second 1"],
  ];
  for (const [what, network, rate, cut] of rows) {
    const { clock, held, places, begin, suspects } = bench();
    const names = new Map<FakeBody, string>();
    const add = (name: string, of: string): FakeBody => {
      const body = begin(of);
      names.set(body, name);
      return body;
    };
    for (let index = 0; index < 6; index += 1) add(`big ${index}`, "big").bytes = 100 + ((index + 4) % 5);
    for (let index = 0; index < 5; index += 1) add(`second ${index}`, "second").bytes = 100 + ((index + 4) % 5);
    for (let index = 0; held.size + names.size < heldBodiesMax; index += 1) add(`other ${index}`, `n${index}`);
    clock.advance(1500);
    assert.equal(held.size, heldBodiesMax, what);
    const added = add(network === "new" ? "new" : `${network} new`, network);
    run(clock, [added], 2000, rate);
    assert.equal(added.state, "place", `${what}: nobody waits`);
    places.waiting = 1;
    run(clock, [added], 500, rate);
    const over = [...names].filter(([{ state }]) => state === "over").map(([, name]) => name);
    assert.deepEqual(over, [cut], what);
    assert.equal(held.size, heldBodiesMax, what);
    assert.equal(added.state, cut.endsWith("new") ? "over" : "held", what);
    const [loser] = cut.split(" ");
    assert(isSuspect(suspects, loser ?? "", clock.monotonicMs()), what);
  }
});

test("an event stream is held at once; past the limit, it is the one that is cut if no network holds more", () => {
  const { clock, held, places, begin } = bench();
  const streams = Array.from({ length: heldBodiesMax }, (_, index) => begin(`n${index}`, true));
  assert.equal(held.size, heldBodiesMax);
  const waits = begin("new", true);
  assert.equal(waits.state, "place");
  places.waiting = 1;
  clock.advance(500);
  assert.deepEqual([waits.state, held.size], ["over", heldBodiesMax]);
  assert(streams.every(({ state }) => state === "held"));
});

test("whatever happens, no more than the limit are held, and a body is cut only in the largest network", () => {
  for (let seed = 1; seed <= 4; seed += 1) {
    const random = seededRandom(seed);
    const pick = (count: number): number => Math.floor(random() * count);
    const { clock, held, places, begin } = bench();
    let bodies: FakeBody[] = [];
    let cuts = 0;
    const countsOf = (): Map<string, number> => {
      const counts = new Map<string, number>();
      for (const { network } of held) counts.set(network, (counts.get(network) ?? 0) + 1);
      return counts;
    };
    for (let round = 0; round < 400; round += 1) {
      places.waiting = pick(2);
      for (let count = pick(4); count > 0; count -= 1) bodies.push(begin(`n${pick(1 + pick(40))}`, pick(8) === 0));
      for (const body of bodies) {
        body.bytes += pick(4) === 0 ? pick(400) : 0;
        body.isPaused = pick(3) === 0;
      }
      const before = countsOf();
      const heldBefore = bodies.filter(({ state }) => state === "held");
      clock.advance(100);
      const cut = heldBefore.filter(({ state }) => state === "over");
      cuts += cut.length;
      // Several may be cut in one step, each of the network that was the largest at that moment.
      const most = Math.max(0, ...before.values()) - cut.length;
      for (const { network } of cut) assert.ok((before.get(network) ?? 0) >= most, `seed ${seed}`);
      bodies[pick(bodies.length * 4)]?.end();
      bodies = bodies.filter(({ state }) => state !== "over");
      assert.ok(held.size <= heldBodiesMax, `seed ${seed}`);
      assert.equal(held.size, bodies.filter(({ state }) => state === "held").length, `seed ${seed}`);
    }
    assert.ok(cuts > 10, `seed ${seed}: the limit was reached`);
    for (const body of bodies) body.end();
    assert.equal(held.size, 0);
  }
});

test("while requests wait, the slowest bodies give up their places, whatever their rate, after a second", () => {
  const { clock, held, places, begin, suspects, holdNow } = bench();
  const bodies = Array.from({ length: 20 }, (_, index) => begin(`n${index}`));
  const flow = (ms: number): void => {
    for (let passedMs = 0; passedMs < ms; passedMs += 100) {
      for (const [index, body] of bodies.entries()) body.bytes += 150 + index * 200;
      clock.advance(100);
    }
  };
  places.placesMax = places.inUse = 20;
  flow(900);
  places.waiting = 1;
  holdNow();
  assert.equal(held.size, 0, "they are too young");
  flow(1000);
  assert.equal(held.size, 0, "none is slow by itself");
  holdNow();
  assert.deepEqual(
    bodies.filter(({ state }) => state === "held").map(({ network }) => network),
    ["n0"],
    "one for each request that waits",
  );
  places.waiting = 100;
  holdNow();
  assert.equal(held.size, 9, "a burst of requests moves a few of them at a time");
  assert.ok(
    bodies.slice(0, 9).every(({ state }) => state === "held"),
    "the slowest",
  );
  const isSuspected = (index: number): boolean => isSuspect(suspects, `n${index}`, clock.monotonicMs());
  assert.deepEqual([isSuspected(0), isSuspected(7), isSuspected(8)], [true, true, false], "below 16 KiB a second");
});

test("if places are free, only bodies of the networks that wait give up theirs", () => {
  const { clock, held, places, begin, holdNow } = bench();
  const other = begin("other");
  const own = begin("own");
  other.bytes = own.bytes = 100_000;
  run(clock, [other, own], 2000, 2000);
  places.waiting = 2;
  places.byNetwork.set("own", { count: 2, byUrl: new Map() });
  holdNow();
  assert.deepEqual([other.state, own.state, held.size], ["place", "held", 1]);
});

test("past the limit, a body that makes progress is cut only if its network holds several", () => {
  for (const [rate, perNetwork, isCut] of [
    [100_000, 1, false],
    [100_000, 2, true],
    [10_000, 1, true],
  ] as const) {
    const { clock, held, places, begin, holdNow } = bench();
    const bodies = Array.from({ length: heldBodiesMax }, (_, index) => begin(`n${Math.floor(index / perNetwork)}`));
    places.placesMax = places.inUse = places.waiting = 64;
    run(clock, bodies, 2000, rate);
    for (let look = 0; look < heldBodiesMax / 8; look += 1) holdNow();
    assert.equal(held.size, heldBodiesMax);
    const added = begin("new");
    run(clock, [...bodies, added], 2000, rate);
    holdNow();
    const cuts = [...bodies, added].filter(({ state }) => state === "over").length;
    assert.deepEqual([cuts > 0, added.state === "place"], [isCut, !isCut], `${rate} ${perNetwork}`);
    assert.ok(held.size <= heldBodiesMax);
  }
});
