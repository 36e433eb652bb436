/** What Prometheus scrapes from an edge and an origin: well-formed by its own tool, and bounded. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { nearcast } from "../deploy/support/command.ts";
import { request } from "../node/http/raw.ts";
import { needsProgram } from "../support/needs.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld } from "../support/world.ts";

test("metrics", async (t) => {
  const world = await startWorld(t, ["fra"], { hasPeers: true });
  const edge = world.edge("fra");
  await world.api("PUT", "/images/a.jpg", await photograph(1, { width: 80, height: 60 }));
  const at = { address: edge.address, port: Number(new URL(edge.url).port) };
  for (const host of ["img.cdn.test", "img.cdn.test", "img.cdn.test:8080", "evil.test", "a.evil.test"]) {
    await request(at, "GET /a.jpg?w=40", [`Host: ${host}`]);
  }
  const token = (await readFile(join(world.directory, "origin", "secrets", "edge.token"), "utf8")).trim();
  const scraped = {
    edge: await (await fetch(`${edge.adminUrl}/metrics`)).text(),
    origin: await (await fetch(`${world.originUrl}/metrics`, { headers: { authorization: `Bearer ${token}` } })).text(),
  };

  for (const [who, text] of Object.entries(scraped)) {
    await t.test(`promtool has nothing against those of the ${who}`, (part) => {
      if (!needsProgram(part, "promtool")) return;
      const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
      assert.equal(status, 0, `${stdout}${stderr}`);
      assert.equal(stdout + stderr, "");
    });

    await t.test(`the ${who} names the release that --version names`, async () => {
      const { stdout } = await nearcast(["--version"]);
      const [, version, value] = /^nearcast_build_info\{version="([^"]+)"\} (\S+)$/m.exec(text) ?? [];
      assert.deepEqual([version, value], [stdout.trim(), "1"]);
    });

    await t.test(`the ${who} tells of its process and of its disk`, () => {
      const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
      assert.ok(value("process_cpu_seconds_total") > 0);
      assert.ok(value("process_resident_memory_bytes") > 10_000_000);
      assert.ok(Math.abs(value("process_start_time_seconds") - Date.now() / 1000) < 600);
      assert.ok(value("process_open_fds") > 3 && value("process_open_fds") < value("process_max_fds"));
      assert.ok(value("nearcast_data_free_bytes") > 0);
      assert.ok(value("nearcast_data_size_bytes") > value("nearcast_data_free_bytes"));
    });
  }

  await t.test("requests are distinguished by the fleet's hosts; whatever else clients write there is `other`", () => {
    const hosts = [...scraped.edge.matchAll(/^nearcast_http_requests_total\{host="([^"]*)",.*\} (\d+)$/gm)];
    const totals = new Map<string, number>();
    for (const [, host = "", count] of hosts) totals.set(host, (totals.get(host) ?? 0) + Number(count));
    assert.deepEqual(Object.fromEntries(totals), { "img.cdn.test": 3, other: 2 }, scraped.edge);
  });
});
