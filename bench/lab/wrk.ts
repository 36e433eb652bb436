/** wrk drives the HTTP servers: one thread, keep-alive connections, and a strict parser for its output. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Sample } from "./figures.ts";
import { type Lab, needDriver, type Program } from "./lab.ts";

export interface Load {
  url: string;
  connections: number;
  seconds: number;
  /** Size of each response, to verify that all of it arrived. */
  bodyBytes: number;
  /** A Lua script for wrk, from storeScript(). */
  script?: string;
}

/** Drives the server for `seconds`; every response must be a 2xx and no connection may break. */
export async function drive(lab: Lab, server: Program, load: Load): Promise<Sample> {
  const args = ["-t1", `-c${load.connections}`, `-d${load.seconds}s`, "--timeout", "5s", "--latency"];
  if (load.script !== undefined) args.push("-s", load.script);
  const wrk = { name: "wrk", command: needDriver("wrk", "wrk"), args: [...args, load.url], pin: "driver" } as const;
  const beforeMs = server.cpuMs();
  const output = await lab.run(wrk, load.seconds * 1000 + 10_000);
  const cpuMs = server.cpuMs() - beforeMs;
  const refused = /Non-2xx or 3xx responses: \d+|Socket errors: .*/.exec(output);
  assert.equal(refused, null, `${server.name} did not serve everything: ${refused?.[0]}`);
  const requests = Number(find(output, /(\d+) requests in /));
  assert.ok(requests > 0, `${server.name} answered nothing`);
  const readBytes = readSizeBytes(find(output, / requests in \S+, (\S+) read$/m));
  // wrk prints the size with only three or four digits.
  assert.ok(readBytes > requests * load.bodyBytes * 0.99, `${server.name} sent ${readBytes} bytes in all`);
  return {
    requests,
    perSecond: Number(find(output, /Requests\/sec:\s+([\d.]+)/)),
    cpuMicros: (cpuMs * 1000) / requests,
    p50Ms: readTimeMs(find(output, /^\s+50%\s+(\S+)\s*$/m)),
    p99Ms: readTimeMs(find(output, /^\s+99%\s+(\S+)\s*$/m)),
  };
}

/** Writes a script into the lab and returns its path. */
export async function storeScript(lab: Lab, name: string, lua: string): Promise<string> {
  const path = join(lab.directory, `${name}.lua`);
  await writeFile(path, lua);
  return path;
}

function find(output: string, pattern: RegExp): string {
  const found = pattern.exec(output)?.[1];
  assert.ok(found !== undefined, `wrk printed nothing like ${String(pattern)}:\n${output}`);
  return found;
}

function readTimeMs(text: string): number {
  const [, number, unit] = /^([\d.]+)(us|ms|s|m)$/.exec(text) ?? [];
  const unitMs = { us: 0.001, ms: 1, s: 1000, m: 60_000 }[unit ?? ""];
  assert.ok(number !== undefined && unitMs !== undefined, `wrk printed a time of another form: ${text}`);
  return Number(number) * unitMs;
}

function readSizeBytes(text: string): number {
  const [, number, unit] = /^([\d.]+)([KMG]?B)$/.exec(text) ?? [];
  const unitBytes = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 }[unit ?? ""];
  assert.ok(number !== undefined && unitBytes !== undefined, `wrk printed a size of another form: ${text}`);
  return Number(number) * unitBytes;
}
