/**
 * The runbook, run: every block as it stands in deploy/runbook.md, in its order, on machines of the names that it uses.
 *
 *   deploy/runbook.md ─▶ blocks ─▶ machine by machine ─▶ each must succeed
 *                          └ yaml blocks are what `editor FILE` makes of a file
 *
 * Between the chapters this test does what a runbook can't: it lets a machine die, and it looks from outside.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { blocksIn } from "../../support/documents.ts";
import { needs } from "../../support/needs.ts";
import { type Ground, openGround, whyNoGround } from "./ground.ts";

const file = fileURLToPath(new URL("../../../deploy/runbook.md", import.meta.url));
const blocks = blocksIn(await readFile(file, "utf8"));

test("every block of the runbook does on its machine what it says", async (t) => {
  const reason = await whyNoGround();
  if (!needs(t, reason === undefined, reason ?? "")) return;
  const ground: Ground = await openGround(t);
  for (const block of blocks) {
    if (block.language === "yaml") await ground.stateEdit(block);
    else if (block.language === "sh" && block.notRun === undefined) {
      const [where = ""] = block.words;
      if (where === "") continue;
      const startMs = Date.now();
      const { status, output } = await ground.run(where, block.text);
      console.log(`line ${block.line} ${where}: ${Date.now() - startMs} ms\n${output}`);
      assert.equal(status, 0, `line ${block.line}, on ${where}:\n${output}\n${await ground.logOf(where)}`);
    }
  }
});
