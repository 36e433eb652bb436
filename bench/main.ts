/**
 * `npm run bench`: measures each question against real peers and prints the tables.
 *
 * Everything that it starts listens on separate loopback addresses and is stopped, by pid, at the end, after a failure
 * and on Ctrl-C. bench/README.md says what each question measures and how to read the figures.
 */
import { readFile, writeFile } from "node:fs/promises";
import { availableParallelism, cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { measureColdRender } from "./cold-render.ts";
import { measureDiskHit } from "./disk-hit.ts";
import { measureDiskStart } from "./disk-start.ts";
import { measureDnsAnswer } from "./dns-answer.ts";
import { measureDnsWhileRendering } from "./dns-while-rendering.ts";
import { measureHitRatio, type TraceFiles } from "./hit-ratio.ts";
import { measureHttp } from "./http.ts";
import { measureHttpMiss } from "./http-miss.ts";
import { measureHttpMixed } from "./http-mixed.ts";
import { measureHitWhileRendering } from "./hit-while-rendering.ts";
import { type Report, renderTable } from "./lab/figures.ts";
import { hasPlace, withFigures } from "./lab/written-figures.ts";
import { type Lab, needDriver, openLab } from "./lab/lab.ts";
import { measureMemoryHit } from "./memory-hit.ts";
import { measureRenderFairness } from "./render-fairness.ts";

interface Question {
  name: string;
  /** The driver, and the Debian package that contains it. */
  driver: "wrk" | "dnsperf" | null;
  measure: (lab: Lab, files: TraceFiles) => Promise<Report>;
}

const questions: readonly Question[] = [
  { name: "http", driver: "wrk", measure: measureHttp },
  { name: "http-mixed", driver: "wrk", measure: measureHttpMixed },
  { name: "http-miss", driver: "wrk", measure: measureHttpMiss },
  { name: "memory-hit", driver: "wrk", measure: measureMemoryHit },
  { name: "disk-hit", driver: "wrk", measure: measureDiskHit },
  { name: "disk-start", driver: null, measure: measureDiskStart },
  { name: "hit-ratio", driver: null, measure: measureHitRatio },
  { name: "hit-while-rendering", driver: "wrk", measure: measureHitWhileRendering },
  { name: "cold-render", driver: null, measure: measureColdRender },
  { name: "render-fairness", driver: null, measure: measureRenderFairness },
  { name: "dns-answer", driver: "dnsperf", measure: measureDnsAnswer },
  { name: "dns-while-rendering", driver: "dnsperf", measure: measureDnsWhileRendering },
];

const usage = `Measures nearcast and other servers on this machine; everything takes about an hour.

  npm run bench [-- [OPTIONS] [BENCHMARK…] [TRACE…]]

Benchmarks (the beginning of a name is enough): ${questions.map(({ name }) => name).join(", ")}

  --rounds N     rounds of each comparison, 1–100 (4)
  --seconds S    length of one run of a load generator, whole seconds, 1–60 (2)
  --json         print all samples as JSON on standard output
  --data FILE    for hit-ratio: draw requests from this distribution of popularity and size
  --write        replace the tables of these benchmarks in bench/README.md
  --help

Examples
  npm run bench -- dns                        the DNS benchmarks
  npm run bench -- --rounds 2 --seconds 1     a quick look at all benchmarks
  npm run bench -- hit-ratio ./day.trace      replays a trace: a file name has a dot or a slash, a benchmark has none
  npm run bench -- http --write               new tables for bench/README.md

It needs Linux and load generators (apt-get install wrk dnsperf nghttp2-client). bench/peers.md lists the other
servers and how to install them.
`;

const readme = fileURLToPath(new URL("README.md", import.meta.url));

/** Wrong usage; printed without a stack. */
class UsageError extends Error {}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: "string", default: "4" },
      seconds: { type: "string", default: "2" },
      json: { type: "boolean", default: false },
      data: { type: "string" },
      write: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return;
  }
  if (process.platform !== "linux") throw new UsageError("this needs Linux: it reads CPU time from /proc");
  const rounds = readCount("--rounds", values.rounds, 100);
  const seconds = readCount("--seconds", values.seconds, 60);
  const files = { dataPath: values.data, tracePaths: positionals.filter(isPath) };
  const chosen = choose(positionals.filter((name) => !isPath(name)));
  const isReplayed = chosen.some(({ name }) => name === "hit-ratio");
  const hasFiles = values.data !== undefined || files.tracePaths.length > 0;
  if (hasFiles && !isReplayed) throw new UsageError("--data and traces are for the benchmark hit-ratio");
  if (values.write) await readPage(chosen);
  for (const { driver } of chosen) if (driver !== null) needDriver(driver, driver);

  const say = (text: string): void => {
    process.stderr.write(`  ${text}\n`);
  };
  let lab: Lab | undefined;
  for (const [signal, status] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    process.once(signal, () => {
      say("stopping everything");
      // Whatever waits for a stopped process now fails; that must not end this process first.
      process.on("unhandledRejection", () => undefined);
      isInterrupted = true;
      void (lab?.close() ?? Promise.resolve()).then(() => process.exit(status));
    });
  }
  const reports: Report[] = [];
  for (const { name, measure } of chosen) {
    process.stderr.write(`${name}\n`);
    lab = await openLab({ rounds, seconds, say });
    try {
      const report = await measure(lab, files);
      reports.push(report);
      if (!values.json) process.stdout.write(`\n${renderReport(report)}\n\n`);
    } finally {
      await lab.close();
    }
  }
  const about = describeMachine(rounds, seconds, lab?.isPinned ?? false);
  if (values.json) process.stdout.write(`${JSON.stringify({ about, reports }, null, 2)}\n`);
  else process.stdout.write(`${about}\n`);
  if (!values.write) return;
  const page = await readPage(chosen);
  const written = reports.reduce((text, report) => {
    return withFigures(text, report.question, `${renderReport(report)}\n- ${about}`);
  }, page);
  await writeFile(readme, written);
}

