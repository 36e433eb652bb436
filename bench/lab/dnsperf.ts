/**
 * dnsperf drives the DNS servers: one thread, queries from a file, and a strict parser for its output. It runs twice
 * per server: first as fast as the server answers, for rate and CPU time; then at a steady lower rate, query by query,
 * for the response time of a server that is not flooded.
 */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { decode } from "dns-packet";
import type { QueryFile } from "./dns-queries.ts";
import { quantile } from "./figures.ts";
import { type Lab, needDriver, type Program } from "./lab.ts";

export interface DnsTarget {
  program: Program;
  address: string;
  port: number;
}

export interface DnsFlood {
  requests: number;
  perSecond: number;
  cpuMicros: number;
}

/** Below the rate of the slowest peer on one core. */
export const steadyRate = 5000;
/** Gives 5,000 samples: 50 of them lie above the 99th percentile. */
const steadySeconds = 1;
/** Sockets to send from: each looks like one resolver. */
const clients = 16;
/** Queries in flight; more would only wait in the kernel's queue. */
const outstanding = 100;
/** Loopback loses nothing except what a full queue drops. */
const lostPartMax = 0.001;

function dnsperf(lab: Lab, target: DnsTarget, queries: QueryFile, seconds: number, more: string[]): Promise<string> {
  const where = ["-s", target.address, "-p", String(target.port), "-B", "-d", queries.path];
  const how = ["-l", String(seconds), "-c", String(clients), "-T", "1", "-q", String(outstanding), "-t", "1", "-W"];
  const args = [...where, ...how, ...more];
  const command = needDriver("dnsperf", "dnsperf");
  return lab.run({ name: "dnsperf", command, args, pin: "driver" }, seconds * 1000 + 10_000);
}

export async function flood(lab: Lab, target: DnsTarget, queries: QueryFile, seconds: number): Promise<DnsFlood> {
  const beforeMs = target.program.cpuMs();
  const output = await dnsperf(lab, target, queries, seconds, []);
  const cpuMs = target.program.cpuMs() - beforeMs;
  const completed = Number(find(output, /Queries completed:\s+(\d+)/));
  const sent = Number(find(output, /Queries sent:\s+(\d+)/));
  const lost = Number(find(output, /Queries lost:\s+(\d+)/));
  assert.ok(lost <= sent * lostPartMax, `${target.program.name} did not answer ${lost} of ${sent} queries`);
  assert.equal(find(output, /Response codes:\s+(\w+) \d+ \(100\.00%\)/), queries.rcode, target.program.name);
  return {
    requests: completed,
    perSecond: Number(find(output, /Queries per second:\s+([\d.]+)/)),
    cpuMicros: (cpuMs * 1000) / completed,
  };
}

export interface HeldRate {
  perSecond: number;
  /** The part of the queries sent. */
  lostPart: number;
}

/** Offers a rate and returns the part of it that was answered. */
export async function hold(
  lab: Lab,
  target: DnsTarget,
  queries: QueryFile,
  seconds: number,
  rate: number,
): Promise<HeldRate> {
  const output = await dnsperf(lab, target, queries, seconds, ["-Q", String(rate)]);
  return {
    perSecond: Number(find(output, /Queries per second:\s+([\d.]+)/)),
    lostPart: Number(find(output, /Queries lost:\s+(\d+)/)) / Number(find(output, /Queries sent:\s+(\d+)/)),
  };
}

/** Times in ms from query to answer, at the steady rate. */
export async function timeAnswers(
  lab: Lab,
  target: DnsTarget,
  queries: QueryFile,
): Promise<{ p50Ms: number; p99Ms: number }> {
  const output = await dnsperf(lab, target, queries, steadySeconds, ["-Q", String(steadyRate), "-v"]);
  const timesMs = [...output.matchAll(/^> (\w+) .* (\d+\.\d+)$/gm)].map(([, , time]) => Number(time) * 1000);
  assert.ok(timesMs.length > steadyRate * steadySeconds * 0.5, `dnsperf -v printed ${timesMs.length} answers only`);
  return { p50Ms: quantile(timesMs, 0.5), p99Ms: quantile(timesMs, 0.99) };
}

function find(output: string, pattern: RegExp): string {
  const found = pattern.exec(output)?.[1];
  assert.ok(found !== undefined, `dnsperf printed nothing like ${String(pattern)}:\n${output.slice(-2000)}`);
  return found;
}

const askMs = 1000;

/** Sends one query over UDP; returns the address in the answer, or undefined for any other answer. */
export async function ask(address: string, port: number, query: Buffer): Promise<string | undefined> {
  const socket = createSocket("udp4");
  try {
    socket.connect(port, address);
    await once(socket, "connect");
    socket.send(query);
    const [message] = (await once(socket, "message", { signal: AbortSignal.timeout(askMs) })) as [Buffer];
    for (const record of decode(message).answers ?? []) if (record.type === "A") return record.data;
    return undefined;
  } finally {
    socket.close();
  }
}
