/**
 * What happens in a world of health-world.ts, from its seed:
 *
 *   0 s ──calm──▶ 4 s ──faults, several at a time──▶ 20 s ──all healed──▶ 30 s: all agree, and with the truth
 *
 * or an hour in which 30 % of all packets are lost each way, for flapping.
 */
import assert from "node:assert/strict";
import type { Random } from "#base/random.ts";
import type { Fleet } from "#document/document.ts";
import { fleetWith, siteValue } from "../support/fleet.ts";
import { openReferee, type Referee } from "./health-referee.ts";
import { openWorld, type World } from "./health-world.ts";

const calmMs = 4000;
const faultsMs = 16_000;
const healedMs = 10_000;
/** Whoever fell three times is held down for a while. */
const heldMs = 35_000;
const checkMs = 100;

const hourMs = 3_600_000;
const hourSizes = [2, 2, 3, 5];
/** Of one node in another's eyes. */
const changesPerHourMost = 2;

function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

function fleetOf(sites: number, nodesOf: (site: number) => number, hasOwn: boolean): Fleet {
  let node = 0;
  return fleetWith({
    sites: Array.from({ length: sites }, (_, site) => {
      const nodes = Array.from({ length: nodesOf(site) }, (__, at) => {
        node += 1;
        const addresses = hasOwn ? [`198.51.100.${node}`] : [];
        return { name: `s${site}n${at}`, http: `http://10.0.0.${node}`, addresses };
      });
      return siteValue(`s${site}`, { nodes, addresses: hasOwn ? [] : [`192.0.2.${site + 1}`] });
    }),
    steering: [{ name: "img.cdn.test", policy: "geo" }],
  });
}

/** One thing that goes wrong for a while. */
type Fault = (world: World, lastsMs: number, told: (text: string) => void) => void;

const faults: readonly Fault[] = [
  function partition({ random, machines, setCut, after }, lastsMs, told) {
    const side = machines.map(() => random() < 0.5);
    const set = (isCut: boolean): void => {
      for (const [a, one] of side.entries()) {
        for (const [b, other] of side.entries()) if (one !== other) setCut(a, b, isCut);
      }
    };
    told(`parted: ${side.map(Number).join("")}`);
    set(true);
    after(lastsMs, () => {
      set(false);
    });
  },
  function cutLink({ random, machines, setCut, after }, lastsMs, told) {
    const [a, b] = [below(random, machines.length), below(random, machines.length)];
    const isOneWay = random() < 0.5;
    told(`cut: ${a} > ${b}${isOneWay ? "" : " and back"}`);
    const set = (isCut: boolean): void => {
      setCut(a, b, isCut);
      if (!isOneWay) setCut(b, a, isCut);
    };
    set(true);
    after(lastsMs, () => {
      set(false);
    });
  },
  function firewall({ random, machines, setBlocked, after }, lastsMs, told) {
    const at = below(random, machines.length);
    const isInbound = random() < 0.5;
    told(`blocked: connections ${isInbound ? "to" : "from"} ${at}`);
    const set = (isBlocked: boolean): void => {
      for (let other = 0; other < machines.length; other++) {
        if (isInbound) setBlocked(other, at, isBlocked);
        else setBlocked(at, other, isBlocked);
      }
    };
    set(true);
    after(lastsMs, () => {
      set(false);
    });
  },
  function loss({ random, machines, setLoss, after }, lastsMs, told) {
    const at = random() < 0.5 ? undefined : below(random, machines.length);
    const isOneWay = at !== undefined && random() < 0.5;
    told(`30 % lost ${at === undefined ? "everywhere" : `${isOneWay ? "from" : "from and to"} ${at}`}`);
    const set = (part: number): void => {
      setLoss(part, at);
      if (at !== undefined && !isOneWay) setLoss(part, undefined, at);
    };
    set(0.3);
    after(lastsMs, () => {
      set(0);
    });
  },
  function death({ random, machines, kill, start, after }, lastsMs, told) {
    const at = below(random, machines.length);
    if (machines[at]?.life !== "ready") return;
    const life = random() < 0.5 ? "refusing" : "off";
    told(`${at} is ${life}`);
    kill(at, life);
    // Some stay dead, some are back before anyone judged them.
    if (random() < 0.3) return;
    after(random() < 0.3 ? lastsMs / 10 : lastsMs, () => {
      if (machines[at]?.life === life) start(at);
    });
  },
  function slowness({ random, machines, after }, lastsMs, told) {
    const machine = machines[below(random, machines.length)];
    if (machine === undefined) return;
    const slowMs = 50 + below(random, 500);
    told(`${machine.name} takes ${slowMs} ms`);
    machine.slowMs = slowMs;
    after(lastsMs, () => {
      machine.slowMs = 0;
    });
  },
  function freeze({ random, machines, nowMs, after }, lastsMs, told) {
    const machine = machines[below(random, machines.length)];
    if (machine?.life !== "ready") return;
    const frozenMs = random() < 0.5 ? lastsMs : 200 + below(random, 2000);
    told(`${machine.name} is frozen for ${Math.round(frozenMs)} ms`);
    machine.frozenUntilMs = Math.max(machine.frozenUntilMs, nowMs() + frozenMs);
    after(frozenMs, () => undefined);
  },
];

