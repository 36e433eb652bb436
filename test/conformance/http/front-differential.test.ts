/**
 * The same requests, in the same groups and pieces, to two edges that are alike: one is asked through the front, the
 * other without. Their responses must be equal, and what they asked their origins and told their metrics.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { ask, randomPieces } from "../../support/differential.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { comparable, openBoth, randomRequest, stored, textOf, unstored } from "./corpus.ts";

test("responses are the same with and without the front", async (t) => {
  const seed = seedOr(2026);
  const random = seededRandom(seed);
  const [fronted, alone] = await openBoth(t);
  const askedBefore = alone.byFront();
  const wanted = rounds(2000, 100_000);
  const words = new Map<string, number>();
  for (let asked = 0; asked < wanted;) {
    const count = random() < 0.4 ? 1 : 1 + Math.floor(random() * 8);
    const group = Array.from({ length: count }, () => randomRequest(random));
    asked += count;
    const text = group.map(textOf).join("");
    const pieces = randomPieces(Buffer.from(text, "latin1"), random);
    const where = `SEED=${seed}, request ${asked}: ${JSON.stringify(text)}`;
    const [one, other] = await Promise.all([
      ask(fronted.listeners().fronted, pieces, group),
      ask(alone.listeners().alone, pieces, group),
    ]);
    assert.deepEqual(one.answers.map(comparable), other.answers.map(comparable), where);
    assert.equal(one.answers.length, group.length, where);
    assert.ok(one.isOpen && other.isOpen, where);
    await Promise.all([fronted.flushed(), alone.flushed()]);
    const [mine, theirs] = [fronted, alone].map(({ served }) =>
      served
        .slice(-group.length)
        .map(({ host, kind, outcome, status, bodyBytes }) => [host, kind, outcome, status, bodyBytes]),
    );
    assert.deepEqual(mine, theirs, where);
    for (const { outcome } of fronted.served.slice(-group.length)) words.set(outcome, (words.get(outcome) ?? 0) + 1);
    if (random() < 0.1) for (const edge of [fronted, alone]) edge.skip(1);
  }
  t.diagnostic(JSON.stringify({ ...Object.fromEntries(words), byFront: fronted.byFront() }));
  assert.ok(fronted.byFront() > wanted / 3, "the front answers most of the hits");
  assert.equal(alone.byFront(), askedBefore, "who is alone has no front");
  for (const word of ["hit", "miss", "error"]) assert.ok((words.get(word) ?? 0) > wanted / 100, word);
  for (const target of [...Object.keys({ ...stored, ...unstored }), "/api/v1/images/p.jpg"]) {
    const [mine, theirs] = [fronted, alone].map(({ origin }) => origin.asked(target).map(({ method }) => method));
    assert.deepEqual(mine, theirs, `questions to the origin for ${target}`);
  }
});
