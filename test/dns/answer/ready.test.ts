/** The table of ready answers, and when an answer is kept in it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { respond } from "../../../dns/responder.ts";
import { noerror } from "../../../dns/answer/outcomes.ts";
import { createReadyTable, emptyReadyAnswer, plainQuestionEnd } from "../../../dns/answer/ready-table.ts";
import { queryOf } from "../support/ask.ts";
import { snapshotOf } from "../support/fleet.ts";
import { respondingTo, udpClient } from "./responding.ts";

test("a kept answer is found whatever the question's case, and only for its snapshot, name, type and class", () => {
  const table = createReadyTable();
  const query = queryOf({ name: "mail.cdn.test" });
  const end = plainQuestionEnd(query, query.length);
  const message = new Uint8Array(512);
  message.set(query);
  message.set([1, 2, 3], end);
  const answer = { ...emptyReadyAnswer(), outcome: noerror, answers: 1 };
  table.keep(1, message, end, end + 3, answer);

  const found = emptyReadyAnswer();
  const find = (asked: Buffer, generation = 1): number =>
    table.find(generation, asked, plainQuestionEnd(asked, asked.length), found);
  const slot = find(queryOf({ name: "MAIL.cdn.TEST" }));
  assert.ok(slot >= 0);
  assert.deepEqual([found.recordsLength, found.answers, found.steered], [3, 1, -1]);
  const out = new Uint8Array(8);
  table.copy(slot, found.recordsLength, out, 2);
  assert.deepEqual([...out], [0, 0, 1, 2, 3, 0, 0, 0]);
  assert.equal(find(query, 2), -1, "another snapshot");
  assert.equal(find(queryOf({ name: "mall.cdn.test" })), -1, "another name");
  assert.equal(find(queryOf({ name: "mail.cdn.test", type: "AAAA" })), -1, "another type");
  assert.equal(find(queryOf({ name: "mail.cdn.test", class: 3 })), -1, "another class");
});

test("a question that is compressed, cut or long is not looked for", () => {
  const long = queryOf({ name: `${"a".repeat(63)}.${"b".repeat(20)}.test` });
  assert.equal(plainQuestionEnd(long, long.length), -1);
  const query = queryOf({ name: "mail.cdn.test" });
  assert.equal(plainQuestionEnd(query, query.length), query.length);
  assert.equal(plainQuestionEnd(query, query.length - 5), -1);
  query[12] = 0xc0;
  assert.equal(plainQuestionEnd(query, query.length), -1);
});

test("what question and snapshot settle is kept; a missing name and a steered one behind an alias are not", () => {
  const { snapshot } = snapshotOf();
  const cases: readonly (readonly [name: string, type: string, isKept: boolean])[] = [
    ["mail.cdn.test", "A", true],
    ["mail.cdn.test", "TXT", true],
    ["img.cdn.test", "A", true],
    ["away.cdn.test", "A", true],
    ["alias.cdn.test", "A", false],
    ["nothing.cdn.test", "A", false],
    ["host.child.cdn.test", "A", false],
    ["elsewhere.test", "A", false],
  ];
  for (const [name, type, isKept] of cases) {
    const query = queryOf({ name, type });
    const state = respondingTo(query, { snapshot: () => snapshot });
    respond(state, query, query.length, udpClient, state.out);
    const end = plainQuestionEnd(query, query.length);
    const slot = state.ready.find(state.generation, query, end, emptyReadyAnswer());
    assert.equal(slot >= 0, isKept, `${name} ${type}`);
  }
});
