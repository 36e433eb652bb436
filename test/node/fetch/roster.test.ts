import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { emptyRoster, type Roster } from "#document/roster.ts";
import { followRoster } from "../../../node/fetch/roster.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";

const at = (revision: number, draining: string[] = []): Roster => ({ revision, nodes: [], draining });

/** Each question to the origin waits until the test answers it. */
function follow(known: Roster | null = null) {
  const questions: PromiseWithResolvers<Roster | null>[] = [];
  const stored: Roster[] = [];
  const changes: Roster[] = [];
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const follower = followRoster({
    known,
    ask: async () => {
      const question = Promise.withResolvers<Roster | null>();
      questions.push(question);
      return await question.promise;
    },
    store: async (roster) => {
      stored.push(roster);
    },
    changed: (roster) => changes.push(roster),
    clock,
    log,
  });
  return { follower, questions, stored, changes, clock, lines };
}

test("empty before the first is known; what the disk remembers is known at once", () => {
  assert.deepEqual(follow().follower.roster(), emptyRoster);
  assert.deepEqual(follow(at(3)).follower.roster(), at(3));
});

test("a new one is in use and on disk when take() resolves; the same one changes nothing", async () => {
  const { follower, questions, stored, changes } = follow(at(1));
  const first = follower.take({ revision: 2 });
  questions[0]?.resolve(at(2, ["fra1"]));
  await first;
  assert.deepEqual([follower.roster(), changes, stored], [at(2, ["fra1"]), [at(2, ["fra1"])], [at(2, ["fra1"])]]);
  follower.refresh();
  questions[1]?.resolve(at(2, ["fra1"]));
  await turn();
  assert.equal(changes.length, 1);
});

test("an origin of an older release leaves what is known", async () => {
  const { follower, questions, changes } = follow(at(1));
  const taken = follower.take({ revision: 2 });
  questions[0]?.resolve(null);
  await taken;
  assert.deepEqual([follower.roster(), changes], [at(1), []]);
});

test("a replay of many changes is one question", async () => {
  const { follower, questions } = follow(at(1));
  follower.refresh();
  questions[0]?.resolve(at(100));
  await turn();
  for (let revision = 2; revision <= 100; revision += 1) await follower.take({ revision });
  assert.equal(questions.length, 1);
  void follower.take({ revision: 101 });
  assert.equal(questions.length, 2);
});

test("events that say nothing readable are a reason to ask", () => {
  for (const event of [null, {}, { revision: "2" }, { revision: -1 }, 7]) {
    const { follower, questions } = follow(at(5));
    void follower.take(event);
    assert.equal(questions.length, 1, JSON.stringify(event));
  }
});

test("an origin that was set back in time is believed, also where its revisions are lower", async () => {
  const { follower, questions } = follow();
  follower.refresh();
  questions[0]?.resolve(at(100));
  await turn();
  // The feed is opened anew; the origin was restored from a backup meanwhile.
  follower.refresh();
  questions[1]?.resolve(at(3));
  await turn();
  assert.equal(follower.roster().revision, 3);
  const taken = follower.take({ revision: 4 });
  questions[2]?.resolve(at(4));
  await taken;
  assert.equal(follower.roster().revision, 4);
});

test("an answer from before the feed was opened says nothing of what comes after", async () => {
  const { follower, questions } = follow();
  follower.refresh();
  follower.refresh();
  questions[0]?.resolve(at(100));
  await turn();
  const taken = follower.take({ revision: 4 });
  questions[1]?.resolve(at(3));
  await turn();
  questions[2]?.resolve(at(4));
  await taken;
  assert.equal(follower.roster().revision, 4);
});

test("refresh() asks again until it has an answer, and no more after close()", async () => {
  const { follower, questions, clock, lines } = follow();
  follower.refresh();
  questions[0]?.reject(new Error("away"));
  await turn();
  assert.match(lines[0]?.message ?? "", /could not get the roster from the origin; retrying/);
  clock.advance(60_000);
  assert.equal(questions.length, 2);
  follower.close();
  questions[1]?.reject(new Error("away"));
  await turn();
  clock.advance(60_000);
  assert.equal(questions.length, 2);
});
