/**
 * Shedding in a closed loop: whole worlds from seeds (load-world.ts), each through calm, a rush at one place, perhaps a
 * death or a smaller capacity, and calm again.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { openWorld, type World } from "./load-world.ts";

const worlds = rounds(60, 2000);
const firstSeed = seedOr(1);

interface Story {
  world: World;
  capacities: (number | undefined)[];
  /** How many seconds it is given to find its balance, and to return from it. */
  calmSeconds: number;
  edges: number;
  /** What happens, and the undoing of it. */
  rush: () => void;
  relent: () => void;
  text: string;
}

function storyOf(seed: number, isTold: boolean): Story {
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const sites = 3 + below(8);
  const ttlSeconds = [20, 30, 60, 120][below(4)] ?? 30;
  const edges = 1 + below(6);
  const world = openWorld({ seed, ttlSeconds, sites, edges, clients: 1000, isTold });
  world.pass(60);
  const loads = world.loads();
  const total = loads.reduce((sum, one) => sum + one, 0);
  // Each site has what it needs and half as much again, and no site is tiny.
  const needs = loads.map((load) => Math.ceil(Math.max(load / 0.6, total / sites)));
  const capacities: (number | undefined)[] = [...needs];
  const hot = below(sites);
  // A site dies where the others can carry all.
  const victim = (hot + 1) % sites;
  const rest = needs.reduce((sum, one, site) => sum + (site === victim ? 0 : one), 0);
  const dead = random() < 0.4 && total < 0.7 * rest ? victim : undefined;
  const endless = random() < 0.2 ? (hot + 2) % sites : undefined;
  if (endless !== undefined) capacities[endless] = undefined;
  world.setCapacities(capacities);
  // A rush (or as much less capacity) leaves a quarter of what is up free.
  const free = 0.75 * (dead === undefined ? rest + (needs[victim] ?? 0) : rest) - total;
  const factor = Math.max(1, Math.min(4, 1 + free / (loads[hot] ?? 1)));
  const isCut = random() < 0.2;
  const cut = capacities.map((one, site) => (site === hot && one !== undefined ? Math.ceil(one / factor) : one));
  return {
    world,
    capacities: isCut ? cut : capacities,
    calmSeconds: 400 + 10 * ttlSeconds,
    edges,
    rush() {
      if (isCut) world.setCapacities(cut);
      else world.scale(hot, factor);
      if (dead !== undefined) world.setUp(dead, false);
    },
    relent() {
      if (isCut) world.setCapacities(capacities);
      else world.scale(hot, 1 / factor);
      if (dead !== undefined) world.setUp(dead, true);
    },
    text: `SEED=${seed}: ${sites} sites, ttl ${ttlSeconds}, ${edges} edges, ${isTold ? "told" : "each for itself"}`,
  };
}

/** Follows each edge's share of each site: its turns, and how far it went within any minute. */
function openWatch() {
  const tracks = new Map<string, { values: number[]; direction: number; turns: number; perMinute: number }>();
  return {
    see(edge: number, kept: readonly number[]): void {
      for (const [site, value] of kept.entries()) {
        const key = `${edge} ${site}`;
        const track = tracks.get(key) ?? { values: [value], direction: 0, turns: 0, perMinute: 0 };
        tracks.set(key, track);
        const change = Math.sign(value - (track.values.at(-1) ?? value));
        if (change !== 0 && change === -track.direction) track.turns += 1;
        if (change !== 0) track.direction = change;
        track.values.push(value);
        if (track.values.length > 12) track.values.shift();
        track.perMinute = Math.max(track.perMinute, Math.max(...track.values) - Math.min(...track.values));
      }
    },
    turns: () => Math.max(...[...tracks.values()].map((one) => one.turns)),
    perMinute: () => Math.max(...[...tracks.values()].map((one) => one.perMinute)),
  };
}

function live({ world, capacities, calmSeconds, edges, rush, relent, text }: Story, isTold: boolean): void {
  const least = (edge: number, kept: readonly number[]): void => {
    assert(
      kept.every((one) => one >= 0.05 && one <= 1),
      `${text}: edge ${edge} keeps ${kept.join()}`,
    );
  };
  world.pass(120, least);
  for (let edge = 0; edge < edges; edge++) {
    assert(
      world.kept(edge).every((one) => one === 1),
      `${text}: sheds in the calm: ${world.kept(edge).join()}`,
    );
  }

  rush();
  world.pass(calmSeconds, least);
  const watch = openWatch();
  const minute = capacities.map(() => 0);
  const whole = capacities.map(() => 0);
  let seconds = 0;
  /** @throws AssertionError when a site had more than `most` of its capacity, in the mean of so many seconds */
  const assertFilled = (sums: number[], overSeconds: number, most: number): void => {
    const filled = sums.map((sum, site) => sum / overSeconds / (capacities[site] ?? Infinity));
    const shown = filled.map((part) => part.toFixed(2)).join();
    assert(
      filled.every((part) => part <= most),
      `${text}: in balance for ${seconds} s, loads by capacity are ${shown} over ${overSeconds} s`,
    );
    sums.fill(0);
  };
  world.pass(
    900,
    (edge, kept) => {
      least(edge, kept);
      watch.see(edge, kept);
    },
    () => {
      for (const [site, load] of world.loads().entries()) {
        minute[site] = (minute[site] ?? 0) + load;
        whole[site] = (whole[site] ?? 0) + load;
      }
      seconds += 1;
      if (seconds % 60 === 0) assertFilled(minute, 60, 1.15);
    },
  );
  assertFilled(whole, 900, 1.05);
  const [turnsMost, perMinuteMost] = isTold ? [6, 0.3] : [9, 0.3];
  assert(watch.turns() <= turnsMost, `${text}: a share turned ${watch.turns()} times in a quarter of an hour`);
  assert(watch.perMinute() <= perMinuteMost, `${text}: a share moved by ${watch.perMinute()} within a minute`);

  relent();
  world.pass(calmSeconds + 600, least);
  for (let edge = 0; edge < edges; edge++) {
    assert(
      world.kept(edge).every((one) => one === 1),
      `${text}: not all is taken back: ${world.kept(edge).join()}`,
    );
  }
}

for (const isTold of [true, false]) {
  test(`${isTold ? "sites that tell" : "edges that decide alone"} find a balance, stay there and return`, () => {
    for (let seed = firstSeed; seed < firstSeed + worlds; seed++) live(storyOf(seed, isTold), isTold);
  });
}

test("a site that had half as much again as it can do has all its clients back within a minute after the rush", () => {
  for (let seed = firstSeed; seed < firstSeed + worlds; seed++) {
    const world = openWorld({ seed, ttlSeconds: 10, sites: 3, edges: 3, clients: 1000, isTold: true });
    world.pass(60);
    const [here = 0, ...others] = world.loads();
    world.setCapacities([Math.ceil(here / 0.7), ...others.map((load) => Math.ceil(load / 0.2))]);
    world.scale(0, 1.5 / 0.7);
    world.pass(300);
    assert(
      world.kept(0).some((one) => one < 0.9),
      `SEED=${seed}: sheds nothing: ${world.kept(0).join()}`,
    );
    world.scale(0, 0.7 / 1.5);
    world.pass(60);
    for (const edge of [0, 1, 2]) {
      assert(
        world.kept(edge).every((one) => one === 1),
        `SEED=${seed}: after a minute ${world.kept(edge).join()}`,
      );
    }
  }
});