let isInterrupted = false;

function readCount(option: string, text: string, max: number): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= max) return count;
  throw new UsageError(`${option} ${text}: must be a whole number from 1 to ${max}`);
}

function isPath(argument: string): boolean {
  return /[./]/.test(argument);
}

function choose(names: readonly string[]): readonly Question[] {
  if (names.length === 0) return questions;
  for (const begin of names) {
    if (questions.some(({ name }) => name.startsWith(begin))) continue;
    throw new UsageError(`${begin}: no such question; there are ${questions.map(({ name }) => name).join(", ")}`);
  }
  return questions.filter(({ name }) => names.some((begin) => name.startsWith(begin)));
}

function renderReport({ tables, notes, absent }: Report): string {
  const lines = [...notes, ...absent.map((text) => `not measured: ${text}`)].map((text) => `- ${text}`);
  return [...tables.map(renderTable), lines.join("\n")].join("\n\n");
}

function describeMachine(rounds: number, seconds: number, isPinned: boolean): string {
  const cores = `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? "unknown"})`;
  const pinning = isPinned ? "the server on one core, the driver on another" : "nothing pinned to a core";
  return `Medians of ${rounds} rounds of ${seconds} s; ${cores}, ${pinning}; Node ${process.versions.node}.`;
}

/** Where `--write` puts its figures; known before anything is measured. */
async function readPage(chosen: readonly Question[]): Promise<string> {
  const page = await readFile(readme, "utf8");
  const lost = chosen.find(({ name }) => !hasPlace(page, name));
  if (lost !== undefined) throw new UsageError(`bench/README.md has no marks for the figures of ${lost.name}`);
  return page;
}

try {
  await main();
} catch (error) {
  // After Ctrl-C the failures are those of stopped processes; the signal handler ends this process.
  if (!isInterrupted) {
    const isUsage =
      error instanceof UsageError || String((error as NodeJS.ErrnoException).code).startsWith("ERR_PARSE");
    process.stderr.write(`bench: ${isUsage ? (error as Error).message : ((error as Error).stack ?? String(error))}\n`);
    process.exitCode = isUsage ? 2 : 1;
  }
}
