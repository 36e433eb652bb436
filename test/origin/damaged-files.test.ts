/** A damaged data directory: the origin does not start, says which file it is and what to do, and touches nothing. */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { jpeg, startTestOrigin, temporaryDirectory } from "./running-origin.ts";

test("each damaged file is named with its path and what to do, and no blob is lost", async (t) => {
  const scope = { after: (cleanUp: () => Promise<void>) => t.after(cleanUp) };
  const dataDir = await temporaryDirectory(scope);
  const origin = await startTestOrigin(scope, { dataDir });
  for (let mark = 0; mark < 40; mark += 1) {
    await origin.json(202, "POST", "/purges", {
      body: JSON.stringify({ names: Array.from({ length: 100 }, (_, index) => `${mark}/${index}.jpg`) }),
      headers: { "content-type": "application/json" },
    });
  }
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  await origin.close();
  const catalogue = join(dataDir, "catalogue.sqlite");
  const writer = join(dataDir, "secrets", "writer.token");
  const fleetSecret = join(dataDir, "secrets", "fleet-secret.json");
  const rows: [string, string, () => Promise<void>, RegExp][] = [
    ["no database", catalogue, async () => await writeFile(catalogue, "hello ".repeat(2000)), /restore FOLDER/],
    ["zero bytes", catalogue, async () => await truncate(catalogue, 0), /is empty, but pictures/],
    ["missing", catalogue, async () => await rm(catalogue), /is missing, but pictures/],
    [
      "truncated",
      catalogue,
      async () => await truncate(catalogue, Math.floor((await readFile(catalogue)).length / 2)),
      /is damaged: .*restore FOLDER/,
    ],
    [
      "malformed pages",
      catalogue,
      async () => await writeFile(catalogue, (await readFile(catalogue)).fill(0x55, 4096 * 3, 4096 * 20)),
      /is damaged: [^]*restore FOLDER/,
    ],
    ["a token of another form", writer, async () => await writeFile(writer, "\0\0\0"), /delete it/],
    ["an empty token", writer, async () => await writeFile(writer, ""), /delete it/],
    [
      "a folder for a token",
      writer,
      async () => {
        await rm(writer);
        await mkdir(writer, { mode: 0o700 });
      },
      /must be a plain file with the token, but it is a folder/,
    ],
    ["a cut fleet secret", fleetSecret, async () => await truncate(fleetSecret, 10), /holds no fleet secret/],
    [
      "a damaged lock",
      join(dataDir, "lock.sqlite"),
      async () => await writeFile(join(dataDir, "lock.sqlite"), "x".repeat(5000)),
      /if the file is damaged, delete it/,
    ],
  ];
  for (const [name, file, damage, advice] of rows) {
    const content = await readFile(file);
    await damage();
    await assert.rejects(startTestOrigin(scope, { dataDir }), (error: Error) => {
      assert.ok(error.message.includes(file), `${name}: ${error.message}`);
      assert.match(error.message, advice, name);
      return true;
    });
    await rm(file, { recursive: true, force: true });
    await writeFile(file, content, { mode: 0o600 });
    await rm(`${catalogue}-wal`, { force: true });
    await rm(`${catalogue}-shm`, { force: true });
  }
  const blobs = await readdir(join(dataDir, "blobs"), { recursive: true, withFileTypes: true });
  assert.equal(blobs.filter((entry) => entry.isFile()).length, 1);
  await startTestOrigin(scope, { dataDir });
});
