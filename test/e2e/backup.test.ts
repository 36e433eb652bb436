/** The origin's machine is lost; its backup, made while it ran, comes back on an empty one, and the edges follow. */
import assert from "node:assert/strict";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { stringify } from "yaml";
import { nearcast } from "../deploy/support/command.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld, until } from "../support/world.ts";

interface Backup {
  copied: { count: number };
  manifest: { blobs: { count: number }; latestSeq: number };
  missing: unknown[];
}

test("a backup of a running origin, restored on an empty machine, is followed by the edges", async (t) => {
  const world = await startWorld(t, ["fra"]);
  const edge = world.edge("fra");
  const dataDir = join(world.directory, "origin");
  const folder = join(world.directory, "backup");
  const backUp = async (...words: string[]): Promise<Backup> => {
    const ran = await nearcast(["backup", folder, "--data", dataDir, "--json", ...words]);
    assert.equal(ran.status, 0, ran.stderr);
    return ran.json() as Backup;
  };
  const widthOf = async (name: string): Promise<[number, string]> => {
    const answer = await fetch(`${edge.url}/${name}?w=64&fm=png`, { headers: { host: "img.cdn.test" } });
    return [answer.status, Buffer.from(await answer.arrayBuffer()).toString("base64")];
  };
  const publish = async (freshSeconds: number): Promise<void> => {
    const fleet = { ...world.fleet(), hosts: [{ name: "img.cdn.test", kind: "images", freshSeconds }] };
    await world.api("PUT", "/fleet", Buffer.from(stringify(fleet)));
  };

  await world.api("PUT", "/images/a.jpg", await photograph(1));
  await world.api("PUT", "/images/b.jpg", await photograph(2));
  // Writers go on meanwhile: the backup is the state of one moment.
  const over = new AbortController();
  const writing = (async () => {
    for (let index = 0; !over.signal.aborted; index += 1) {
      await world.api("PUT", `/images/busy/${index}.jpg`, await photograph(1));
    }
  })();
  const first = await backUp();
  over.abort();
  await writing;
  assert.deepEqual([first.copied.count, first.manifest.blobs.count, first.missing], [2, 2, []]);

  await world.api("PUT", "/images/c.jpg", await photograph(3));
  const second = await backUp("--check");
  assert.deepEqual([second.copied.count, second.manifest.blobs.count], [1, 3], "only what is new is copied");
  for (const name of await readdir(folder, { recursive: true })) {
    if (name === "lock.sqlite") continue; // empty, in a folder that is for its owner alone
    assert.equal((await stat(join(folder, name))).mode & 0o077, 0, `${name} is for its owner alone`);
  }

  // After the backup: a picture, a replacement and a fleet version that will be lost, but that the edge has seen.
  await world.api("PUT", "/images/a.jpg", await photograph(4));
  await world.api("PUT", "/images/late.jpg", await photograph(5));
  await publish(60);
  await until("the edge follows", async () => (await widthOf("late.jpg"))[0] === 200);
  const lost = await widthOf("a.jpg");
  await world.originProgram().kill("SIGKILL");
  await rm(dataDir, { recursive: true });

  const restored = await nearcast(["restore", folder, "--data", dataDir, "--json"]);
  assert.equal(restored.status, 0, restored.stderr);
  await world.startOrigin();
  const refused = await nearcast(["restore", folder, "--data", dataDir, "--force"]);
  assert.equal(refused.status, 4);
  assert.match(refused.stderr, /an origin is running/);

  // The edge drops what it knew of the lost future, and takes what the origin says now: the same token is good.
  await until("what was never backed up is gone", async () => (await widthOf("late.jpg"))[0] === 404);
  await until("the older bytes are back", async () => {
    const [status, body] = await widthOf("a.jpg");
    return status === 200 && body !== lost[1];
  });
  const before = await widthOf("b.jpg");
  await world.api("PUT", "/images/b.jpg", await photograph(6));
  await until("a new upload reaches the edge", async () => (await widthOf("b.jpg"))[1] !== before[1]);
  await world.api("DELETE", "/images/c.jpg");
  await until("a deletion reaches the edge", async () => (await widthOf("c.jpg"))[0] === 404);
  // The number of this fleet version was used before, for another text.
  await publish(7);
  await until("the edge has the fleet document of the restored origin", async () => {
    const answer = await fetch(`${edge.url}/a.jpg?w=64`, { headers: { host: "img.cdn.test" } });
    await answer.arrayBuffer();
    const ttl = Number(/ttl=(\d+)/.exec(answer.headers.get("cache-status") ?? "")?.[1] ?? "999");
    return ttl <= 7;
  });
  const entries = (await (await world.api("GET", "/audit?kind=restore")).json()) as { entries: { kind: string }[] };
  assert.equal(entries.entries.length, 1);
});
