/**
 * One folder, one `nearcast up`. The lock is an exclusive transaction on a SQLite file of its own, as the origin holds
 * one on its data: the system lets go of it when the process ends, however that ends, and no pid file is left behind.
 */
import { command } from "#base/command-name.ts";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { hostPort, originFileOf, readOriginConfig, readUpState } from "../settings.ts";
import { otherAddress } from "./plan.ts";

/**
 * Makes the folder where it is not there.
 * @returns what lets go of it
 * @throws CommandFailure that says what runs there, and how to start another one
 */
export async function holdFolder(dataDir: string): Promise<() => void> {
  await mkdir(dataDir, { recursive: true });
  const lock = new DatabaseSync(join(dataDir, "up.lock"), { timeout: 0 });
  try {
    lock.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    lock.close();
    throw new CommandFailure(exitCodes.failed, `another \`${command} up\` runs on ${dataDir}; nothing was changed`, {
      lines: await runningLines(dataDir),
      cause: error,
    });
  }
  return () => {
    lock.close();
  };
}

/** What runs there, as far as it has come, and how to start another one beside it. */
async function runningLines(dataDir: string): Promise<string[]> {
  const state = await readUpState(dataDir);
  const origin = await readOriginConfig(originFileOf(dataDir)).catch(() => undefined);
  const where = origin === undefined ? "" : `; its origin: http://${hostPort(origin.listen.host, origin.listen.port)}`;
  return [
    ...(state === undefined ? [] : [`It runs the nodes ${state.nodes.join(", ")}${where}`]),
    `  ${command} status --data ${dataDir}`,
    "Ctrl-C in its terminal stops it. To run another one beside it, give that one its own folder and address:",
    `  ${command} up --data ./data2 --address ${otherAddress(state?.address)}`,
  ];
}
