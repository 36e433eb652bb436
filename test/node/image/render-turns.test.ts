import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { NearcastError } from "../../../node/base/errors.ts";
import { seededRandom } from "../../../node/base/random.ts";
import { type Client, openRenderTurns, type RenderTurns } from "../../../node/image/render-turns.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";

let clock: FakeClock;
let turns: RenderTurns<string>;
/** What has its place, and how it ends. */
let running: Map<string, PromiseWithResolvers<string>>;
/** The reasons why work was stopped. */
let stopped: string[];
let ranks: Map<string, number>;

beforeEach(() => {
  clock = fakeClock();
  turns = openRenderTurns({ workers: 2, waitingMax: () => 100, waitMsMax: 10_000, clock });
  running = new Map();
  stopped = [];
  ranks = new Map();
});

/** Takes all places, for several networks, since one gets no more than four. */
function fill(): void {
  for (const key of ["1", "2", "3", "4", "5", "6"]) void ask(key, 100, client(key));
}

/** Lets everything happen that needs no time. */
async function eventTurns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

function client(network: string, leave = new AbortController()): Client {
  return { clientNetwork: network, signal: leave.signal };
}

/** Joins the work for a key that ends when the test says so; a stopped one ends then too, as a process does. */
function ask(key: string, costMs: number, from: Client): Promise<string> {
  const { result } = turns.join(key, from, (flight) =>
    flight.turn(costMs, (rank) => {
      ranks.set(key, rank);
      const work = Promise.withResolvers<string>();
      // One that is being stopped may still have its place when the next for its key begins.
      let name = key;
      while (running.has(name)) name += "+";
      running.set(name, work);
      flight.signal.addEventListener("abort", () => stopped.push(key));
      return work.promise.finally(() => running.delete(name));
    }),
  );
  result.catch(() => undefined);
  return result;
}

async function end(key: string, tookMs = 0): Promise<void> {
  clock.advance(tookMs);
  running.get(key)?.resolve(`made ${key}`);
  await eventTurns(10);
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => "nothing was thrown",
    (thrown: unknown) => thrown,
  );
  return error instanceof NearcastError ? error.code : String(error);
}

describe("joining", () => {
  it("all who want the same get the same, from one piece of work", async () => {
    const asked = [ask("a", 100, client("x")), ask("a", 100, client("y")), ask("a", 100, client("x"))];
    await eventTurns(10);
    assert.deepEqual([...running.keys()], ["a"]);
    await end("a", 100);
    assert.deepEqual(await Promise.all(asked), ["made a", "made a", "made a"]);
    void ask("a", 100, client("x"));
    assert.equal(turns.counts().running, 1, "what is over is begun anew");
    await end("a");
  });

  it("a failure reaches all who wait", async () => {
    const asked = [ask("a", 100, client("x")), ask("a", 100, client("y"))];
    await eventTurns(10);
    running.get("a")?.reject(new NearcastError("BROKEN_IMAGE", "no"));
    assert.deepEqual(await Promise.all(asked.map(codeOf)), ["BROKEN_IMAGE", "BROKEN_IMAGE"]);
    assert.equal(turns.counts().running, 0);
  });
});

describe("one network that asks for much", () => {
  it("15 large pictures leave a worker to the others, and those beyond its budget are refused at once", async () => {
    const flood = Array.from({ length: 15 }, (_, index) => ask(`large ${index}`, 8000, client("x")));
    await eventTurns(10);
    assert.deepEqual([...running.keys()], ["large 0"]);
    assert.deepEqual([turns.counts().waiting, turns.counts().networkRefusals], [2, 12]);
    assert.equal(await codeOf(flood[14] ?? Promise.resolve()), "NETWORK_OVERLOADED");
    const other = ask("small", 50, client("y"));
    await eventTurns(10);
    assert(running.has("small"));
    await end("small", 50);
    assert.equal(await other, "made small");
  });

  it("hundreds of small ones make another network wait for what runs, and no longer", async () => {
    for (let index = 0; index < 50; index += 1) void ask(`x${index}`, 100, client("x"));
    const other = ask("y", 100, client("y"));
    await eventTurns(10);
    assert.deepEqual([...running.keys()], ["x0", "x1", "x2", "x3", "y"], "two are prepared, and then the other one");
    const [x3 = 0, y = 0] = [ranks.get("x3"), ranks.get("y")];
    assert(y < x3, "and it goes first");
    await end("y", 100);
    await other;
  });

  it("joining what another network waits for begins it, where there is a place for who joins", async () => {
    for (let index = 0; index < 50; index += 1) void ask(`x${index}`, 100, client("x"));
    await eventTurns(10);
    assert(!running.has("x9"));
    const other = ask("x9", 100, client("y"));
    await eventTurns(10);
    assert(running.has("x9"));
    await end("x9", 100);
    assert.equal(await other, "made x9");
  });
});

