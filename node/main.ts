/**
 * The edge process: arguments, signals, exit status. With `--processes` above 1 it is the supervisor of several.
 *
 *   node node/main.ts --config FILE [--processes N|auto] [--check-config] [--with-parent]
 *     └─ node node/main.ts --config FILE --processes N --process I     started by the supervisor alone, I from 0
 *
 * Status 0: stopped cleanly. 1: could not start, or failed. 2: the configuration has problems.
 */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openCMemory } from "#base/c-memory.ts";
import { systemClock } from "#base/clock.ts";
import { ConfigError, loadConfig } from "#base/read-config.ts";
import { NearcastError } from "#base/errors.ts";
import { keepAlive, onStopSignal } from "#base/lifecycle.ts";
import { type Log, openLog } from "#base/log.ts";
import { type Notifier, openNotifier, silentNotifier } from "#base/systemd-notify.ts";
import { systemRandom } from "#base/random.ts";
import { type EdgeConfig, edgeConfigSchema } from "./config.ts";
import type { Edge } from "./edge/edge.ts";
import { memberName } from "./peer/members.ts";
import { removeOtherCode, withCompiledCode } from "./processes/compiled-code.ts";
import { openChannel } from "./processes/supervisor-channel.ts";
import { openSiblings } from "./processes/machine-load.ts";
import { removeLeftovers } from "./processes/leftover-directories.ts";
import { checkCertificates } from "./tls/certificates.ts";
import {
  alone,
  configOfProcess,
  processesMax,
  type ProcessPlace,
  readProcesses,
  sharingProblems,
} from "./processes/process-share.ts";
import { supervise, whyNoSharing } from "./processes/supervisor.ts";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: "string" },
      "check-config": { type: "boolean", default: false },
      processes: { type: "string", default: "1" },
      process: { type: "string" },
      // Ends when standard input closes: set by processes that start an edge as a child.
      "with-parent": { type: "boolean", default: false },
      // Ends when the npm process behind `npx nearcast edge` ends: set by the command.
      "with-launcher": { type: "boolean", default: false },
    },
  });
  const count = readProcesses(values.processes);
  if (count === undefined) {
    throw wrongWord("--processes", `is "${values.processes}", neither auto nor a number from 1 to ${processesMax}`);
  }
  const config = await loadConfig(edgeConfigSchema, values.config, "NEARCAST_EDGE", process.env);
  const problems = sharingProblems(config, count);
  if (problems.length > 0) throw new ConfigError(values.config ?? "the configuration", problems);
  if (values["check-config"]) {
    const wrong = config.https === undefined ? [] : await checkCertificates(config.https, systemClock.wallMs());
    if (wrong.length > 0) {
      const told = wrong.map((message) => ({ path: "https", message }));
      throw new ConfigError(values.config ?? "the configuration", told);
    }
    process.stdout.write(`${values.config ?? "the settings"}: ok\n`);
    return;
  }

  const ends = { withParent: values["with-parent"], withLauncher: values["with-launcher"] };
  if (values.process !== undefined) {
    const index = Number(values.process);
    if (process.send === undefined || !/^\d\d?$/.test(values.process) || index >= count) {
      throw wrongWord("--process", "is what a supervisor tells its own processes; it is started by --processes");
    }
    const place = { index, count, sharesPorts: true };
    const { dataDir } = config;
    await serve(configOfProcess(config, index, count), place, { ...ends, codeDir: dataDir, isSupervised: true });
  } else if (count === 1) {
    await serve(config, alone, { ...ends, codeDir: config.dataDir, isSupervised: false });
  } else {
    await superviseAll(config, count, ends, [
      ...(values.config === undefined ? [] : ["--config", values.config]),
      "--processes",
      String(count),
    ]);
  }
}

function wrongWord(option: string, message: string): ConfigError {
  return new ConfigError("the command line", [{ path: option, message }]);
}

/**
 * One for the main thread, and one for the others, which allocate little; ten more would keep about 30 MB for nothing.
 */
const arenasMax = 2;

/** The processes whose end also ends this one. */
interface Ends {
  withParent: boolean;
  withLauncher: boolean;
}

