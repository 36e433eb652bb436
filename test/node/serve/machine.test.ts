/** The life of a request: which steps are called in which order, what is delivered and what is thrown. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, NearcastError } from "#base/errors.ts";
import type { Use } from "../../../node/cache/freshness.ts";
import { createPatience } from "../../../node/serve/patience.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { deliverInstead, type Found, Outdated, run, type Steps } from "../../../node/serve/machine.ts";

type State = Use["state"];
type Failure = ErrorCode | "outdated" | "bug";

interface Script {
  readonly found?: State;
  /** What the first, second … delivery throws; undefined: it delivers. */
  readonly deliveries?: readonly (Failure | undefined)[];
  readonly ask?: Failure;
}

const bug = new TypeError("a bug");

function thrown(failure: Failure): Error {
  if (failure === "bug") return bug;
  return failure === "outdated" ? new Outdated("its source changed") : new NearcastError(failure, "failed");
}

/** Steps that write down how they are called. */
function stepsOf(script: Script, log: string[]): Steps<string, string> {
  const failures = [...(script.deliveries ?? [])];
  const use = script.found && ({ state: script.found, ageSeconds: 0, ttlSeconds: 0 } satisfies Use);
  return {
    lookUp() {
      log.push("lookUp");
      return use && { entry: "stored", use };
    },
    deliver({ entry }, because) {
      log.push(`deliver ${entry} ${because}`);
      const failure = failures.shift();
      if (failure !== undefined) throw thrown(failure);
      return `${entry}, ${because}`;
    },
    async ask(before) {
      log.push(`ask ${before?.entry ?? "anew"}`);
      await Promise.resolve();
      if (script.ask !== undefined) throw thrown(script.ask);
      return "answer";
    },
    async askBehind({ entry }) {
      log.push(`askBehind ${entry}`);
      await Promise.resolve();
    },
    waiting: { patience: createPatience(fakeClock()), key: "stored", waitMsFor: () => 1000 },
  };
}

const nameOf = (error: unknown): string => {
  if (error instanceof NearcastError) return error.code;
  if (error instanceof Outdated) return "outdated";
  assert.equal(error, bug);
  return "bug";
};

const fresh = "deliver stored fresh";
const revalidating = "deliver stored revalidating";
const instead = "deliver stored origin-error";
const ask = "ask stored";
const behind = "askBehind stored";

const rows: [script: Script, steps: string[], outcome: string][] = [
  // Nothing is stored.
  [{}, ["ask anew"], "answer"],
  [{ ask: "ORIGIN_TIMEOUT" }, ["ask anew"], "throws ORIGIN_TIMEOUT"],
  [{ ask: "bug" }, ["ask anew"], "throws bug"],
  // Too old for everything: what may be revalidated is handed on, and nothing else can be delivered.
  [{ found: "expired" }, [ask], "answer"],
  [{ found: "expired", ask: "ORIGIN_TIMEOUT" }, [ask], "throws ORIGIN_TIMEOUT"],
  // Fresh: nobody is asked.
  [{ found: "fresh" }, [fresh], "stored, fresh"],
  [{ found: "fresh", deliveries: ["outdated"] }, [fresh, ask], "answer"],
  [{ found: "fresh", deliveries: ["outdated"], ask: "ORIGIN_TIMEOUT" }, [fresh, ask], "throws ORIGIN_TIMEOUT"],
  [{ found: "fresh", deliveries: ["DISK_FAILED"] }, [fresh], "throws DISK_FAILED"],
  [{ found: "fresh", deliveries: ["bug"] }, [fresh], "throws bug"],
  // Stale while it is revalidated (RFC 5861 §3): the renewal begins before the delivery, which does not wait for it.
  [{ found: "stale-revalidate" }, [behind, revalidating], "stored, revalidating"],
  [{ found: "stale-revalidate", deliveries: ["outdated"] }, [behind, revalidating, ask], "answer"],
  [
    { found: "stale-revalidate", deliveries: ["outdated"], ask: "ORIGIN_BAD_ANSWER" },
    [behind, revalidating, ask],
    "throws ORIGIN_BAD_ANSWER",
  ],
  [{ found: "stale-revalidate", deliveries: ["bug"] }, [behind, revalidating], "throws bug"],
  // Stale if the origin fails (RFC 5861 §4) or this node is overloaded, and for no other reason.
  [{ found: "stale-if-error" }, [ask], "answer"],
  [{ found: "stale-if-error", ask: "ORIGIN_TIMEOUT" }, [ask, instead], "stored, origin-error"],
  [{ found: "stale-if-error", ask: "ORIGIN_UNREACHABLE" }, [ask, instead], "stored, origin-error"],
  [{ found: "stale-if-error", ask: "BAD_REQUEST" }, [ask], "throws BAD_REQUEST"],
  [{ found: "stale-if-error", ask: "OVERLOADED" }, [ask, "deliver stored overloaded"], "stored, overloaded"],
  [{ found: "expired", ask: "OVERLOADED" }, [ask], "throws OVERLOADED"],
  [{ found: "stale-if-error", ask: "bug" }, [ask], "throws bug"],
  [
    { found: "stale-if-error", ask: "ORIGIN_TIMEOUT", deliveries: ["outdated"] },
    [ask, instead],
    "throws ORIGIN_TIMEOUT",
  ],
  [{ found: "stale-if-error", ask: "ORIGIN_TIMEOUT", deliveries: ["bug"] }, [ask, instead], "throws bug"],
];

