/** Backup and restore: what they refuse, what they repair, and what an interruption leaves. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { backUp, type BackupReport } from "../../origin/backup/back-up.ts";
import { restore } from "../../origin/backup/restore.ts";
import { launcher, nearcast } from "../deploy/support/command.ts";
import { needs } from "../support/needs.ts";
import { jpeg, startTestOrigin, temporaryDirectory, testConfig, type Scope } from "./running-origin.ts";

const scopeOf = (t: TestContext): Scope => ({ after: (cleanUp) => t.after(cleanUp) });
const quiet = { onProgress: () => undefined };

async function save(dataDir: string, folder: string, isChecked = false): Promise<BackupReport> {
  return await backUp(dataDir, folder, { nowMs: Date.now(), isChecked, ...quiet });
}

async function putBack(folder: string, dataDir: string, isForced = false) {
  const { keep } = testConfig(dataDir);
  return await restore(folder, dataDir, { clock: systemClock, keep, author: "test", isForced, ...quiet });
}

async function filesOf(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

test("a restored origin answers as the one that was backed up, under a new identity", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const folder = join(await temporaryDirectory(scopeOf(t)), "backup");
  const picture = await jpeg(1);
  await origin.json(201, "PUT", "/images/a.jpg", { body: picture });
  await origin.json(200, "PUT", "/images/a.jpg", { body: await jpeg(2) });
  await origin.json(200, "DELETE", "/images/a.jpg");
  await save(origin.dataDir, folder);

  const target = await temporaryDirectory(scopeOf(t));
  await putBack(folder, target);
  const restored = await startTestOrigin(scopeOf(t), { dataDir: target });
  assert.notEqual(restored.originId, origin.originId);
  assert.deepEqual(restored.tokens, origin.tokens);
  const secrets = "secrets/fleet-secret.json";
  assert.deepEqual(await readFile(join(target, secrets)), await readFile(join(origin.dataDir, secrets)));
  assert.deepEqual(
    await restored.json(200, "GET", "/versions/a.jpg"),
    await origin.json(200, "GET", "/versions/a.jpg"),
  );
  const old = await restored.call("GET", "/images/a.jpg?version=1");
  assert.deepEqual(Buffer.from(await old.arrayBuffer()), picture);
});

test("a user without an entry in passwd, as in a container, restores and is noted by its number", async (t) => {
  const namespace = ["--user", "--map-user=54321"];
  const isAllowed = spawnSync("unshare", [...namespace, "true"]).status === 0;
  if (!needs(t, isAllowed, "`unshare --user` is not possible here")) return;
  const origin = await startTestOrigin(scopeOf(t));
  const folder = join(await temporaryDirectory(scopeOf(t)), "backup");
  await save(origin.dataDir, folder);
  const target = join(await temporaryDirectory(scopeOf(t)), "origin");
  const file = join(await temporaryDirectory(scopeOf(t)), "origin.yaml");
  await writeFile(file, `dataDir: ${target}\n`);
  const words = [...namespace, process.execPath, launcher, "restore", folder, "--config", file];
  const ran = spawnSync("unshare", words, { encoding: "utf8" });
  assert.equal(ran.status, 0, ran.stderr);
  const restored = await startTestOrigin(scopeOf(t), { dataDir: target });
  const { entries } = await restored.json<{ entries: { author: string }[] }>(200, "GET", "/audit?kind=restore");
  assert.deepEqual(
    entries.map(({ author }) => author),
    ["uid 54321"],
  );
});

test("what lies beside the secrets is no part of a backup, which can be restored all the same", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const folder = join(await temporaryDirectory(scopeOf(t)), "backup");
  const secrets = join(origin.dataDir, "secrets");
  for (const name of ["writer.token~", ".writer.token.swp", "#edge.token#", "edge.token.new"]) {
    await writeFile(join(secrets, name), "half");
  }
  await mkdir(join(secrets, "old"));
  await symlink("nowhere", join(secrets, ".#edge.token"));
  for (let round = 0; round < 2; round += 1) {
    const { manifest } = await save(origin.dataDir, folder);
    assert.deepEqual(
      manifest.secrets.map(({ name }) => name),
      ["edge.token", "fleet-secret.json", "writer.token"],
    );
  }
  const target = await temporaryDirectory(scopeOf(t));
  await putBack(folder, target);
  assert.deepEqual((await startTestOrigin(scopeOf(t), { dataDir: target })).tokens, origin.tokens);
});

test("what is damaged or gone at the origin is named, and an earlier good copy is kept", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const folder = join(await temporaryDirectory(scopeOf(t)), "backup");
  const [good, bad, gone] = [await jpeg(1), await jpeg(2), await jpeg(3)];
  await origin.json(201, "PUT", "/images/good.jpg", { body: good });
  await save(origin.dataDir, folder);
  const { sha256: badHash } = await origin.json<{ sha256: string }>(201, "PUT", "/images/bad.jpg", { body: bad });
  const { sha256: goneHash } = await origin.json<{ sha256: string }>(201, "PUT", "/images/gone.jpg", { body: gone });
  const unreadable = await origin.json<{ sha256: string }>(201, "PUT", "/images/dir.jpg", { body: await jpeg(4) });
  const blobs = await filesOf(join(origin.dataDir, "blobs"));
  for (const blob of blobs) {
    if (blob.endsWith(goneHash) || blob.endsWith(unreadable.sha256)) await rm(blob);
    else await writeFile(blob, Buffer.alloc((await readFile(blob)).length));
  }
  // A folder can be read no more than a bad sector can.
  const place = blobs.find((blob) => blob.endsWith(unreadable.sha256)) ?? "";
  await mkdir(place);
  const report = await save(origin.dataDir, folder);
  const faults = Object.fromEntries(report.missing.map(({ sha256, fault }) => [sha256, fault]));
  assert.deepEqual(faults, { [badHash]: "damaged", [goneHash]: "missing", [unreadable.sha256]: "damaged" });
  const target = await temporaryDirectory(scopeOf(t));
  const { manifest } = await putBack(folder, target);
  assert.equal(manifest.missing.length, 3);
  const restored = await startTestOrigin(scopeOf(t), { dataDir: target });
  const answer = await restored.call("GET", "/images/good.jpg");
  assert.deepEqual(Buffer.from(await answer.arrayBuffer()), good);
});

test("a pruned blob leaves the backup with the next one", async (t) => {
  const origin = await startTestOrigin(scopeOf(t), { config: { keep: { versionsPerName: 1 } } });
  const folder = join(await temporaryDirectory(scopeOf(t)), "backup");
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  await save(origin.dataDir, folder);
  const [first] = await filesOf(join(folder, "blobs"));
  await origin.json(200, "PUT", "/images/a.jpg", { body: await jpeg(2) });
  await save(origin.dataDir, folder);
  const after = await filesOf(join(folder, "blobs"));
  assert.deepEqual([after.length, after.includes(first ?? "")], [1, false]);
});

test("a backup that is not whole is not restored, whichever file is damaged", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const folder = join(await temporaryDirectory(scopeOf(t)), "backup");
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  await save(origin.dataDir, folder);
  for (const file of await filesOf(folder)) {
    if (file.includes("lock.sqlite")) continue;
    const content = await readFile(file);
    for (const damage of [Buffer.alloc(0), content.subarray(0, content.length / 2), undefined]) {
      if (damage === undefined) await rm(file);
      else await writeFile(file, damage);
      const target = await temporaryDirectory(scopeOf(t));
      await assert.rejects(putBack(folder, target), (error: Error) => {
        assert.match(error.message, /is not there|hash differs|holds no backup|is missing|is damaged/, file);
        return true;
      });
      // Nothing that an origin could start from.
      assert.equal((await readdir(target)).includes("catalogue.sqlite"), false, file);
      await writeFile(file, content, { mode: 0o600 });
    }
  }
  await putBack(folder, await temporaryDirectory(scopeOf(t)));
});

test("a folder with something else in it, a running origin, and a folder in use are refused", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  const other = await temporaryDirectory(scopeOf(t));
  await writeFile(join(other, "thesis.odt"), "x");
  await assert.rejects(save(origin.dataDir, other), /holds other files \(thesis\.odt\) and no backup/);
  await assert.rejects(save(other, join(other, "new")), /no origin in/);
  await assert.rejects(save(origin.dataDir, join(origin.dataDir, "bk")), /must not be inside .* lost together/);
  const folder = join(other, "backup");
  await save(origin.dataDir, folder);
  await assert.rejects(putBack(other, join(other, "target")), /holds no backup/);
  await assert.rejects(putBack(folder, origin.dataDir, true), /an origin is running on/);
  await origin.close();
  await assert.rejects(putBack(folder, origin.dataDir), /is not empty .*--force/);
  const { movedTo = "" } = await putBack(folder, origin.dataDir, true);
  assert.ok((await readdir(movedTo)).includes("catalogue.sqlite"), "what was there is moved aside, not deleted");
});

test("without an origin that is named or found, neither backup nor restore makes one up", async (t) => {
  if (!needs(t, !existsSync("/etc/nearcast/origin.yaml"), "an origin is installed here")) return;
  const origin = await startTestOrigin(scopeOf(t));
  const cwd = await temporaryDirectory(scopeOf(t));
  const folder = join(cwd, "backup");
  await save(origin.dataDir, folder);
  for (const verb of ["backup", "restore"]) {
    const ran = await nearcast([verb, folder], { cwd });
    assert.equal(ran.status, 2, `${verb}: ${ran.stdout}`);
    assert.match(
      ran.stderr,
      /no origin is configured on this machine[\s\S]*\/data\/origin\n[\s\S]*--config origin\.yaml/,
    );
  }
  assert.deepEqual(await readdir(cwd), ["backup"]);
});

test("a mistyped backup folder is named as the fault, not the origin's settings", async (t) => {
  const cwd = await temporaryDirectory(scopeOf(t));
  const config = join(cwd, "origin.yaml");
  await writeFile(config, `dataDir: ${join(cwd, "target")}\n`);
  const faults = [
    ["bakcup", /the backup folder \S+\/bakcup does not exist\n/],
    [".", /holds no backup: it has no backup\.json\n/],
  ] as const;
  for (const [word, says] of faults) {
    const ran = await nearcast(["restore", word, "--config", config], { cwd });
    assert.equal(ran.status, 1, ran.stdout);
    assert.match(ran.stderr, says);
    assert.match(ran.stderr, /Give the directory that `.*nearcast backup` wrote/);
    assert.doesNotMatch(ran.stderr, /--config/);
  }
  assert.deepEqual(await readdir(cwd), ["origin.yaml"]);
});

test("an interrupted backup leaves the one before as it was", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const folder = join(await temporaryDirectory(scopeOf(t)), "backup");
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  await save(origin.dataDir, folder);
  await origin.json(201, "PUT", "/images/b.jpg", { body: await jpeg(2) });
  const stop = new AbortController();
  const onProgress = (): void => {
    stop.abort(new Error("interrupted"));
  };
  await assert.rejects(
    backUp(origin.dataDir, folder, { nowMs: Date.now(), isChecked: false, onProgress, signal: stop.signal }),
    /interrupted/,
  );
  const { manifest } = await putBack(folder, await temporaryDirectory(scopeOf(t)));
  assert.equal(manifest.blobs.count, 1);
});

test("a full disk: the error names folder, need and room; the backup before is whole, wherever it stops", async (t) => {
  const isAllowed = spawnSync("unshare", ["-Urm", "true"]).status === 0;
  if (!needs(t, isAllowed, "no mount namespace of our own")) return;
  const origin = await startTestOrigin(scopeOf(t));
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  await origin.close();
  const work = await temporaryDirectory(scopeOf(t));
  await cp(origin.dataDir, join(work, "early"), { recursive: true });
  const later = await startTestOrigin(scopeOf(t), { dataDir: origin.dataDir });
  for (const mark of [2, 3]) await later.json(201, "PUT", `/images/${mark}.jpg`, { body: await jpeg(mark, 400, 300) });
  const headers = { "content-type": "application/json" };
  await later.json(201, "POST", "/tokens/edge/rotations", { body: "{}", headers });
  await later.close();
  await mkdir(join(work, "disk"));
  const mounted = 'mount -t tmpfs -o size=8m tmpfs "$2/disk" && exec "$0" "$1" "$2" "$3"';
  const fixture = join(import.meta.dirname, "backup-on-full-disk.ts");
  const run = spawnSync("unshare", ["-Urm", "sh", "-c", mounted, process.execPath, fixture, work, origin.dataDir], {
    encoding: "utf8",
  });
  assert.equal(run.status, 0, run.stderr);
  const rows = run.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { spareBytes: number; said: string; isEarlierWhole: boolean });
  const stopped = rows.filter(({ said }) => said !== "done");
  assert.ok(stopped.length >= 3 && stopped.length < rows.length, run.stdout);
  for (const { spareBytes, said, isEarlierWhole } of stopped) {
    assert.match(
      said,
      /^the disk of \S+\/disk\/backup is full: this backup needs \d\.\d MB more, and \d\.\d MB are free\. /,
      `${spareBytes} bytes free`,
    );
    assert.match(said, /Its backup of \d{4}-\S+Z is still valid\. Free some space/);
    assert.ok(isEarlierWhole, `${spareBytes} bytes free`);
  }
});

test("a restore onto a full disk: the error names folder, need and room, and all is as it was before", async (t) => {
  const isAllowed = spawnSync("unshare", ["-Urm", "true"]).status === 0;
  if (!needs(t, isAllowed, "no mount namespace of our own")) return;
  const origin = await startTestOrigin(scopeOf(t));
  for (const mark of [1, 2]) await origin.json(201, "PUT", `/images/${mark}.jpg`, { body: await jpeg(mark, 400, 300) });
  const work = await temporaryDirectory(scopeOf(t));
  await save(origin.dataDir, join(work, "backup"));
  await mkdir(join(work, "disk"));
  const mounted = 'mount -t tmpfs -o size=8m tmpfs "$2/disk" && exec "$0" "$1" "$2"';
  const fixture = join(import.meta.dirname, "restore-on-full-disk.ts");
  const run = spawnSync("unshare", ["-Urm", "sh", "-c", mounted, process.execPath, fixture, work], {
    encoding: "utf8",
  });
  assert.equal(run.status, 0, run.stderr);
  const rows = run.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { start: string; spareBytes: number; said: string; isAsBefore: boolean });
  const ofStart = Map.groupBy(rows, ({ start }) => start);
  assert.deepEqual([...ofStart.keys()], ["absent", "empty", "used"]);
  for (const each of ofStart.values()) assert.ok(each.length >= 4, run.stdout);
  for (const { start, spareBytes, said, isAsBefore } of rows.filter((row) => row.said !== "done")) {
    assert.match(
      said,
      new RegExp(
        String.raw`^the disk of \S+/disk/data/origin is full: this restore needs \d\.\d MB, and \d\.\d MB are ` +
          String.raw`free\. Nothing in it was changed\. Free some space, or name a data directory on a larger disk`,
      ),
      `${start}, ${spareBytes} bytes free`,
    );
    assert.ok(isAsBefore, `${start}, ${spareBytes} bytes free`);
  }
});

test("a damaged list: a backup says that the next one writes it again, a restore to take another backup", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const folder = join(await temporaryDirectory(scopeOf(t)), "backup");
  await save(origin.dataDir, folder);
  await truncate(join(folder, "backup.json"), 40);
  await assert.rejects(save(origin.dataDir, folder), /backup\.json is damaged: delete it; the next backup writes/);
  const target = join(await temporaryDirectory(scopeOf(t)), "target");
  await assert.rejects(putBack(folder, target), (error: Error) => {
    assert.match(error.message, /backup\.json is damaged: .*Restore another backup$/);
    assert.doesNotMatch(error.message, /delete/);
    return true;
  });
  await assert.rejects(readdir(target), /ENOENT/);
});

test("a restore that was refused or that failed leaves nothing behind where nothing was", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const folder = join(await temporaryDirectory(scopeOf(t)), "backup");
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  await save(origin.dataDir, folder);
  const target = await temporaryDirectory(scopeOf(t));
  await writeFile(join(target, "thesis.odt"), "x");
  await assert.rejects(putBack(folder, target), /is not empty/);
  assert.deepEqual(await readdir(target), ["thesis.odt"]);
  const [blob = ""] = await filesOf(join(folder, "blobs"));
  await rm(blob);
  await assert.rejects(putBack(folder, target, true), /is missing: restore from another copy/);
  assert.deepEqual(await readdir(target), ["thesis.odt"]);
});

test("--check finds a copy in the backup that went bad, and copies it again", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const folder = join(await temporaryDirectory(scopeOf(t)), "backup");
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  await save(origin.dataDir, folder);
  const [blob = ""] = await filesOf(join(folder, "blobs"));
  const content = await readFile(blob);
  await writeFile(blob, Buffer.alloc(content.length));
  assert.equal((await save(origin.dataDir, folder, true)).copied.count, 1);
  assert.deepEqual(await readFile(blob), content);
  await origin.json(201, "PUT", "/images/b.jpg", { body: await jpeg(2) });
  await writeFile(blob, Buffer.alloc(content.length));
  // The command says what it has checked: not what it just copied.
  const said = await nearcast(["backup", folder, "--data", origin.dataDir, "--check"]);
  assert.equal(said.status, 0, said.stderr);
  assert.match(said.stdout, /^checked: 1 picture from earlier backups \([\d.]+ k?B\): 1 damaged/m);
  const again = await nearcast(["backup", folder, "--data", origin.dataDir, "--check"]);
  assert.match(again.stdout, /^checked: 2 pictures from earlier backups .* all are intact$/m);
  const unchecked = await nearcast(["backup", folder, "--data", origin.dataDir]);
  assert.doesNotMatch(unchecked.stdout, /checked/);
  await truncate(blob, 10);
  assert.equal((await save(origin.dataDir, folder)).copied.count, 1, "another size is noticed without --check");
});