/** @param codeDir data directory of the machine, where compiled code is kept for all processes */
async function serve(
  config: EdgeConfig,
  place: ProcessPlace,
  { isSupervised, codeDir, ...ends }: Ends & { codeDir: string; isSupervised: boolean },
): Promise<void> {
  openCMemory()?.limitArenas(arenasMax);
  const log = openLog(`edge ${memberName(config.node, place.index)}`, config.logLevel);
  endOnFault(log);
  const deps = { clock: systemClock, random: systemRandom, log };
  let edge: Edge | undefined;
  let isStopping = false;
  function stop(reason: string): void {
    // A supervisor and a terminal may both order the stop.
    if (isStopping) return;
    isStopping = true;
    log.info({ reason }, "stopping");
    notifier.stopping();
    // Nobody was served yet.
    if (edge === undefined) process.exit(0);
    void edge.drain().then(() => process.exit(0));
  }
  const hurry = (): void => edge?.hurry();
  const stopInHaste = (reason: string): void => {
    hurry();
    stop(reason);
  };
  const channel = isSupervised
    ? openChannel(process, systemClock, {
        drain() {
          stop("the supervisor's request");
        },
        hurry,
        gone() {
          stopInHaste("supervisor gone");
        },
      })
    : undefined;
  // A process of several is watched by its supervisor.
  const notifier = isSupervised ? silentNotifier : notifierOf(log, () => true);
  const siblings = openSiblings({ count: place.count, channel, clock: systemClock });

  // The supervisor is not an edge, and loads none of this.
  const [{ startEdge }, { startDns }] = await withCompiledCode(
    { dataDir: codeDir, environment: process.env, log },
    () => Promise.all([import("./edge/edge.ts"), import("../dns/start.ts")]),
  );
  edge = await keepAlive(
    startEdge(config, {
      ...deps,
      startDns: (options) => startDns({ ...options, ...deps }),
      process: place,
      siblings,
    }),
  );
  onStopSignal({
    ...ends,
    clock: systemClock,
    stop: (reason) => {
      if (reason === "parent gone") stopInHaste(reason);
      else stop(reason);
    },
    hurry,
  });
  await edge.ready;
  log.info({ http: edge.http, admin: edge.admin, dns: edge.dns() }, "ready");
  if (isStopping) return;
  channel?.ready();
  notifier.ready("ready");
  if (place.index === 0) await removeOtherCode(codeDir, log);
  if (!isSupervised) await removeLeftovers(config.dataDir, 1, log);
}

async function superviseAll(config: EdgeConfig, count: number, ends: Ends, words: readonly string[]): Promise<void> {
  const log = openLog(`supervisor ${config.node}`, config.logLevel);
  endOnFault(log);
  const reason = await whyNoSharing();
  if (reason !== undefined) throw new NearcastError("CANNOT_LISTEN", reason);
  // Only the supervisor talks to systemd.
  const env = { ...process.env, NOTIFY_SOCKET: undefined, WATCHDOG_USEC: undefined, WATCHDOG_PID: undefined };
  const notifier = notifierOf(log, () => supervisor.isAlive());
  const supervisor = supervise({
    node: config.node,
    count,
    launch: (index) =>
      fork(fileURLToPath(import.meta.url), [...words, "--process", String(index)], {
        stdio: ["ignore", "inherit", "inherit", "ipc"],
        env,
      }),
    notifier,
    ready() {
      log.info({ processes: count }, "ready");
      void removeLeftovers(config.dataDir, count, log);
    },
    clock: systemClock,
    log,
  });
  onStopSignal({
    ...ends,
    clock: systemClock,
    stop(why) {
      log.info({ reason: why }, "stopping");
      if (why === "parent gone") supervisor.hurry();
      supervisor.drain();
    },
    hurry: supervisor.hurry,
  });
  process.exit(await supervisor.ended);
}

function endOnFault(log: Log): void {
  process.on("uncaughtException", (error) => {
    log.fatal(
      { err: error },
      "uncaught error, a bug in nearcast: this process ends, so that its supervisor starts it again",
    );
    process.exit(1);
  });
}

function notifierOf(log: Log, isWell: () => boolean): Notifier {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: watchdogMicroseconds, WATCHDOG_PID: watchdogPid } = process.env;
  const environment = { socket, watchdogMicroseconds, watchdogPid };
  return openNotifier(environment, { pid: process.pid, isWell, clock: systemClock, log });
}

try {
  await main();
} catch (error) {
  process.stderr.write(`nearcast edge: ${(error as Error).message}\n`);
  process.exit(
    error instanceof ConfigError || (error as NodeJS.ErrnoException).code?.startsWith("ERR_PARSE_ARGS") === true
      ? 2
      : 1,
  );
}
