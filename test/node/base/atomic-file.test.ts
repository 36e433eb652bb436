import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { readJson, writeAtomic } from "#base/atomic-file.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

test("a file is replaced whole, with the mode that was asked for, and nothing is left beside it", async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, "a");
  await writeAtomic(path, "one");
  await writeAtomic(path, Buffer.from("two"), { mode: 0o600, durable: true });
  assert.equal(await readFile(path, "utf8"), "two");
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(directory), ["a"]);
});

test("what a killed process left beside the file does no harm, and its mode is not inherited", async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, "token");
  await writeFile(`${path}.new`, "half of a longer tex", { mode: 0o666 });
  await writeAtomic(path, "whole", { mode: 0o600 });
  assert.equal(await readFile(path, "utf8"), "whole");
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(directory), ["token"]);
});

test("a write that fails leaves the old content and nothing beside it", async (t) => {
  const directory = await temporaryDirectory(t);
  await assert.rejects(writeAtomic(join(directory, "none", "a"), "x"), { code: "ENOENT" });
  const path = join(directory, "a");
  await writeAtomic(path, "old");
  // A content that can't be written: the stand-in for a full disk.
  await assert.rejects(writeAtomic(path, 5 as unknown as string));
  assert.equal(await readFile(path, "utf8"), "old");
  assert.deepEqual(await readdir(directory), ["a"]);
});

test("after kill -9 at any moment the file is the old or the new one, whole", async (t) => {
  const path = join(await temporaryDirectory(t), "a.json");
  const module = new URL("../../../node/base/atomic-file.ts", import.meta.url).href;
  const program = `
    import { writeAtomic } from ${JSON.stringify(module)};
    for (let n = 0; ; n += 1) {
      await writeAtomic(${JSON.stringify(path)}, JSON.stringify({ n, text: String(n % 10).repeat(200_000) }));
      if (n === 0) process.stdout.write("go");
    }`;
  for (let round = 0; round < 3; round += 1) {
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => child.kill("SIGKILL"));
    await once(child.stdout, "data", { signal: AbortSignal.timeout(60_000) });
    await new Promise((resolve) => setTimeout(resolve, 7 + round * 11));
    child.kill("SIGKILL");
    await once(child, "exit");
    const { n, text } = (await readJson(path)) as { n: number; text: string };
    assert.equal(text, String(n % 10).repeat(200_000));
  }
});

test("no file and no JSON both read as undefined; other failures are reported", async (t) => {
  const directory = await temporaryDirectory(t);
  assert.equal(await readJson(join(directory, "none")), undefined);
  await writeFile(join(directory, "bad"), '{"a":');
  await assert.rejects(readJson(join(directory, "bad")), SyntaxError);
  await assert.rejects(readJson(directory), { code: "EISDIR" });
});
