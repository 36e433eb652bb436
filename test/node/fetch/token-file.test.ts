/**
 * The edge token's file: taken when it changes, whole or not at all, and written when the origin hands out the next.
 */
import assert from "node:assert/strict";
import { lstat, mkdir, readFile, rename, rmdir, stat, symlink, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silentLog } from "#base/log.ts";
import { tokenId } from "#secret/edge-token.ts";
import { followNextToken } from "../../../node/fetch/next-token.ts";
import { openTokenFile } from "../../../node/fetch/token-file.ts";
import { createTokenStanding } from "../../../node/fetch/token-standing.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { until } from "../../support/world.ts";

const [first, second, third] = ["a".repeat(43), "b".repeat(43), "c".repeat(43)];

async function open(t: TestContext, mayWrite = true) {
  const path = join(await temporaryDirectory(t), "edge.token");
  await writeFile(path, `${first}\n`, { mode: 0o600 });
  const clock = fakeClock();
  const file = await openTokenFile({ path, mayWrite, clock, log: silentLog });
  t.after(file.close);
  /** Several looks, each with time for what it reads. */
  const looks = async (token: string): Promise<void> => {
    await until(`the token is ${token[0] ?? "none"}`, async () => {
      clock.advance(1000);
      return file.current() === token;
    });
  };
  return { path, file, clock, looks };
}

test("a file that was written in place or replaced is taken within two looks", async (t) => {
  const { path, file, looks } = await open(t);
  assert.equal(file.current(), first);
  await writeFile(path, second, { mode: 0o600 });
  await looks(second);
  await writeFile(`${path}.other`, `${third}\n`, { mode: 0o600 });
  await rename(`${path}.other`, path);
  await looks(third);
  assert.equal(file.isSaved(), true);
});

test("what is no whole token is not taken, and the next whole one is", async (t) => {
  const { path, file, clock, looks } = await open(t);
  const bads = ["", "short", second.slice(0, 20), second.slice(0, 42), `${second}b`, "x".repeat(201), "é".repeat(43)];
  for (const bad of [...bads, `${second} ${third}`, `${second}\n${third}\n`]) {
    await writeFile(path, bad, { mode: 0o600 });
    assert.equal(await file.refused(first), false, bad);
    for (let look = 0; look < 5; look += 1) {
      clock.advance(1000);
      await stat(path);
    }
    assert.equal(file.current(), first, bad);
  }
  await unlink(path);
  assert.equal(await file.refused(first), false);
  await writeFile(path, second, { mode: 0o600 });
  await looks(second);
});

test("a file that still changes is left alone until it has come to rest", async (t) => {
  const { path, file, clock } = await open(t);
  for (let look = 17; look < 43; look += 1) {
    // Each is a whole token: nothing but the change from look to look keeps it from being taken.
    await writeFile(path, second.slice(0, look) + third.slice(look), { mode: 0o600 });
    clock.advance(1000);
    await stat(path);
    assert.equal(file.current(), first);
  }
});

test("a refused token is looked for in the file at once; a newer one than was refused is reported", async (t) => {
  const { path, file } = await open(t);
  assert.equal(await file.refused(first), false);
  await writeFile(path, second, { mode: 0o600 });
  assert.deepEqual(await Promise.all([file.refused(first), file.refused(first)]), [true, true]);
  assert.equal(file.current(), second);
  assert.equal(await file.refused(first), true);
});

test("a token that the origin hands out is written for the owner alone, through a link, and kept once", async (t) => {
  const { path, file } = await open(t);
  const elsewhere = join(path, "..", "elsewhere");
  await mkdir(elsewhere);
  await rename(path, join(elsewhere, "real.token"));
  await symlink(join(elsewhere, "real.token"), path);
  await file.deliver(second);
  assert.equal(file.current(), second);
  assert.equal((await lstat(path)).isSymbolicLink(), true);
  assert.equal(await readFile(join(elsewhere, "real.token"), "utf8"), `${second}\n`);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const before = await stat(path);
  await file.deliver(second);
  assert.equal((await stat(path)).ino, before.ino);
});

test("of several processes only the first writes the file", async (t) => {
  const { path, file } = await open(t, false);
  await file.deliver(second);
  assert.equal(file.current(), second);
  assert.equal((await readFile(path, "utf8")).trim(), first);
});

test("the next token: fetched and kept; told where it can't be written, or has to be carried", async (t) => {
  const { path, file, clock } = await open(t);
  let answer: { id: string; token?: string; olderUntil?: string } = { id: tokenId(first) };
  const next = followNextToken({ file, ask: async () => answer, clock, log: silentLog });
  t.after(next.close);
  await next.take();
  assert.equal(next.warning(), undefined);

  const olderUntil = "2026-11-30T12:00:00.000Z";
  answer = { id: tokenId(second), olderUntil };
  await next.take();
  assert.equal(file.current(), first);
  assert.match(
    next.warning() ?? "",
    new RegExp(`accepted until ${olderUntil}: write the current one, ${tokenId(second)}`),
  );

  answer = { id: tokenId(second), token: second, olderUntil };
  await next.take();
  assert.deepEqual([file.current(), (await readFile(path, "utf8")).trim()], [second, second]);
  assert.equal(next.warning(), undefined);

  // A folder in the file's place can't be replaced, whoever runs this.
  await unlink(path);
  await mkdir(join(path, "full"), { recursive: true });
  answer = { id: tokenId(third), token: third, olderUntil };
  await next.take();
  assert.equal(file.current(), third, "it is used all the same");
  assert.match(next.warning() ?? "", /in use but .* can't be written/);
});

test("a node starts with no token that it can't read, and says which file", async (t) => {
  const { path, clock } = await open(t);
  const again = { path, mayWrite: true, clock, log: silentLog };
  await writeFile(path, "short", { mode: 0o600 });
  const advice =
    /edge\.token .*Write the fleet's current edge token into it; the origin keeps it in secrets\/edge\.token$/;
  const refused = async (problem: RegExp): Promise<void> => {
    await assert.rejects(openTokenFile(again), (error: Error) => {
      assert.match(error.message, problem);
      assert.match(error.message, advice);
      assert.doesNotMatch(error.message, /delete it|backup|runs the origin/, "an edge can't make a new one");
      return true;
    });
  };
  await refused(/must hold an edge token \(43 characters of base64url\)/);
  await unlink(path);
  await refused(/does not exist/);
  await mkdir(path, { mode: 0o700 });
  await refused(/must be a plain file with the edge token, but it is a folder/);
  await rmdir(path);
  await writeFile(path, first, { mode: 0o600 });
  (await openTokenFile(again)).close();
});

test("a 403 for one kind of question is not ended by an answer to another, a 401 by any", () => {
  const clock = fakeClock();
  const standing = createTokenStanding(clock, () => undefined);
  standing.refused(first, "the fleet secret", 403);
  standing.answered("a source");
  assert.deepEqual(standing.refusal(), { id: tokenId(first), status: 403, sinceMs: clock.wallMs() });
  standing.answered("the fleet secret");
  assert.equal(standing.refusal(), null);
  standing.refused(first, "the feed", 401);
  const sinceMs = clock.wallMs();
  clock.advance(5000);
  standing.refused(first, "a source", 401);
  assert.equal(standing.refusal()?.sinceMs, sinceMs);
  standing.answered("a source");
  assert.equal(standing.refusal(), null);
});
