import assert from "node:assert/strict";
import { PassThrough, type Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type FeedEvent, type FeedPosition, followFeed } from "#follow/feed.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";

/** One connection to the feed, in the hands of the test. */
class Connection {
  readonly stream = new PassThrough();
  readonly since: number | null;
  constructor(since: number | null, signal: AbortSignal) {
    this.since = since;
    signal.addEventListener("abort", () => this.stream.destroy(signal.reason as Error));
  }
  async hello(latestSeq: number, originId = "o"): Promise<void> {
    await this.write(`event: hello\ndata: ${JSON.stringify({ originId, latestSeq })}\n\n`);
  }
  async event(seq: number | string, kind = "purge", data: unknown = {}): Promise<void> {
    await this.write(`id: ${seq}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
  }
  async write(text: string): Promise<void> {
    this.stream.write(text);
    await turns();
  }
}

/** Lets everything that is ready happen. */
async function turns(): Promise<void> {
  for (let count = 0; count < 6; count += 1) await turn();
}

function follow(
  t: TestContext,
  options: {
    position?: FeedPosition | null;
    apply?: (event: FeedEvent) => Promise<void>;
    save?: () => Promise<void>;
    reset?: () => Promise<void>;
    refuse?: () => boolean;
    refusal?: () => string;
  } = {},
) {
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const connections: Connection[] = [];
  const did: string[] = [];
  const feed = followFeed({
    async open(since, signal) {
      await turn();
      if (options.refuse?.() === true) throw new Error(options.refusal?.() ?? "refused");
      const connection = new Connection(since, signal);
      connections.push(connection);
      return connection.stream;
    },
    position: options.position === undefined ? { originId: "o", seq: 5 } : options.position,
    async save({ originId, seq }) {
      await options.save?.();
      did.push(`saved ${originId} ${seq}`);
    },
    async apply(event) {
      did.push(`applying ${event.seq}`);
      await options.apply?.(event);
      did.push(`applied ${event.seq}`);
    },
    async reset() {
      did.push("reset");
      await options.reset?.();
    },
    clock,
    random: () => 1,
    log,
  });
  t.after(() => feed.close());
  return {
    feed,
    clock,
    did,
    lines,
    connections,
    /** The `number`-th connection, once it is open. */
    connection: async (number: number): Promise<Connection> => {
      for (let count = 0; count < 50; count += 1) {
        const found = connections[number - 1];
        if (found !== undefined) return found;
        await turn();
      }
      throw new Error(`there is no connection ${number}`);
    },
  };
}

test("an edge that missed events replays them in order, behind a gate until the last is applied", async (t) => {
  const { feed, did, connection } = follow(t);
  assert.equal(feed.gate(), null);
  const first = await connection(1);
  assert.equal(first.since, 5);
  await first.hello(7);
  assert.equal(feed.state(), "replaying");
  let isOpen = false;
  const gate = feed.gate()?.then(() => (isOpen = true));
  await first.event(6);
  assert(!isOpen);
  await first.event(7);
  await gate;
  assert.equal(feed.state(), "live");
  assert.equal(feed.gate(), null);
  await feed.firstContact;
  await first.event(8);
  assert.deepEqual(did, [
    "saved o 5",
    // Within a second, and others are missing still: it is saved with the next.
    "applying 6",
    "applied 6",
    ...[7, 8].flatMap((seq) => [`applying ${seq}`, `applied ${seq}`, `saved o ${seq}`]),
  ]);
  assert.deepEqual(feed.position(), { originId: "o", seq: 8 });
});

test("an edge that missed nothing is live with the hello", async (t) => {
  const { feed, did, connection } = follow(t);
  await (await connection(1)).hello(5);
  assert.equal(feed.state(), "live");
  assert.deepEqual(did, ["saved o 5"]);
});

test("a position is saved only after its event was applied, and an event that fails is tried again", async (t) => {
  let failures = 1;
  const { feed, did, clock, lines, connection } = follow(t, {
    apply: async () => {
      if ((failures -= 1) >= 0) throw new Error("disk full");
    },
  });
  const first = await connection(1);
  await first.hello(6);
  await first.event(6);
  assert.deepEqual(feed.position(), { originId: "o", seq: 5 });
  assert.deepEqual(did, ["saved o 5", "applying 6"]);
  assert.equal(feed.state(), "disconnected");
  assert.equal(lines.at(-1)?.facts["reason"], "disk full");
  clock.advance(1000);
  const second = await connection(2);
  assert.equal(second.since, 5);
  await second.hello(6);
  await second.event(6);
  assert.deepEqual(feed.position(), { originId: "o", seq: 6 });
});

test("a position that can't be saved holds no purge back", async (t) => {
  const { feed, did, lines, connection } = follow(t, { save: () => Promise.reject(new Error("ENOSPC")) });
  const first = await connection(1);
  await first.hello(6);
  await first.event(6);
  await first.event(7);
  assert.equal(feed.state(), "live");
  assert.deepEqual(did, ["applying 6", "applied 6", "applying 7", "applied 7"]);
  assert(lines.some(({ level, message }) => level === "error" && message.includes("could not be saved")));
});

test("what resets: first contact, another origin, an origin set back in time, and its own word", async (t) => {
  const rows: [what: string, position: FeedPosition | null, hello: [number, string], isReset: boolean][] = [
    ["first contact", null, [9, "o"], true],
    ["another origin", { originId: "p", seq: 9 }, [9, "o"], true],
    ["set back", { originId: "o", seq: 10 }, [9, "o"], true],
    ["known", { originId: "o", seq: 9 }, [9, "o"], false],
  ];
  for (const [what, position, [latestSeq, originId], isReset] of rows) {
    const { feed, did, connection } = follow(t, { position });
    const first = await connection(1);
    assert.equal(first.since, position === null ? null : position.seq);
    await first.hello(latestSeq, originId);
    assert.equal(did.includes("reset"), isReset, what);
    assert.deepEqual(feed.position(), { originId, seq: latestSeq }, what);
    assert.equal(feed.state(), "live", what);
    await feed.close();
  }
  const { feed, did, connection } = follow(t);
  const first = await connection(1);
  await first.hello(9);
  await first.write("event: reset\ndata: {}\n\n");
  assert(did.includes("reset"));
  assert.deepEqual(feed.position(), { originId: "o", seq: 9 });
  await first.event(8);
  assert(!did.includes("applying 8"), "what the reset covers is not applied again");
});

test("while everything is reset there is no position, and a reset that fails is done again", async (t) => {
  let failures = 1;
  const { feed, did, clock, connection } = follow(t, {
    position: { originId: "p", seq: 100 },
    reset: async () => {
      assert.equal(feed.position(), null, "what is fetched now must not carry the other origin's number");
      if ((failures -= 1) >= 0) throw new Error("no");
    },
  });
  await (await connection(1)).hello(3);
  assert.equal(feed.state(), "disconnected");
  clock.advance(1000);
  const second = await connection(2);
  assert.equal(second.since, null);
  await second.hello(3);
  assert.deepEqual(did, ["reset", "reset", "saved o 3"]);
});

test("an event that is older than the position is not applied again", async (t) => {
  const { did, connection } = follow(t);
  const first = await connection(1);
  await first.hello(6);
  await first.event(4);
  await first.event(5);
  await first.event(6);
  assert.deepEqual(did, ["saved o 5", "applying 6", "applied 6", "saved o 6"]);
});

test("a feed that breaks off is followed again after a growing pause, short again once it was live", async (t) => {
  let isRefused = true;
  const { feed, clock, lines, connections, connection } = follow(t, { refuse: () => isRefused });
  await turns();
  await feed.firstContact; // the first attempt has failed: who waits for it goes on
  const pauses: number[] = [];
  for (let attempt = 0; attempt < 6; attempt += 1) {
    const before = lines.length;
    let waitedMs = 0;
    for (; lines.length === before; waitedMs += 100) {
      clock.advance(100);
      await turns();
    }
    pauses.push(waitedMs);
  }
  assert.deepEqual(pauses, [400, 800, 1600, 3200, 5000, 5000]);
  isRefused = false;
  clock.advance(5000);
  const first = await connection(1);
  await first.hello(5);
  first.stream.destroy(new Error("cut"));
  await turns();
  clock.advance(200);
  await connection(2);
  assert.equal(connections.length, 2);
});

test("the same reason is logged once, however long it lasts; a new reason and the return are logged", async (t) => {
  let reason = "status 401 for the feed";
  let isRefused = true;
  const { clock, lines, connection } = follow(t, { refuse: () => isRefused, refusal: () => reason });
  const attempts = async (count: number): Promise<void> => {
    for (let attempt = 0; attempt < count; attempt += 1) {
      await turns();
      clock.advance(5000);
    }
    await turns();
  };
  const told = (): unknown[] =>
    lines.filter(({ level }) => level !== "debug").map(({ facts, message }) => facts["reason"] ?? message);
  await attempts(10);
  assert.deepEqual(told(), ["status 401 for the feed"]);
  assert.ok(lines.length > 5, "each attempt is in the debug log");
  reason = "connection refused";
  await attempts(10);
  assert.deepEqual(told(), ["status 401 for the feed", "connection refused"]);
  isRefused = false;
  await attempts(1);
  const first = await connection(1);
  await first.hello(5);
  isRefused = true;
  first.stream.destroy(new Error("connection refused"));
  await attempts(3);
  assert.deepEqual(told().slice(2), ["reconnected to the feed", "connection refused"]);
});

test("an orderly end of the stream is a break like any other", async (t) => {
  const { feed, clock, connection } = follow(t);
  const first = await connection(1);
  await first.hello(5);
  first.stream.end();
  await turns();
  assert.equal(feed.state(), "disconnected");
  clock.advance(200);
  await connection(2);
});

test("silence longer than seven seconds is a break; comments are signs of life", async (t) => {
  const { feed, clock, lines, connection } = follow(t);
  const first = await connection(1);
  await first.hello(5);
  for (let beat = 0; beat < 10; beat += 1) {
    clock.advance(2000);
    await first.write(": beat\n\n");
  }
  assert.equal(feed.state(), "live");
  assert.equal(clock.monotonicMs() - (feed.heardAtMs() ?? 0), 0);
  clock.advance(7001);
  await turns();
  assert.equal(feed.state(), "disconnected");
  assert.match(String(lines.at(-1)?.facts["reason"]), /^nothing heard for 7 s$/);
});

test("an origin that never answers the connection is given up after the same silence", async (t) => {
  const clock = fakeClock();
  const { log, lines } = keptLog();
  let attempts = 0;
  const feed = followFeed({
    open: (_since, signal) => {
      attempts += 1;
      return new Promise<Readable>((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          reject(signal.reason as Error);
        });
      });
    },
    position: null,
    save: () => Promise.resolve(),
    apply: () => Promise.resolve(),
    reset: () => Promise.resolve(),
    clock,
    random: () => 1,
    log,
  });
  t.after(() => feed.close());
  await turns();
  clock.advance(7001);
  await turns();
  assert.equal(lines.length, 1);
  clock.advance(1000);
  await turns();
  assert.equal(attempts, 2);
});

test("what makes no sense breaks off loudly instead of being skipped, and the gate does not stay shut", async (t) => {
  const rows: [what: string, text: string][] = [
    ["no hello", "id: 6\nevent: purge\ndata: {}\n\n"],
    ["no JSON", "event: hello\ndata: {\n\n"],
    ["a hello without numbers", 'event: hello\ndata: {"originId":"o"}\n\n'],
    ["a hello that is nothing", "event: hello\ndata: null\n\n"],
    ["an event without number", 'event: hello\ndata: {"originId":"o","latestSeq":9}\n\nevent: purge\ndata: {}\n\n'],
    ["a number that is none", 'event: hello\ndata: {"originId":"o","latestSeq":9}\n\nid: 0x7\ndata: {}\n\n'],
    ["a number too large", `event: hello\ndata: {"originId":"o","latestSeq":9}\n\nid: ${"9".repeat(20)}\ndata: {}\n\n`],
  ];
  for (const [what, text] of rows) {
    const { feed, lines, did, connection } = follow(t);
    await (await connection(1)).write(text);
    await turns();
    assert.equal(feed.state(), "disconnected", what);
    assert.equal(feed.gate(), null, what);
    assert.equal(lines.length, 1, what);
    assert(!did.some((line) => line.startsWith("applying")), what);
    assert.deepEqual(feed.position(), { originId: "o", seq: 5 }, what);
    await feed.close();
  }
});

test("who waits at the gate is let go when the feed breaks off in the middle of a replay", async (t) => {
  const { feed, connection } = follow(t);
  const first = await connection(1);
  await first.hello(9);
  const gate = feed.gate();
  assert(gate !== null);
  first.stream.destroy(new Error("cut"));
  await gate;
});

test("close ends the following, also in the middle of a pause or of a connection", async (t) => {
  for (const isConnected of [true, false]) {
    const { feed, clock, connections, connection } = follow(t, { refuse: () => !isConnected });
    if (isConnected) await (await connection(1)).hello(5);
    else await turns();
    await feed.close();
    const count = connections.length;
    clock.advance(60_000);
    await turns();
    assert.equal(connections.length, count);
    assert.equal(feed.state(), "disconnected");
  }
});
