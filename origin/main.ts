/**
 * The origin's process: settings → decoders → origin → listening, and on SIGTERM or SIGINT an orderly stop within 5 s.
 * The only file here that reads the environment and ends the process.
 *
 * One line on standard output says that it listens, and where; everything else goes to the log on standard error.
 * Exit status: 0 orderly stop, 1 failed to start or to stop, 2 the settings have problems.
 */
import { parseArgs } from "node:util";
import { systemClock } from "#base/clock.ts";
import { ConfigError } from "#base/read-config.ts";
import { createLifecycle, keepAlive, onStopSignal } from "#base/lifecycle.ts";
import { type Log, openLog } from "#base/log.ts";
import { type Notifier, openNotifier } from "#base/systemd-notify.ts";
import { openDecoderPool } from "#image/pool.ts";
import { requireSandbox } from "#image/require-sandbox.ts";
import { environmentPrefix, loadOriginConfig, type OriginConfig } from "./config.ts";
import { startOrigin } from "./start.ts";

const help = `Usage: node origin/main.ts [--config FILE] [--data DIR] [--host ADDRESS] [--port PORT]

Runs the origin: it stores pictures and the fleet document, and tells edges what changed.

  --config FILE   settings in YAML; without it the defaults hold
  --data DIR      where everything is kept (dataDir, default ./data/origin)
  --host ADDRESS  listen.host, default 127.0.0.1
  --port PORT     listen.port, default 7070; 0 takes a free one
  --with-parent   stop when standard input ends
  --check-config  say whether the settings are good, and stop
  --help          this text

Every setting can also be given as ${environmentPrefix}_SECTION__KEY, such as ${environmentPrefix}_LISTEN__PORT=7070.

Example: node origin/main.ts --data /srv/nearcast --port 7070
`;

/** Everything must end within 5 s of the signal; this includes the configured drain. */
const stopMsMax = 4800;

try {
  await run();
} catch (error) {
  const isSettings =
    error instanceof ConfigError || (error as NodeJS.ErrnoException).code?.startsWith("ERR_PARSE_ARGS");
  process.stderr.write(`nearcast origin: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(isSettings === true ? 2 : 1);
}

async function run(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: "string" },
      data: { type: "string" },
      host: { type: "string" },
      port: { type: "string" },
      "with-parent": { type: "boolean", default: false },
      // Ends when the npm process behind `npx nearcast origin` ends: set by the command.
      "with-launcher": { type: "boolean", default: false },
      "check-config": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return;
  }
  const config = await loadOriginConfig({
    file: values.config,
    environment: process.env,
    flags: {
      dataDir: values.data,
      host: values.host,
      port: values.port === undefined ? undefined : Number(values.port),
    },
  });
  if (values["check-config"]) {
    process.stdout.write(`${values.config ?? "the settings"}: ok\n`);
    return;
  }
  await serve(config, { withParent: values["with-parent"], withLauncher: values["with-launcher"] });
}

async function serve(config: OriginConfig, ends: { withParent: boolean; withLauncher: boolean }): Promise<void> {
  const log = openLog("origin", config.log.level);
  const lifecycle = createLifecycle(log);
  const notifier = notifierOf(log);
  const stop = (): void => {
    notifier.stopping();
    lifecycle.stop(stopMsMax).then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  onStopSignal({ ...ends, clock: systemClock, stop, hurry: () => process.exit(1) });

  // One process per concurrent inspection: none ever waits in the pool's own queue.
  const { sandbox } = config.decoders;
  const pool = openDecoderPool({ size: config.limits.inspectionsMax, clock: systemClock, log, sandbox });
  lifecycle.defer("decoders", async () => {
    await pool.close({ graceMs: 0 });
  });
  const drainMs = Math.min(config.drainMs, stopMsMax - 800);
  try {
    await keepAlive(requireSandbox(sandbox, pool));
    const origin = await keepAlive(startOrigin({ ...config, drainMs }, { clock: systemClock, log, inspector: pool }));
    lifecycle.defer("origin", origin.close);
    process.stdout.write(`origin listens at ${origin.url}\n`);
    notifier.ready("ready");
  } catch (error) {
    await lifecycle.stop(stopMsMax);
    throw error;
  }
}

/** Notifies systemd, so that units started after the origin find it listening and its tokens created. */
function notifierOf(log: Log): Notifier {
  const { NOTIFY_SOCKET: socket } = process.env;
  return openNotifier({ socket }, { pid: process.pid, isWell: () => true, clock: systemClock, log });
}
