/** An edge that can't have its DNS port: it says so, ends, and leaves none of its processes behind. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { start } from "../support/started.ts";
import { startWorld } from "../support/world.ts";

const edgeMain = fileURLToPath(new URL("../../node/main.ts", import.meta.url));

test("a DNS port that is taken ends the start with a reason, and the decoders before it", async (t) => {
  const world = await startWorld(t, ["fra"]);
  const edge = world.edge("fra");
  await edge.program().kill();
  const taken = createSocket("udp4").bind(edge.dns.port, edge.dns.host);
  t.after(() => taken.close());
  await once(taken, "listening");

  const ran = start(t, [edgeMain, "--config", join(world.directory, `${edge.name}.yaml`)]);
  const children = new Set<string>();
  const watching = new AbortController();
  const watched = watch(ran.child.pid ?? 0, children, watching.signal);
  assert.equal(await ran.ended, 1, ran.said());
  const left = [...children].filter((pid) => existsSync(`/proc/${pid}`));
  watching.abort();
  await watched;
  const { host, port } = edge.dns;
  assert.ok(
    ran
      .said()
      .endsWith(`nearcast edge: can't listen for DNS over UDP on ${host} port ${port}: the address is in use\n`),
    ran.said(),
  );
  assert.ok(children.size > 0, "no decoder was ever seen");
  assert.deepEqual(left, []);
});

/** Collects the processes that `pid` has started. */
async function watch(pid: number, children: Set<string>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
      for (const child of text.split(" ").filter((part) => part !== "")) children.add(child);
    } catch {
      return; // it has ended
    }
    await sleep(10);
  }
}
