/**
 * `editor FILE` on the runbook's machines: makes the change that the runbook states, and ends.
 *
 *   the runbook's block ─▶ /run/edits/NAME ─▶ the keys of FILE that the block names have its values; all else stays
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { parseDocument } from "yaml";
import { editFile } from "./edits.ts";

const [, , file = ""] = process.argv;
const edit = editFile(basename(file));
if (!existsSync(edit)) throw new Error(`the runbook does not say what becomes of ${file}`);
const document = parseDocument(existsSync(file) ? readFileSync(file, "utf8") : "");
for (const [key, value] of Object.entries(parseDocument(readFileSync(edit, "utf8")).toJS() as object)) {
  document.set(key, document.createNode(value));
}
writeFileSync(file, document.toString());
rmSync(edit);
