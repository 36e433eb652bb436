import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { CommandFailure } from "../../../deploy/cli/exit-codes.ts";
import { findUploads } from "../../../deploy/cli/put-files.ts";
import { temporaryFolder } from "../support/command.ts";

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
    assert.equal(found.skipped, skipped, row);
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
