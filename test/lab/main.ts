/**
 * `npm run lab`: an internet of network namespaces on this machine, a CDN in it, and everything that can happen to one.
 *
 *   npm run lab -- [--short] [--ceilings N] [--only DRILL]… [--json] [--keep]
 *
 * The first process looks whether it may, and starts a second one inside a space of its own (space.ts) that does
 * everything. The only file here that reads the environment and ends a process.
 * Exit status: 0 every target met (or skipped, with the reason), 1 one was missed or the lab could not be held,
 * 2 unknown flags.
 */
import { systemRandom } from "#base/random.ts";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { drillNames } from "./drills.ts";
import { runLab } from "./lab.ts";
import { machineMs } from "./machine-clock.ts";
import { type LabReport, tableLines } from "./report.ts";
import { findSpace, missingPrograms } from "./space.ts";
import { whyNoRelay } from "./long-cable.ts";

const help = `Usage: npm run lab -- [--short] [--ceilings N] [--only DRILL]… [--json] [--keep]

Three sites with two nodes each, routers between them, BIRD, unbound and clients at three places, in network namespaces
of their own on this machine; then everything that can go wrong, measured and compared with its target.

  --short       the drills that fit into a minute and a half
  --ceilings N  judge times and losses by N times their targets (1 to 100): on a machine that does other things as well
  --only DRILL  this drill; may be given several times
  --json        one JSON value on standard output instead of the table
  --keep        leave everything standing after the drills, until Ctrl-C
  --help        this text

Drills: ${drillNames().join(", ")}.

It needs Linux, root or user namespaces, and bird, unbound, dig, curl, ip, tc and sysctl (Debian: bird2 unbound dnsutils
curl iproute2 procps util-linux). Where these are missing it is skipped and says why; with CI=true that is a failure.
`;

const programs = ["unshare", "mount", "ip", "tc", "sysctl", "bird", "birdc", "unbound", "dig", "curl"];

const startedMs = machineMs();

/** Progress goes to standard error, so that standard output is the answer alone. */
function say(line: string): void {
  process.stderr.write(`${((machineMs() - startedMs) / 1000).toFixed(1).padStart(6)} s  ${line}\n`);
}

function whyNot(): { reason: string } | { unshare: readonly string[] } {
  const missing = missingPrograms(programs);
  if (missing.length > 0) return { reason: `not installed: ${missing.join(", ")}` };
  const space = findSpace();
  if (!space.ok) return { reason: space.reason };
  const noRelay = whyNoRelay();
  return noRelay === null ? { unshare: space.unshare } : { reason: noRelay };
}

/** Outside: hands everything to a process in a space of its own, which lives as long as the pipe to it. */
async function outside(args: readonly string[], isJson: boolean): Promise<number> {
  const found = whyNot();
  if ("reason" in found) {
    const isCi = process.env["CI"] === "true";
    process.stderr.write(`lab ${isCi ? "can't be held" : "skipped"}: ${found.reason}\n`);
    if (isJson) process.stdout.write(`${JSON.stringify({ skipped: found.reason })}\n`);
    return isCi ? 1 : 0;
  }
  const script = fileURLToPath(import.meta.url);
  const child = spawn("unshare", [...found.unshare, process.execPath, script, "--inside", ...args], {
    stdio: ["pipe", "inherit", "inherit"],
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.stdin?.end());
  const [status] = (await once(child, "exit")) as [number | null];
  return status ?? 1;
}

function writeReport(report: LabReport, isJson: boolean): void {
  process.stdout.write(`${isJson ? JSON.stringify(report) : tableLines(report).join("\n")}\n`);
}

/** Inside: process 1 of the space. */
async function inside(options: {
  short: boolean;
  ceilings: string;
  only: string[];
  json: boolean;
  keep: boolean;
}): Promise<number> {
  process.stdin.on("end", () => process.exit(130)).resume();
  const done = async (report: LabReport): Promise<void> => {
    writeReport(report, options.json);
    if (!options.keep) return;
    say(`standing; look around with: nsenter -t $(pgrep -nf 'main.ts --inside') -m -n ip netns exec paris bash`);
    await once(process.stdin, "end");
  };
  const { short: isShort, only } = options;
  const ceilings = Number(options.ceilings);
  const report = await runLab({ isShort, ceilings, only, random: systemRandom, say, done });
  return report.isOk ? 0 : 1;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      short: { type: "boolean", default: false },
      ceilings: { type: "string", default: "1" },
      only: { type: "string", multiple: true, default: [] },
      json: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      inside: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const unknown = values.only.find((name) => !drillNames().includes(name));
  if (unknown !== undefined)
    throw new TypeError(`there is no drill "${unknown}"; there are: ${drillNames().join(", ")}`);
  if (!/^[1-9]\d?$|^100$/.test(values.ceilings)) {
    throw new TypeError(`--ceilings must be a whole number from 1 to 100 (got "${values.ceilings}")`);
  }
  const flags = process.argv.slice(2);
  return values.inside ? await inside(values) : await outside(flags, values.json);
}

try {
  process.exit(await main());
} catch (error) {
  const isUsage = error instanceof TypeError;
  process.stderr.write(`lab: ${isUsage ? error.message : ((error as Error).stack ?? String(error))}\n`);
  process.exit(isUsage ? 2 : 1);
}
