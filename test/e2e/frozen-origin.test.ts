/** An origin that is frozen: its connections stay, and nothing comes over them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { photograph } from "../support/pictures.ts";
import { startWorld } from "../support/world.ts";

interface Ready {
  ready: boolean;
  reasons: string[];
  warnings: string[];
}

test("a frozen origin is named by /readyz and /status within 8 s, while the node serves on", async (t) => {
  const world = await startWorld(t, ["fra"]);
  await world.api("PUT", "/images/a.jpg", await photograph(1), [201]);
  const edge = world.edge("fra");
  const ask = async (): Promise<Response> =>
    await fetch(`${edge.url}/a.jpg?w=20`, { signal: AbortSignal.timeout(10_000) });
  const ready = async (): Promise<Ready & { status: number }> => {
    const answer = await fetch(`${edge.adminUrl}/readyz`, { signal: AbortSignal.timeout(10_000) });
    return { status: answer.status, ...((await answer.json()) as Ready) };
  };
  assert.equal((await ask()).status, 200);
  assert.deepEqual(await ready(), { status: 200, ready: true, reasons: [], warnings: [] });

  const { pid } = world.originProgram();
  const frozenAtMs = performance.now();
  process.kill(pid, "SIGSTOP");
  while ((await ready()).warnings.length === 0) {
    assert.ok(performance.now() - frozenAtMs < 8000, "not named within 8 s");
    assert.equal((await ask()).status, 200, "what is cached goes on");
    await pause(100);
  }
  const said = await ready();
  assert.deepEqual([said.status, said.ready, said.reasons], [200, true, []]);
  assert.match(said.warnings.join(), /^the origin has sent nothing for \d s: purges and changes do not arrive/);
  const { feed } = (await edge.status()) as { feed: { warning: string } };
  assert.match(feed.warning, /^the origin has sent nothing for /);

  process.kill(pid, "SIGCONT");
  while ((await ready()).warnings.length > 0) {
    assert.ok(performance.now() - frozenAtMs < 180_000, "still named after it went on");
    await pause(100);
  }
});
