import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { seededRandom } from "#base/random.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { bodyFor, keyFor } from "../../../support/objects.ts";
import { bytesBelow, mebibyte, openTier } from "../../../support/disk-tier.ts";
import { temporaryDirectory } from "../../../support/temporary.ts";

const roundsMax = rounds(5, 100);
const sizeOf = (version: number): number => (version % 7) * 9000;

test("after kill -9 in the middle of writing, no byte is wrong, and what was acknowledged is there", async (t) => {
  let directory = await temporaryDirectory(t);
  const writer = new URL("crash-writer.ts", import.meta.url).pathname;
  const seed = seedOr(17);
  const random = seededRandom(seed);
  // Large enough that nothing is evicted in some rounds: then what is missing was lost.
  const bytesMax = 4096 * mebibyte;
  const roundsPerDirectory = 10;
  let acknowledged = 0;
  let kept = 0;
  let changing = 0;
  for (let round = 0; round < roundsMax; round += 1) {
    const start = round * 1_000_000;
    if (round % roundsPerDirectory === roundsPerDirectory - 1) directory = await temporaryDirectory(t);
    const child = spawn(process.execPath, [writer, directory, String(bytesMax), String(start)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => child.kill("SIGKILL"));
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    await once(child.stdout, "data", { signal: AbortSignal.timeout(60_000) });
    await pause(100 + random() * 400);
    child.kill("SIGKILL");
    await once(child, "close");
    const tier = await openTier(t, directory, { bytesMax });
    const message = `SEED=${seed}, round ${round}`;
    assert((await bytesBelow(directory)) <= bytesMax, message);
    for (const at of said.split("\n").slice(1, -1).map(Number)) {
      for (let index = at; index < at + 16; index += 1) {
        acknowledged += 1;
        const object = await tier.load(keyFor(`once${index}`));
        if (object === undefined) continue;
        kept += 1;
        assert(object.body.equals(bodyFor(`once${index}`, index, sizeOf(index))), message);
      }
    }
    for (let index = 0; index < 40; index += 1) {
      const name = `n${index}`;
      const object = await tier.load(keyFor(name));
      if (object === undefined) continue;
      changing += 1;
      const version = object.facts.notes["version"] as number;
      assert.equal(version % 40, index, "under its own name");
      assert(object.body.equals(bodyFor(name, version, sizeOf(version))), `${message}: ${name}/${version}`);
    }
    assert.equal(tier.stats().corrupt, 0, `${message}: what is in the index was written before`);
    await tier.close();
  }
  assert(acknowledged > roundsMax * 100 && kept >= 0.99 * acknowledged, `${kept} of ${acknowledged} were kept`);
  assert(changing > roundsMax * 5, `only ${changing} changing objects were found`);
});
