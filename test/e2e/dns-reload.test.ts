/**
 * Reloading under load: fifty new versions of the fleet document and new geo data while 20,000 queries a second come.
 * None is lost, and none is answered wrongly: dnsperf counts the lost ones and the response codes, a client of our
 * own reads in each answer which version it was made from.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { ask } from "../support/ask.ts";
import { needsProgram } from "../support/needs.ts";
import { startWorld, until } from "../support/world.ts";

const reloads = 50;
const queriesPerSecond = 20_000;
const run = promisify(execFile);

/** The record that tells the version. */
const marked = "version.cdn.test";
const addressOf = (version: number): string => `192.0.2.${version}`;

test(`${reloads} reloads under ${queriesPerSecond} queries a second lose none and answer none wrongly`, async (t) => {
  if (!needsProgram(t, "dnsperf")) return;
  const world = await startWorld(t, ["fra"], {
    dns: { responsesPerSecond: 0 },
    fleet: { zones: [zoneOf(0)], steering: [{ name: "img.cdn.test", policy: "geo" }] },
  });
  const { dns } = world.edge("fra");
  await until("the first version is answered", async () => (await ask(dns, marked)).addresses[0] === addressOf(0));

  const queries = join(world.directory, "queries");
  await writeFile(queries, `img.cdn.test A\n${marked} A\nmail.cdn.test MX\nimg.cdn.test AAAA\n`);
  const where = ["-s", dns.host, "-p", String(dns.port), "-d", queries];
  // As many on the way as the kernel has room for, however long it keeps the edge from running; and room for all of
  // them at the driver. What is lost then was lost by the edge.
  const room = ["-q", String(await waitingMax()), "-t", "5", "-b", "4096"];
  const how = ["-Q", String(queriesPerSecond), "-l", "12", "-c", "8", "-T", "1", ...room];
  const load = run("dnsperf", [...where, ...how]);

  let published = 0;
  const over = new AbortController();
  let watched = 0;
  /** Each answer is of a version between the one that was seen last and the one that was published last. */
  const watcher = (async () => {
    let seen = 0;
    while (!over.signal.aborted) {
      const { rcode, addresses } = await ask(dns, marked);
      const version = Number(addresses[0]?.split(".")[3]);
      assert.equal(rcode, "NOERROR");
      assert.ok(version >= seen && version <= published, `${version} after ${seen}, ${published} was published`);
      seen = version;
      watched++;
      await pause(2);
    }
  })();
  try {
    for (let version = 1; version <= reloads; version++) {
      published = version;
      await world.api("PUT", "/fleet", { ...world.fleet(), zones: [zoneOf(version)] });
      await pause(150);
    }
    await until("the last version is answered", async () => {
      return (await ask(dns, marked)).addresses[0] === addressOf(reloads);
    });
  } finally {
    over.abort();
    await watcher;
  }
  const { stdout } = await load;
  const figure = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(stdout)?.[1] ?? Number.NaN);
  assert.ok(figure("Queries sent") > queriesPerSecond * 6, stdout);
  assert.equal(figure("Queries lost"), 0, stdout);
  assert.match(stdout, /Response codes:\s+NOERROR \d+ \(100\.00%\)/);
  assert.ok(watched > 500, `only ${watched} answers were read`);
});

/** Queries that fit into the edge's receive buffer: half a second's, or what an unprivileged process is granted. */
async function waitingMax(): Promise<number> {
  if (process.getuid?.() === 0) return queriesPerSecond / 2;
  const grantedBytes = 2 * Number(await readFile("/proc/sys/net/core/rmem_max", "utf8"));
  return Math.min(queriesPerSecond / 2, Math.floor(grantedBytes / 1000));
}

function zoneOf(version: number): object {
  return {
    name: "cdn.test",
    nameservers: [{ name: "ns1", addresses: ["192.0.2.1"] }],
    records: [
      { name: "version", type: "A", address: addressOf(version) },
      { name: "mail", type: "MX", preference: 10, exchange: "version" },
      // Enough of them that compiling takes its time.
      ...Array.from({ length: 2000 }, (_none, index) => ({
        name: `h${index}`,
        type: "A",
        address: addressOf(version),
      })),
    ],
  };
}
