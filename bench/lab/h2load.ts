/** h2load drives the HTTP/2 servers: one thread, several streams per connection, and the log of all requests. */
import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { quantile, type Sample } from "./figures.ts";
import { type Lab, needDriver, type Program } from "./lab.ts";

export interface Load2 {
  url: string;
  /** The value of `:authority`. */
  host: string;
  connections: number;
  /** Per connection. */
  streams: number;
  seconds: number;
}

/** Drives the server for `seconds`; every response must be a 2xx and no connection may break. */
export async function drive2(lab: Lab, server: Program, load: Load2): Promise<Sample> {
  const log = join(lab.directory, `h2load-${process.pid}.log`);
  const args = [
    ["-t", "1", "-c", String(load.connections), "-m", String(load.streams), "-D", String(load.seconds)],
    ["--header", `:authority: ${load.host}`, "--log-file", log, load.url],
  ].flat();
  const h2load = { name: "h2load", command: needDriver("h2load", "nghttp2-client"), args, pin: "driver" } as const;
  const beforeMs = server.cpuMs();
  const output = await lab.run(h2load, load.seconds * 1000 + 15_000);
  const cpuMs = server.cpuMs() - beforeMs;
  // Start in µs since 1970, status, time in µs.
  const lines = (await readFile(log, "utf8")).trim().split("\n");
  await rm(log);
  const timesMs = lines.map((line) => {
    const [, status = "", time = ""] = line.split("\t");
    assert.ok(status.startsWith("2"), `${server.name} answered ${status}`);
    return Number(time) / 1000;
  });
  const failed = /(\d+) failed, (\d+) errored, (\d+) timeout/.exec(output);
  assert.deepEqual(failed?.slice(1), ["0", "0", "0"], `${server.name} did not serve everything:\n${output}`);
  return {
    requests: timesMs.length,
    perSecond: timesMs.length / load.seconds,
    cpuMicros: (cpuMs * 1000) / timesMs.length,
    p50Ms: quantile(timesMs, 0.5),
    p99Ms: quantile(timesMs, 0.99),
  };
}
