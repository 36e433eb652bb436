/** One folder, one `nearcast up`: it locks the folder, like an origin and an edge lock their data directories. */
import { command } from "#base/command-name.ts";
import { lockDirectory } from "#base/directory-lock.ts";
import { NearcastError } from "#base/errors.ts";
import { mkdir } from "node:fs/promises";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import { asFailure } from "../../origin-data-directory.ts";
import { hostPort, originFileOf, readOriginConfig, readUpState } from "../../settings.ts";
import { otherAddress } from "./process-plan.ts";

/**
 * Creates the folder if it does not exist.
 * @returns a function that releases the lock
 * @throws CommandFailure that says what runs there and how to start another one, or why the folder can't be locked
 */
export async function holdFolder(dataDir: string): Promise<() => void> {
  const refusal = `another \`${command} up\` is using ${dataDir}; nothing was changed`;
  try {
    await mkdir(dataDir, { recursive: true });
    return lockDirectory(dataDir, refusal, "up.lock");
  } catch (error) {
    if (!(error instanceof NearcastError) || error.code !== "CONFLICT") throw asFailure(error);
    throw new CommandFailure(exitCodes.failed, refusal, { lines: await runningLines(dataDir), cause: error });
  }
}

/** What runs there, as far as it has started, and how to start another one beside it. */
async function runningLines(dataDir: string): Promise<string[]> {
  const state = await readUpState(dataDir);
  const origin = await readOriginConfig(originFileOf(dataDir)).catch(() => undefined);
  const where =
    origin === undefined ? "" : `; the origin is http://${hostPort(origin.listen.host, origin.listen.port)}`;
  return [
    ...(state === undefined ? [] : [`It runs the nodes ${state.nodes.join(", ")}${where}`]),
    `  ${command} status --data ${dataDir}`,
    "To stop it, press Ctrl-C in its terminal. To run a second one alongside it, give it a directory and an address:",
    `  ${command} up --data ./data2 --address ${otherAddress(state?.address)}`,
  ];
}
