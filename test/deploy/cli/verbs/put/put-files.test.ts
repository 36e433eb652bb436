import assert from "node:assert/strict";
import { chmod, mkdir, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { CommandFailure } from "../../../../../deploy/cli/exit-codes.ts";
import { findUploads } from "../../../../../deploy/cli/verbs/put/put-files.ts";
import { unprivileged } from "../../../../support/unprivileged.ts";
import { temporaryFolder } from "../../../support/command.ts";

test("files, folders and the path at the origin become names", async (t) => {
  const folder = await temporaryFolder(t, "put");
  const at = (...names: string[]): string => join(folder, ...names);
  await mkdir(at("photos", "2026"), { recursive: true });
  for (const name of ["a.jpg", "b.png", "notes", "photos/c.webp", "photos/2026/d.JPG", "photos/read.txt"]) {
    await writeFile(at(name), "12345");
  }
  const cases: { words: string[]; to?: string; names: string[]; skipped?: number }[] = [
    { words: [at("a.jpg")], names: ["a.jpg"] },
    { words: [at("notes")], names: ["notes"] },
    { words: [at("a.jpg"), "shop/chair.jpg"], names: ["shop/chair.jpg"] },
    { words: [at("a.jpg"), "/shop/"], names: ["shop/a.jpg"] },
    { words: [at("a.jpg"), at("b.png")], names: ["a.jpg", "b.png"] },
    { words: [at("a.jpg"), at("b.png"), "shop"], names: ["shop/a.jpg", "shop/b.png"] },
    { words: [at("a.jpg"), at("b.png")], to: "shop/", names: ["shop/a.jpg", "shop/b.png"] },
    { words: [at("photos")], names: ["2026/d.JPG", "c.webp"], skipped: 1 },
    { words: [at("photos"), at("a.jpg"), "x/y"], names: ["x/y/2026/d.JPG", "x/y/a.jpg", "x/y/c.webp"], skipped: 1 },
  ];
  for (const { words, to, names, skipped = 0 } of cases) {
    const row = `${words.join(" ")} ${to === undefined ? "" : `--to ${to}`}`;
    const found = await findUploads(words, to);
    assert.deepEqual(found.uploads.map(({ name }) => name).toSorted(), names, row);
    assert.equal(found.skipped.length, skipped, row);
    for (const upload of found.uploads) assert.equal(upload.sizeBytes, 5, row);
  }
});

test("a file that is not there, and two files of one name, are refused before anything is sent", async (t) => {
  const folder = await temporaryFolder(t, "put");
  await mkdir(join(folder, "x"));
  await writeFile(join(folder, "a.jpg"), "1");
  await writeFile(join(folder, "x", "a.jpg"), "2");
  await assert.rejects(findUploads([join(folder, "none.jpg")], undefined), CommandFailure);
  await assert.rejects(findUploads([join(folder, "none.jpg"), join(folder, "a.jpg")], undefined), CommandFailure);
  await assert.rejects(findUploads([join(folder, "a.jpg"), join(folder, "x", "a.jpg")], undefined), CommandFailure);
});

test("a last argument that is a local file, and could be the path, is refused with both alternatives", async (t) => {
  const folder = await temporaryFolder(t, "put");
  await mkdir(join(folder, "shop"));
  for (const name of ["chair.jpg", "stool.jpg", "shop/chair.jpg", "shop/desk.jpg"]) {
    await writeFile(join(folder, name), "1");
  }
  const before = process.cwd();
  process.chdir(folder);
  t.after(() => {
    process.chdir(before);
  });
  const refused: { words: string[]; lines: RegExp[] }[] = [
    {
      words: ["chair.jpg", "shop/desk.jpg"],
      lines: [/name: .* put chair\.jpg --to shop\/desk\.jpg$/, /as well: .* put chair\.jpg \.\/shop\/desk\.jpg$/],
    },
    { words: ["chair.jpg", "shop/chair.jpg"], lines: [/--to shop\/chair\.jpg$/, /\.\/shop\/chair\.jpg$/] },
    { words: ["chair.jpg", "shop"], lines: [/prefix: .* put chair\.jpg --to shop$/, /put chair\.jpg \.\/shop$/] },
    { words: ["chair.jpg", "stool.jpg", "shop/"], lines: [/put chair\.jpg stool\.jpg --to shop\/$/, /\.\/shop\/$/] },
  ];
  for (const { words, lines } of refused) {
    await assert.rejects(findUploads(words, undefined), (error) => {
      assert.ok(error instanceof CommandFailure);
      for (const [index, line] of lines.entries()) assert.match(error.lines[index] ?? "", line);
      return true;
    });
  }
  const cases: { words: string[]; to?: string; names: string[] }[] = [
    { words: ["chair.jpg", "stool.jpg"], names: ["chair.jpg", "stool.jpg"] },
    { words: ["shop/chair.jpg", "shop/desk.jpg"], names: ["chair.jpg", "desk.jpg"] },
    { words: ["chair.jpg", "./shop/desk.jpg"], names: ["chair.jpg", "desk.jpg"] },
    { words: ["chair.jpg", join(folder, "shop", "desk.jpg")], names: ["chair.jpg", "desk.jpg"] },
    { words: ["stool.jpg", "./shop"], names: ["chair.jpg", "desk.jpg", "stool.jpg"] },
    { words: ["chair.jpg"], to: "shop/desk.jpg", names: ["shop/desk.jpg"] },
    { words: ["chair.jpg", "shop/desk.jpg"], to: "/", names: ["chair.jpg", "desk.jpg"] },
  ];
  for (const { words, to, names } of cases) {
    const { uploads } = await findUploads(words, to);
    assert.deepEqual(uploads.map(({ name }) => name).toSorted(), names, words.join(" "));
  }
});

test("what is skipped is named with the reason, and a link is followed once", async (t) => {
  const folder = await temporaryFolder(t, "put");
  const at = (...names: string[]): string => join(folder, ...names);
  await mkdir(at("album", "deep"), { recursive: true });
  for (const name of ["a.jpg", "b.HEIC", "c.tiff", "d.cr3", "notes.txt", "._a.jpg", "deep/e.png", "f.jfif"]) {
    await writeFile(at("album", name), "12345");
  }
  await symlink(".", at("album", "self"));
  await symlink("../album", at("album", "deep", "up"));
  await symlink("a.jpg", at("album", "link.jpg"));
  await symlink("nowhere.jpg", at("album", "dangling.jpg"));
  await symlink("loop.jpg", at("album", "loop.jpg"));
  const { uploads, skipped } = await findUploads([at("album")], "shop");
  assert.deepEqual(
    uploads.map(({ name }) => name),
    ["shop/a.jpg", "shop/deep/e.png", "shop/link.jpg"],
  );
  const reasons = new Map(skipped.map(({ file, reason }) => [file.slice(at("album").length + 1), reason]));
  assert.deepEqual([...reasons.keys()].toSorted(), [
    "._a.jpg",
    "b.HEIC",
    "c.tiff",
    "d.cr3",
    "dangling.jpg",
    "deep/up",
    "f.jfif",
    "loop.jpg",
    "notes.txt",
    "self",
  ]);
  assert.match(reasons.get("b.HEIC") ?? "", /convert it to JPEG first/);
  assert.match(reasons.get("dangling.jpg") ?? "", /the link is broken/);
  assert.match(reasons.get("loop.jpg") ?? "", /points to itself/);
  assert.match(reasons.get("self") ?? "", /already searched/);
});

test("what may not be read is skipped with the reason, and the rest is found", async (t) => {
  const folder = await temporaryFolder(t, "put");
  await chmod(folder, 0o755);
  const at = (...names: string[]): string => join(folder, "album", ...names);
  for (const name of ["closed", "unentered", "open"]) {
    await mkdir(at(name), { recursive: true });
    await writeFile(at(name, "a.jpg"), "12345");
  }
  await symlink("unentered/deep", at("link"));
  await mkdir(at("unentered", "deep"));
  await chmod(at("closed"), 0o000);
  await chmod(at("unentered"), 0o644);
  const { uploads, skipped } = await unprivileged(async () => await findUploads([at()], undefined));
  // So that whoever made them can remove them.
  for (const name of ["closed", "unentered"]) await chmod(at(name), 0o755);
  assert.deepEqual(
    uploads.map(({ name }) => name),
    ["open/a.jpg"],
  );
  assert.deepEqual(
    skipped.map(({ file, reason }) => [file.slice(at().length + 1), reason]),
    ["closed", "link", "unentered/a.jpg", "unentered/deep"].map((name) => [name, "permission denied"]),
  );
});

test("a path at the origin may be longer than a file's name here", async (t) => {
  const folder = await temporaryFolder(t, "put");
  await writeFile(join(folder, "a.jpg"), "1");
  const name = `${"x".repeat(400)}.jpg`;
  const { uploads } = await findUploads([join(folder, "a.jpg"), name], undefined);
  assert.equal(uploads[0]?.name, name);
});

test("20,000 files are found in linear time", async (t) => {
  const folder = await temporaryFolder(t, "put");
  const names = Array.from({ length: 20_000 }, (_, index) => `${index}.jpg`);
  for (let from = 0; from < names.length; from += 500) {
    await Promise.all(names.slice(from, from + 500).map(async (name) => await writeFile(join(folder, name), "")));
  }
  const cpuOf = async (work: () => Promise<unknown>): Promise<number> => {
    const before = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  // Comparing each name with all others took 20,000 × 10,000 comparisons; what is left is a stat for each file.
  const plainMs = await cpuOf(async () => {
    for (const name of names) await stat(join(folder, name));
  });
  const foundMs = await cpuOf(async () => {
    assert.equal((await findUploads([folder], undefined)).uploads.length, 20_000);
  });
  t.diagnostic(`${Math.round(foundMs)} ms of CPU, of which ${Math.round(plainMs)} for stat alone`);
  assert.ok(foundMs < 4 * plainMs + 500, `${foundMs} ms against ${plainMs} ms`);
});

test("a name that is not UTF-8 is reported as such, of a file, a folder and a word", async (t) => {
  const folder = await temporaryFolder(t, "put");
  const latin1 = (name: string): Buffer => Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name, "latin1")]);
  await writeFile(latin1("caf\u00e9.jpg"), "12345");
  await mkdir(latin1("\u00e9t\u00e9"));
  // The character that stands for what can't be read, in a name of its own.
  await writeFile(join(folder, "own\ufffd.jpg"), "12345");
  const { uploads, skipped } = await findUploads([folder], undefined);
  assert.deepEqual(
    uploads.map(({ name }) => name),
    ["own\ufffd.jpg"],
  );
  assert.deepEqual(skipped.map(({ file }) => file.slice(folder.length + 1)).toSorted(), [
    "caf\ufffd.jpg",
    "\ufffdt\ufffd",
  ]);
  for (const { reason } of skipped) assert.match(reason, /^its name is not valid UTF-8: rename it/);
  await assert.rejects(findUploads([join(folder, "caf\ufffd.jpg")], undefined), /its name is not valid UTF-8/);
});
