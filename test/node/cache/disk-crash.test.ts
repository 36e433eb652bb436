import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { seededRandom } from "#base/random.ts";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { openDiskTier } from "../../../node/cache/disk.ts";
import { rounds } from "../../support/long.ts";
import { bodyFor, keyFor } from "../../support/objects.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const roundsMax = rounds(12, 200);
const bytesMax = 1024 * 1024;

test("after kill -9 in the middle of writing, every object that loads is byte-right", async (t) => {
  const directory = await temporaryDirectory(t);
  const writer = new URL("disk-writer.ts", import.meta.url).pathname;
  const random = seededRandom(17);
  let loaded = 0;
  for (let round = 0; round < roundsMax; round += 1) {
    const child = spawn(process.execPath, [writer, directory, String(bytesMax), String(round * 100_000)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => child.kill("SIGKILL"));
    await once(child.stdout, "data", { signal: AbortSignal.timeout(60_000) });
    await pause(20 + random() * 60);
    child.kill("SIGKILL");
    await once(child, "exit");
    const tier = await openDiskTier({ directory, bytesMax, clock: systemClock, log: silentLog });
    await tier.scanned;
    assert(tier.stats().bytes <= bytesMax);
    for (let index = 0; index < 40; index += 1) {
      const name = `n${index}`;
      const object = await tier.load(keyFor(name));
      if (object === undefined) continue;
      loaded += 1;
      const version = object.facts.notes["version"] as number;
      assert.equal(version % 40, index, "under its own name");
      assert(object.body.equals(bodyFor(name, version, (version % 7) * 9000)), `round ${round}: ${name}/${version}`);
    }
    assert.equal(tier.stats().corrupt, 0, "a rename is whole, so a kill damages nothing");
    await tier.close();
  }
  assert(loaded > roundsMax * 5, `only ${loaded} objects were found`);
});
