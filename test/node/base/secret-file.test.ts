import assert from "node:assert/strict";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { readSecretFile, type SecretFile } from "#base/secret-file.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { unprivileged } from "../../support/unprivileged.ts";

const key: SecretFile = {
  what: "private key",
  reader: "edge",
  whenLeaked: ", or replace it",
  whenUnreadable: "Write the key into it",
};

test("a file that its reader may not read: the message says who must own it, not to write it anew", async (t) => {
  const directory = await temporaryDirectory(t);
  await chmod(directory, 0o711);
  const file = join(directory, "a.key");
  await writeFile(file, "secret", { mode: 0o000 });
  const messageOf = async (about: SecretFile): Promise<string> =>
    await unprivileged(async () => await readSecretFile(file, about)).then(
      () => "it was read",
      (error: unknown) => (error as Error).message,
    );
  const owner = "the user that runs the edge must own the file";
  const start = `can't read the private key in ${file} (permission denied): ${owner}`;
  const end = "; it also needs access to its directories";
  assert.equal(await messageOf(key), start + end);
  const ofGroup = ", or be in its group, and the file have mode 0640";
  assert.equal(await messageOf({ ...key, mayGroupRead: true }), start + ofGroup + end);
});

test("what is no file gets the advice of its kind", async (t) => {
  const directory = await temporaryDirectory(t);
  await assert.rejects(readSecretFile(directory, key), /but it is a folder\. Write the key into it$/);
  const inside = join(directory, "a.txt");
  await writeFile(inside, "");
  await assert.rejects(readSecretFile(join(inside, "a.key"), key), /\(.+\)\. Write the key into it$/);
});
