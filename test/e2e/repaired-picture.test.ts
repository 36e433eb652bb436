/** A picture whose bytes were damaged in the origin's store: no edge shows them, and a `put` of the file mends it. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { nearcast, type Ran } from "../deploy/support/command.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld, until } from "../support/world.ts";

test("an edge refuses damaged bytes, serves what it has, and all again after a put of the same file", async (t) => {
  const edgeSettings = { decoders: { processes: 1 }, cache: { memoryBytes: 16_777_216 } };
  const world = await startWorld(t, ["fra"], { edge: edgeSettings });
  const { url } = world.edge("fra");
  const statusOf = async (target: string): Promise<number> => {
    const answer = await fetch(`${url}/${target}`);
    await answer.arrayBuffer();
    return answer.status;
  };
  const command = async (...words: string[]): Promise<Ran> => {
    const tokenFile = join(world.directory, "origin", "secrets", "writer.token");
    return await nearcast([...words, "--origin", world.originUrl, "--token-file", tokenFile]);
  };
  const blobs = new Map<string, string>();
  for (const [mark, name] of ["flipped.jpg", "gone.jpg"].entries()) {
    const body = await photograph(mark + 1);
    await writeFile(join(world.directory, name), body);
    const stored = await command("put", join(world.directory, name), name);
    assert.equal(stored.status, 0, stored.stderr);
    const sha256 = createHash("sha256").update(body).digest("hex");
    blobs.set(name, join(world.directory, "origin", "blobs", sha256.slice(0, 2), sha256));
  }
  const [flipped = "", gone = ""] = blobs.values();
  // Known to the edge in one size; its source is not kept, since only the origin has that.
  assert.equal(await statusOf("flipped.jpg?w=60&fm=webp"), 200);

  const bytes = await readFile(flipped);
  bytes[bytes.length - 30] = (bytes.at(-30) ?? 0) ^ 1;
  await writeFile(flipped, bytes);
  await rm(gone);
  await world.edge("fra").program().kill("SIGKILL");
  await rm(join(world.directory, "fra"), { recursive: true });
  await world.edge("fra").start();
  for (const name of blobs.keys()) assert.equal(await statusOf(`${name}?w=80`), 502, name);

  const found = await command("verify");
  assert.equal(found.status, 1, found.stderr);
  for (const name of blobs.keys()) {
    const mended = await command("put", join(world.directory, name), name);
    assert.equal(mended.status, 0, mended.stderr);
    assert.match(mended.stdout, /repaired/);
  }
  for (const name of blobs.keys()) {
    // An edge asks an origin that failed it again within a second.
    await until(`${name} is served again`, async () => (await statusOf(`${name}?w=80`)) === 200);
  }
  assert.equal((await command("verify")).status, 0);
});
