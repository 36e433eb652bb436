/** What `nearcast audit` prints: a table where it fits, some lines for each entry where it does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { auditLines } from "../../../../../deploy/cli/verbs/audit/audit-view.ts";
import { timeText } from "../../../../../deploy/cli/output.ts";

const purge = {
  id: 2,
  at: "2026-03-01T11:00:07.000Z",
  kind: "purge",
  author: "ada",
  token: { kind: "writer", id: "1a2b3c4d5e6f" },
  address: "192.0.2.7",
  targets: ["shop/chair.jpg"],
  targetCount: 1,
  facts: { seq: 4, soft: true },
};
const apply = {
  ...purge,
  id: 1,
  kind: "fleet-apply",
  targets: [],
  targetCount: 0,
  facts: { version: 4, versionBefore: 3, summary: `host img.cdn.test changed; ${"limits changed; ".repeat(8)}` },
};
const time = timeText(purge.at);

test("a pipe and a wide terminal get a table, with times as all verbs tell them", () => {
  const table = [
    "TIME                        KIND   NAME            AUTHOR  TOKEN                ADDRESS    CHANGE",
    `${time}  purge  shop/chair.jpg  ada     writer 1a2b3c4d5e6f  192.0.2.7  event 4, soft`,
  ];
  assert.deepEqual(auditLines([purge]), table);
  assert.deepEqual(auditLines([purge], 120), table);
  assert.deepEqual(auditLines([], 80), ["no entry matches"]);
});

test("no line is wider than the terminal, and nothing of an entry is left out", () => {
  assert.deepEqual(auditLines([purge], 80), [
    `${time}  purge  shop/chair.jpg`,
    "    by ada, with the token writer 1a2b3c4d5e6f, from 192.0.2.7; event 4, soft",
  ]);
  for (const width of [80, 100, 60]) {
    const lines = auditLines([apply, purge], width);
    for (const line of lines) assert.ok(line.length <= width, `${line.length} of ${width}: ${line}`);
    const text = lines.map((line) => line.trim()).join(" ");
    for (const part of [apply.facts.summary.trim(), "version 4 (was 3)", "shop/chair.jpg", "fleet-apply"]) {
      assert.ok(text.includes(part), `${part} in ${text}`);
    }
  }
});

test("a name longer than a line stays whole, so that it can be copied", () => {
  const name = "n".repeat(300);
  assert.ok(auditLines([{ ...purge, targets: [name] }], 80).some((line) => line.includes(name)));
});