describe("leaving", () => {
  it("who leaves gets the reason at once; the work goes on for the others", async () => {
    const leave = new AbortController();
    const asked = [ask("a", 5000, client("x", leave)), ask("a", 5000, client("y"))];
    await eventTurns(10);
    leave.abort(new Error("gone"));
    await assert.rejects(asked[0] ?? Promise.resolve(), /gone/);
    assert.deepEqual(stopped, []);
    await end("a", 5000);
    assert.equal(await asked[1], "made a");
  });

  it("a rendering that nobody waits for any more leaves the queue", async () => {
    const leave = new AbortController();
    for (const key of ["1", "2", "3", "4"]) void ask(key, 100, client("x"));
    const waiting = ask("a", 100, client("x", leave));
    await eventTurns(10);
    assert.equal(turns.counts().waiting, 1);
    leave.abort(new Error("gone"));
    await assert.rejects(waiting, /gone/);
    assert.deepEqual([turns.counts().waiting, turns.counts().dropped], [0, 1]);
    const again = ask("a", 100, client("y"));
    await end("1", 100);
    await end("a", 100);
    assert.equal(await again, "made a");
  });

  it("one that runs is stopped, and keeps its place until its process is replaced", async () => {
    const leave = new AbortController();
    void ask("a", 5000, client("x", leave));
    void ask("b", 5000, client("y"));
    await eventTurns(10);
    clock.advance(1000);
    leave.abort(new Error("gone"));
    assert.deepEqual(stopped, ["a"]);
    await eventTurns(10);
    assert(!running.has("b"), "its place is not free yet");
    await end("a", 500);
    assert(running.has("b"));
    assert.equal(turns.counts().stopped, 1);
  });

  it("one that is nearly done is finished, and whoever comes meanwhile joins it", async () => {
    const leave = new AbortController();
    void ask("a", 1000, client("x", leave));
    await eventTurns(10);
    clock.advance(600);
    leave.abort(new Error("gone"));
    clock.advance(100);
    const joined = ask("a", 1000, client("y"));
    clock.advance(5000);
    assert.deepEqual(stopped, [], "somebody waits again");
    await end("a");
    assert.equal(await joined, "made a");
  });

  it("but not for long when it takes more than was estimated", async () => {
    const leave = new AbortController();
    void ask("a", 100, client("x", leave));
    await eventTurns(10);
    leave.abort(new Error("gone"));
    clock.advance(599);
    assert.deepEqual(stopped, []);
    clock.advance(1);
    assert.deepEqual(stopped, ["a"]);
    await end("a");
  });

  it("a client that has left before it asks begins nothing", async () => {
    const leave = new AbortController();
    leave.abort(new Error("gone"));
    await assert.rejects(ask("a", 100, client("x", leave)), /gone/);
    await eventTurns(10);
    assert.deepEqual([running.size, turns.counts().running, turns.counts().waiting], [0, 0, 0]);
  });
});

describe("waiting", () => {
  it("has a deadline for each client; who came later may wait on", async () => {
    fill();
    const first = ask("a", 100, client("y"));
    await eventTurns(10);
    clock.advance(6000);
    const second = ask("a", 100, client("z"));
    clock.advance(4000);
    assert.equal(await codeOf(first), "OVERLOADED");
    assert.equal(turns.counts().waiting, 1);
    await end("1");
    await end("a");
    assert.equal(await second, "made a");
  });

  it("who finds no place gives back what takes memory", async () => {
    fill();
    let waits = 0;
    const noteWait = (): void => {
      waits += 1;
    };
    const { result } = turns.join("a", client("y"), (flight) =>
      flight.turn(100, () => Promise.resolve("made"), noteWait),
    );
    await eventTurns(10);
    assert.equal(waits, 1);
    await end("1");
    assert.equal(await result, "made");
  });
});

it("whatever clients do, everyone gets an answer and nothing is left (seeded)", async () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const random = seededRandom(seed);
    const whole = (max: number): number => Math.floor(random() * max);
    const leaves: AbortController[] = [];
    const asked: Promise<string>[] = [];
    for (let step = 0; step < 200; step += 1) {
      const leave = new AbortController();
      const some = [...running.keys()];
      switch (whole(4)) {
        case 0:
        case 1:
          leaves.push(leave);
          asked.push(ask(`k${whole(30)}`, 1 + whole(4000), client(`n${whole(5)}`, leave)));
          break;
        case 2:
          leaves[whole(leaves.length)]?.abort(new Error("gone"));
          break;
        case 3:
          await end(some[whole(some.length)] ?? "", whole(700));
          break;
      }
      await eventTurns(2);
    }
    for (let round = 0; running.size > 0 || turns.counts().waiting > 0; round += 1) {
      assert(round < 1000, `seed ${seed}: it never ends`);
      for (const key of running.keys()) await end(key, 10);
    }
    await Promise.allSettled(asked);
    const { waiting, waitingCostMs, running: placed } = turns.counts();
    assert.deepEqual({ waiting, waitingCostMs, placed }, { waiting: 0, waitingCostMs: 0, placed: 0 }, `seed ${seed}`);
  }
});
