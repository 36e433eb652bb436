/** The life of a request: which steps are called in which order, what is delivered and what is thrown. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, NearcastError } from "#base/errors.ts";
import type { Use } from "../../../node/cache/freshness.ts";
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
    askBehind({ entry }) {
      log.push(`askBehind ${entry}`);
    },
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
  // Stale if the origin fails (RFC 5861 §4), and for no other reason.
  [{ found: "stale-if-error" }, [ask], "answer"],
  [{ found: "stale-if-error", ask: "ORIGIN_TIMEOUT" }, [ask, instead], "stored, origin-error"],
  [{ found: "stale-if-error", ask: "ORIGIN_UNREACHABLE" }, [ask, instead], "stored, origin-error"],
  [{ found: "stale-if-error", ask: "BAD_REQUEST" }, [ask], "throws BAD_REQUEST"],
  [{ found: "stale-if-error", ask: "OVERLOADED" }, [ask], "throws OVERLOADED"],
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
