/**
 * The `nearcast` command as a process: the only place in the command that reads the environment and ends the process.
 * program.ts defines its verbs; deploy/nearcast.mjs starts it.
 */
import { systemClock } from "#base/clock.ts";
import { ConfigError } from "#base/read-config.ts";
import { problemLines } from "#base/schema.ts";
import { type Command, CommanderError } from "commander";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { writeFailure, writeText } from "./output.ts";
import { createProgram } from "./program.ts";
import type { Cli } from "./verb.ts";

const cli: Cli = {
  environment: process.env,
  clock: systemClock,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  end(code) {
    process.exitCode = code;
  },
  exit: (code) => process.exit(code),
};

const program = createProgram(cli);
endByException(program);

// The reader of the output may stop early (`nearcast ls | head`).
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(exitCodes.ok);
  throw error;
});

try {
  await program.parseAsync(process.argv);
} catch (error) {
  fail(error);
}

/**
 * Wrong usage of a verb, or of one inside a group, ends in fail(), which makes quoted parts of the command line
 * printable.
 */
function endByException(command: Command): void {
  command.exitOverride().configureOutput({
    writeErr: (text) => {
      writeText(process.stderr, text);
    },
  });
  for (const inner of command.commands) endByException(inner);
}

function fail(error: unknown): void {
  const isJson = process.argv.includes("--json");
  if (error instanceof CommanderError) {
    // Commander has printed its message; it reports `--help` and `--version` as errors, too.
    process.exitCode = error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  } else if (error instanceof CommandFailure) {
    writeFailure(process.stderr, error, isJson);
    process.exitCode = error.exitCode;
  } else if (error instanceof ConfigError) {
    const [head = ""] = error.message.split("\n", 1);
    const failure = new CommandFailure(exitCodes.usage, head.replace(/:$/, ""), {
      lines: problemLines(error.problems),
    });
    writeFailure(process.stderr, failure, isJson);
    process.exitCode = exitCodes.usage;
  } else {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    writeText(process.stderr, `nearcast: ${text}\n`);
    process.exitCode = exitCodes.failed;
  }
}
