/** An edge that can't have one of its ports: it says so, ends, and leaves none of its processes behind. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { start } from "../support/started.ts";
import { startWorld, type World } from "../support/world.ts";

const edgeMain = fileURLToPath(new URL("../../node/main.ts", import.meta.url));

interface FailedStart {
  said: string;
  /** Number of decoders that it started, and those that are left. */
  decoders: number;
  left: readonly string[];
}

/** The start of an edge that was stopped before. */
async function failedStart(t: TestContext, world: World): Promise<FailedStart> {
  const ran = start(t, [edgeMain, "--config", join(world.directory, `${world.edge("fra").name}.yaml`)]);
  const children = new Set<string>();
  const watching = new AbortController();
  const watched = watch(ran.child.pid ?? 0, children, watching.signal);
  assert.equal(await ran.ended, 1, ran.said());
  const left = [...children].filter((pid) => existsSync(`/proc/${pid}`));
  watching.abort();
  await watched;
  return { said: ran.said(), decoders: children.size, left };
}

test("a DNS port in use ends the start with a reason, before any decoder is started", async (t) => {
  const world = await startWorld(t, ["fra"]);
  const { dns, program } = world.edge("fra");
  await program().kill();
  const taken = createSocket("udp4").bind(dns.port, dns.host);
  t.after(() => taken.close());
  await once(taken, "listening");
  const { said, decoders } = await failedStart(t, world);
  const reason = `can't listen for DNS over UDP on ${dns.host} port ${dns.port}: the address is in use`;
  assert.ok(said.endsWith(`nearcast edge: ${reason}\n`), said);
  assert.equal(decoders, 0);
});

test("an HTTP port in use ends the start with a reason, and the decoders first", async (t) => {
  const world = await startWorld(t, ["fra"]);
  const { url, program } = world.edge("fra");
  const { hostname, port } = new URL(url);
  await program().kill();
  const taken = createServer().listen(Number(port), hostname);
  t.after(() => taken.close());
  await once(taken, "listening");
  const { said, decoders, left } = await failedStart(t, world);
  const reason = `can't listen for HTTP on ${hostname} port ${port}: the address is in use`;
  assert.ok(said.endsWith(`nearcast edge: ${reason}\n`), said);
  assert.ok(decoders > 0, "no decoder was ever seen");
  assert.deepEqual(left, []);
});

/** Collects the decoders that `pid` has started. */
async function watch(pid: number, children: Set<string>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
      for (const child of text.split(" ").filter((part) => part !== "")) if (isDecoder(child)) children.add(child);
    } catch {
      return; // it has ended
    }
    await sleep(10);
  }
}

/** Other children are short commands, such as the one that asks for the release. */
function isDecoder(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("/node/image/");
  } catch {
    return false;
  }
}
