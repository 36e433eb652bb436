import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type FleetSecrets, secretId, secretsInOrder } from "#secret/fleet-secret.ts";
import { followSecrets } from "../../../node/fetch/secrets.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";

const a: FleetSecrets = { current: "A".repeat(43) };
const b: FleetSecrets = { current: `${"B".repeat(42)}A`, previous: a.current };
const c: FleetSecrets = { current: `${"C".repeat(42)}A`, previous: b.current };

/** Each question to the origin waits until the test answers it. */
function follow(known: FleetSecrets | null = null, store: (secrets: FleetSecrets) => Promise<void> = async () => {}) {
  const questions: PromiseWithResolvers<FleetSecrets | null>[] = [];
  const stored: FleetSecrets[] = [];
  const changes: string[][] = [];
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const follower = followSecrets({
    known,
    ask: async () => {
      const question = Promise.withResolvers<FleetSecrets | null>();
      questions.push(question);
      return await question.promise;
    },
    store: async (secrets) => {
      await store(secrets);
      stored.push(secrets);
    },
    changed: (secrets) => changes.push(secrets.map((secret) => Buffer.from(secret).toString("base64url"))),
    clock,
    log,
  });
  return { follower, questions, stored, changes, clock, lines };
}

test("what the disk remembers is known at once", () => {
  const { follower } = follow(b);
  assert.deepEqual(follower.secrets(), secretsInOrder(b));
  assert.equal(follower.id(), secretId(b.current));
  assert.deepEqual([follow().follower.secrets(), follow().follower.id()], [[], null]);
});

test("a new secret is in use and on disk when take() resolves; the same one changes nothing", async () => {
  const { follower, questions, stored, changes, lines } = follow(a);
  const first = follower.take();
  questions[0]?.resolve(b);
  await first;
  assert.deepEqual([changes, stored], [[[b.current, a.current]], [b]]);
  const second = follower.take();
  questions[1]?.resolve(structuredClone(b));
  await second;
  assert.deepEqual([changes.length, stored.length], [1, 1]);
  assert.ok(!JSON.stringify(lines).includes(b.current), "no log line holds a secret");
});

test("an origin that has none leaves what is known", async () => {
  const { follower, questions, changes } = follow(a);
  const taken = follower.take();
  questions[0]?.resolve(null);
  await taken;
  assert.deepEqual([changes, follower.id()], [[], secretId(a.current)]);
});

test("callers that ask while a request is running all get the answer to the next one", async () => {
  const { follower, questions, changes } = follow();
  const before = follower.take();
  const later = [follower.take(), follower.take(), follower.take()];
  questions[0]?.resolve(b);
  await before;
  await turn();
  assert.equal(questions.length, 2);
  questions[1]?.resolve(c);
  await Promise.all(later);
  assert.deepEqual(changes.at(-1), [c.current, b.current]);
  assert.equal(questions.length, 2);
});

test("a failure is the asker's; the next question goes out all the same", async () => {
  const { follower, questions } = follow();
  const failing = follower.take();
  const waiting = follower.take();
  questions[0]?.reject(new Error("away"));
  await assert.rejects(failing, /away/);
  await turn();
  questions[1]?.resolve(a);
  await waiting;
  assert.equal(follower.id(), secretId(a.current));
});

test("refresh() asks again until it has an answer, and no more after close()", async () => {
  const { follower, questions, clock, lines } = follow();
  follower.refresh();
  questions[0]?.reject(new Error("away"));
  await turn();
  assert.deepEqual(
    lines.map(({ level }) => level),
    ["warn"],
  );
  clock.advance(60_000);
  assert.equal(questions.length, 2);
  questions[1]?.resolve(a);
  await turn();
  clock.advance(60_000);
  assert.equal(questions.length, 2);
  follower.refresh();
  follower.close();
  questions[2]?.reject(new Error("away"));
  await turn();
  clock.advance(60_000);
  assert.equal(questions.length, 3);
});

test("a disk that refuses does not keep a secret out of use", async () => {
  const { follower, questions, changes, lines } = follow(null, async () => {
    throw new Error("no space left");
  });
  const taken = follower.take();
  questions[0]?.resolve(a);
  await taken;
  assert.equal(changes.length, 1);
  assert.deepEqual(
    lines.map(({ level }) => level),
    ["info", "error"],
  );
});