for (const [script, steps, outcome] of rows) {
  test(`${JSON.stringify(script)}: ${outcome}`, async () => {
    const log: string[] = [];
    const ended = await (async () => await run(stepsOf(script, log)))().catch(
      (error: unknown) => `throws ${nameOf(error)}`,
    );
    assert.equal(ended, outcome);
    assert.deepEqual(log, ["lookUp", ...steps]);
  });
}

test("steps may answer at once or later, and a lookup that fails is the request's failure", async () => {
  const use: Use = { state: "fresh", ageSeconds: 0, ttlSeconds: 1 };
  const steps = stepsOf({}, []);
  const found: Found<string> = { entry: "later", use };
  assert.equal(
    await run({ ...steps, lookUp: () => Promise.resolve(found), deliver: () => Promise.resolve("delivered") }),
    "delivered",
  );
  const outdated = (): Promise<string> => Promise.reject(new Outdated("its source changed"));
  assert.equal(await run({ ...steps, lookUp: () => Promise.resolve(found), deliver: outdated }), "answer");
  await assert.rejects(async () => await run({ ...steps, lookUp: () => Promise.reject(bug) }), bug);
  assert.equal(run({ ...steps, lookUp: () => found }), "later, fresh", "a hit needs no promise");
});

test("what is not an error of ours never makes a stale entry go out", async () => {
  const found: Found<string> = { entry: "stored", use: { state: "stale-if-error", ageSeconds: 9, ttlSeconds: -1 } };
  for (const failure of ["a text", undefined, bug]) {
    const log: string[] = [];
    await assert.rejects(deliverInstead(stepsOf({}, log), found, failure), (error) => error === failure);
    assert.deepEqual(log, []);
  }
});

/** A stale entry in front of an origin that answers when the test says so. */
function lateOrigin(deliveries: readonly (Failure | undefined)[] = []) {
  const clock = fakeClock();
  const patience = createPatience(clock);
  const log: string[] = [];
  const answer = Promise.withResolvers<string>();
  const signals: (AbortSignal | undefined)[] = [];
  const steps: Steps<string, string> = {
    ...stepsOf({ found: "stale-if-error", deliveries }, log),
    async ask(_before, late) {
      log.push("ask");
      signals.push(late);
      return await answer.promise;
    },
    async askBehind() {
      log.push("askBehind");
      await answer.promise.catch(() => undefined);
    },
    waiting: { patience, key: "stored", waitMsFor: () => 1000 },
  };
  return { clock, log, answer, signals, steps };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("if the origin is late, the stale entry is delivered after the wait, and the question continues", async () => {
  const { clock, log, answer, signals, steps } = lateOrigin();
  let delivered: string | undefined;
  const first = Promise.resolve(run(steps)).then((result) => (delivered = result));
  clock.advance(999);
  await turn();
  assert.equal(delivered, undefined, "it is waited for");
  const second = Promise.resolve(run(steps));
  clock.advance(1);
  assert.equal(await first, "stored, origin-slow");
  assert.equal(await second, "stored, origin-slow", "the wait began with the first of them");
  assert.deepEqual(
    signals.map((signal) => signal?.aborted),
    [true, true],
    "nobody takes those results",
  );
  log.length = 0;
  assert.equal(await run(steps), "stored, origin-slow", "and then nobody waits");
  assert.deepEqual(log, ["lookUp", "askBehind", "deliver stored origin-slow"]);
  answer.resolve("answer");
  await turn();
  assert.equal(await run(steps), "answer", "the question has ended: the next one is waited for");
});

test("an answer within the wait is delivered, and so is a failure", async () => {
  const { clock, log, answer, signals, steps } = lateOrigin();
  const asked = Promise.resolve(run(steps));
  clock.advance(999);
  answer.resolve("answer");
  assert.equal(await asked, "answer");
  clock.advance(10_000);
  await turn();
  assert.deepEqual(log, ["lookUp", "ask"]);
  assert.equal(signals[0]?.aborted, false);
  const failing = lateOrigin();
  const failed = Promise.resolve(run(failing.steps));
  failing.answer.reject(new NearcastError("ORIGIN_TIMEOUT", "no response"));
  assert.equal(await failed, "stored, origin-error");
});

test("if the stale entry is gone when the origin is late, the request waits for the answer after all", async () => {
  const { clock, answer, signals, steps } = lateOrigin(["outdated"]);
  const asked = Promise.resolve(run(steps));
  clock.advance(1000);
  await turn();
  answer.resolve("answer");
  assert.equal(await asked, "answer");
  assert.equal(signals[0]?.aborted, false);
  const broken = lateOrigin(["bug"]);
  const failed = Promise.resolve(run(broken.steps));
  const rejects = assert.rejects(failed, bug);
  broken.clock.advance(1000);
  await rejects;
  assert.equal(broken.signals[0]?.aborted, true);
});

test("with a wait of 0, the stale entry is delivered at once, and the question is asked behind it", async () => {
  const { log, steps } = lateOrigin();
  const impatient = { ...steps, waiting: { ...steps.waiting, waitMsFor: () => 0 } };
  assert.equal(await run(impatient), "stored, origin-slow");
  assert.deepEqual(log, ["lookUp", "askBehind", "deliver stored origin-slow"]);
});

test("an entry that was replaced is not delivered because its origin is late, only because it fails", async () => {
  const { clock, log, answer, steps } = lateOrigin();
  const asked = Promise.resolve(run({ ...steps, waiting: { ...steps.waiting, waitMsFor: () => null } }));
  clock.advance(100_000);
  await turn();
  assert.deepEqual(log, ["lookUp", "ask"]);
  answer.reject(new NearcastError("ORIGIN_TIMEOUT", "no response"));
  assert.equal(await asked, "stored, origin-error");
});