/** A world, and how it went. */
interface Course {
  world: World;
  referee: Referee;
  /** What happened, for whoever looks for the cause of a failure. */
  story: string[];
}

function startWorld(seed: number, fleet: Fleet): Course {
  const world = openWorld(seed, fleet);
  return { world, referee: openReferee(world, fleet), story: [] };
}

/** Runs on to `untilMs`, with a look at everything ten times a second. */
async function follow({ world, referee }: Course, untilMs: number): Promise<void> {
  while (world.nowMs() < untilMs) {
    await world.run(Math.min(world.nowMs() + checkMs, untilMs));
    referee.changed();
    referee.check();
  }
}

async function live(course: Course): Promise<void> {
  const { world, referee, story } = course;
  const { random, machines } = world;
  const isWithSilent = random() < 0.2;
  for (const [at, machine] of machines.entries()) {
    machine.isSilent = isWithSilent && random() < 0.5;
    world.after(random() * 1000, () => {
      world.start(at);
    });
  }
  await follow(course, calmMs);
  const faultsEndMs = calmMs + faultsMs;
  for (let left = 1 + below(random, 6); left > 0; left--) {
    const beginMs = random() * (faultsMs - 2000);
    const lastsMs = 200 + random() * (faultsMs - beginMs - 200);
    const fault = faults[below(random, faults.length)];
    world.after(beginMs, () => {
      fault?.(world, lastsMs, (text) => story.push(`${Math.round(world.nowMs())}: ${text}`));
      referee.changed();
    });
    world.after(beginMs + lastsMs, referee.changed);
  }
  await follow(course, faultsEndMs);
  world.heal();
  referee.changed();
  await follow(course, faultsEndMs + healedMs);
  if (referee.disagreement() !== undefined) {
    const isHeld = machines.some(({ prober }) =>
      [...(prober?.health().values() ?? [])].some(({ reason }) => reason.startsWith("fell ")),
    );
    if (isHeld) await follow(course, faultsEndMs + heldMs);
  }
  assert.equal(referee.disagreement(), undefined, `after ${healedMs / 1000} s without faults`);
}

/** @throws Error that names the seed, and tells what happened */
async function tellStory(seed: number, course: Course, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    const how = `NEARCAST_SIM_SEED=${seed} node --test test/sim/health-sim.test.ts`;
    const at = `after ${Math.round(course.world.nowMs())} ms of ${how}`;
    throw new Error([(error as Error).message, at, ...course.story].join("\n  "), { cause: error });
  } finally {
    for (const { prober } of course.world.machines) prober?.close();
  }
}

/** @throws Error that tells which promise was broken, in which seed, and how it came to it */
export async function runFaults(seed: number): Promise<void> {
  // Some of its nodes share a site.
  const fleet = fleetOf(2 + (seed % 4), (site) => ((seed >> 2) % (site + 2) === 0 ? 2 : 1), seed % 3 === 0);
  const course = startWorld(seed, fleet);
  await tellStory(seed, course, () => live(course));
}

/**
 * @param loss part of the packets that is lost, each way; none is sent again, so of all attempts 1 − (1 − loss)² fail
 * @throws Error like runFaults()
 */
export async function runLossyHour(seed: number, loss: number): Promise<void> {
  const fleet = fleetOf(hourSizes[seed % hourSizes.length] ?? 2, () => 1, false);
  const course = startWorld(seed, fleet);
  await tellStory(seed, course, () => loseForAnHour(course, loss));
}

async function loseForAnHour({ world, story }: Course, loss: number): Promise<void> {
  for (const at of world.machines.keys()) world.start(at);
  await world.run(calmMs);
  world.setLoss(loss);
  const changes = new Map<string, number>();
  const states = new Map<string, string>();
  for (let ms = calmMs; ms < hourMs; ms += checkMs) {
    await world.run(ms);
    for (const { name, prober } of world.machines) {
      for (const [other, { state, reason }] of prober?.health() ?? []) {
        const pair = `${other} in the eyes of ${name}`;
        if (states.get(pair) === state) continue;
        states.set(pair, state);
        changes.set(pair, (changes.get(pair) ?? -1) + 1);
        story.push(`${ms}: ${pair} is ${state}: ${reason}`);
      }
    }
  }
  for (const [pair, count] of changes) assert(count <= changesPerHourMost, `${pair} changed ${count} times`);
}
