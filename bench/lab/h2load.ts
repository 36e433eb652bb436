/**
 * h2load drives HTTP/2 servers as fast as they answer, and servers of all protocols at a steady rate. It runs with one
 * thread, and logs the time of each request.
 */
import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { quantile, type Sample, type Times } from "./figures.ts";
import { type Lab, needDriver, type Program } from "./lab.ts";

export interface Load2 {
  url: string;
  /** The value of `:authority`, and of Host in HTTP/1.1. */
  host: string;
  connections: number;
  seconds: number;
}

/**
 * Drives an HTTP/2 server; every response must be a 2xx and no connection may break.
 *
 * @param load.streams requests at a time on each connection
 */
export async function drive2(lab: Lab, server: Program, load: Load2 & { streams: number }): Promise<Sample> {
  const beforeMs = server.cpuMs();
  const timesMs = await run(lab, server, load, ["-m", String(load.streams)]);
  const cpuMs = server.cpuMs() - beforeMs;
  return {
    requests: timesMs.length,
    perSecond: timesMs.length / load.seconds,
    cpuMicros: (cpuMs * 1000) / timesMs.length,
    p50Ms: quantile(timesMs, 0.5),
    p99Ms: quantile(timesMs, 0.99),
  };
}

/**
 * Sends requests at a steady rate. A response that takes long delays only what its own connection sends next.
 *
 * @param load.perSecond requests, a multiple of `connections`
 */
export async function timeAtRate(
  lab: Lab,
  server: Program,
  load: Load2 & { perSecond: number; isHttp2: boolean },
): Promise<Times> {
  const rate = ["--rps", String(load.perSecond / load.connections), ...(load.isHttp2 ? ["-m", "10"] : ["--h1"])];
  const timesMs = await run(lab, server, load, rate);
  const expected = load.perSecond * load.seconds;
  assert.ok(timesMs.length > expected * 0.9, `${server.name}: ${timesMs.length} of ${expected} requests`);
  return { p50Ms: quantile(timesMs, 0.5), p99Ms: quantile(timesMs, 0.99), p999Ms: quantile(timesMs, 0.999) };
}

/** @returns the time of each request, in ms */
async function run(
  lab: Lab,
  server: Program,
  { url, host, connections, seconds }: Load2,
  more: readonly string[],
): Promise<number[]> {
  const log = join(lab.directory, `h2load-${process.pid}.log`);
  const load = ["-t", "1", "-c", String(connections), "-D", String(seconds), ...more];
  const args = load.concat("--header", `:authority: ${host}`, "--log-file", log, url);
  const h2load = { name: "h2load", command: needDriver("h2load", "nghttp2-client"), args, pin: "driver" } as const;
  const output = await lab.run(h2load, seconds * 1000 + 15_000);
  // Start in µs since 1970, status, time in µs.
  const lines = (await readFile(log, "utf8")).trim().split("\n");
  await rm(log);
  const failed = /(\d+) failed, (\d+) errored, (\d+) timeout/.exec(output);
  assert.deepEqual(failed?.slice(1), ["0", "0", "0"], `${server.name} did not serve everything:\n${output}`);
  return lines.map((line) => {
    const [, status = "", time = ""] = line.split("\t");
    assert.ok(status.startsWith("2"), `${server.name} answered ${status}`);
    return Number(time) / 1000;
  });
}
