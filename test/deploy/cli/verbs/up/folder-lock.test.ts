import assert from "node:assert/strict";
import { chmod, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { CommandFailure } from "../../../../../deploy/cli/exit-codes.ts";
import { holdFolder } from "../../../../../deploy/cli/verbs/up/folder-lock.ts";
import { unprivileged } from "../../../../support/unprivileged.ts";
import { temporaryFolder } from "../../../support/command.ts";

const failure =
  (pattern: RegExp) =>
  (error: unknown): true => {
    assert.ok(error instanceof CommandFailure);
    assert.match(error.message, pattern);
    return true;
  };

test("a folder is held by one `up`, and is free when that one lets go", async (t) => {
  const folder = join(await temporaryFolder(t, "hold"), "data");
  const release = await holdFolder(folder);
  await assert.rejects(holdFolder(folder), failure(/another `.* up` is using .*data; nothing was changed/));
  release();
  (await holdFolder(folder))();
});

test("what is wrong with the lock's file or the folder is said, not that another `up` runs", async (t) => {
  const folder = await temporaryFolder(t, "hold");
  const lock = join(folder, "up.lock");
  await writeFile(lock, "no database ".repeat(500));
  await assert.rejects(holdFolder(folder), failure(/can't lock .*up\.lock: .*if the file is damaged, delete it/));
  await rm(lock);

  await chmod(folder, 0o555);
  await assert.rejects(
    unprivileged(async () => await holdFolder(folder)),
    failure(/can't lock .*up\.lock: .*the folder's owner/),
  );
  await assert.rejects(
    unprivileged(async () => await holdFolder(join(folder, "deeper"))),
    failure(/permission denied/),
  );
  await chmod(folder, 0o755);
  await writeFile(lock, "");
  await assert.rejects(holdFolder(lock), failure(/already exists/));
});
