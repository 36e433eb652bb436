/**
 * The `nearcast` command: its verbs, and the only place in it that reads the environment and ends the process.
 * deploy/nearcast.mjs starts it.
 */
import { systemClock } from "#base/clock.ts";
import { command as commandName } from "#base/command-name.ts";
import { ConfigError } from "#base/config.ts";
import { readRelease } from "#base/release.ts";
import { problemLines } from "#base/schema.ts";
import { Command, CommanderError } from "commander";
import { addAudit } from "./audit.ts";
import { addBackup } from "./backup.ts";
import { addBgp } from "./bgp.ts";
import { addDig } from "./dig.ts";
import { addDrain } from "./drain.ts";
import { addEdge } from "./edge.ts";
import { CommandFailure, exitCodes, exitCodesHelp } from "./exit-codes.ts";
import { addExplain } from "./explain.ts";
import { addFleet, addOldFleetSpellings } from "./fleet.ts";
import { addJoin } from "./join.ts";
import { addLs } from "./ls.ts";
import { addOrigin } from "./origin.ts";
import { writeFailure, writeText } from "./output.ts";
import { addPurge } from "./purge.ts";
import { addPut } from "./put.ts";
import { addRemove } from "./remove.ts";
import { addRestore } from "./restore.ts";
import { addRm } from "./rm.ts";
import { addRollback } from "./rollback.ts";
import { addSecret } from "./secret.ts";
import { addStatus } from "./status.ts";
import { addToken } from "./token.ts";
import { addUndrain } from "./undrain.ts";
import { addUp } from "./up.ts";
import type { Cli } from "./verb.ts";
import { addVerify } from "./verify.ts";
import { addVersions } from "./versions.ts";

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

const program = new Command("nearcast")
  .description(
    "Own your image CDN: one origin, edge nodes that serve and resize pictures, and the DNS that finds them.",
  )
  .option("-v, --version", "print the version")
  // Not version(), which wants the text of each run: in a checkout git has to be asked for it.
  .on("option:version", () => {
    process.stdout.write(`${readRelease()}\n`);
    throw new CommanderError(exitCodes.ok, "commander.version", "");
  })
  // Before a verb only: after it, --version is the verb's own (`fleet show --version 41`).
  .enablePositionalOptions()
  .helpOption("-h, --help", "print this help")
  .helpCommand("help [verb]", "print the help of a verb")
  .showHelpAfterError("(run with --help for options and examples)")
  .addHelpText(
    "after",
    ["", "Start here:", `  ${commandName} up          run the whole CDN on this machine`, "", exitCodesHelp].join("\n"),
  );

program.commandsGroup("Run:");
addUp(program, cli);
addOrigin(program, cli);
addEdge(program, cli);
addBackup(program, cli);
addRestore(program, cli);
program.commandsGroup("Pictures:");
addPut(program, cli);
addLs(program, cli);
addRm(program, cli);
addVersions(program, cli);
addRollback(program, cli);
addPurge(program, cli);
addVerify(program, cli);
program.commandsGroup("Fleet:");
addFleet(program, cli);
addSecret(program, cli);
addToken(program, cli);
program.commandsGroup("Nodes:");
addJoin(program, cli);
addDrain(program, cli);
addUndrain(program, cli);
addRemove(program, cli);
addBgp(program, cli);
program.commandsGroup("Zones:");
addDig(program, cli);
program.commandsGroup("Inspect:");
addStatus(program, cli);
addExplain(program, cli);
addAudit(program, cli);
addOldFleetSpellings(program, cli);

endByException(program);

// Whoever reads the answer may have seen enough (`nearcast ls | head`).
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(exitCodes.ok);
  throw error;
});

try {
  await program.parseAsync(process.argv);
} catch (error) {
  fail(error);
}

/** Wrong usage of a verb, or of one inside a group, ends in fail(); what it quotes of the command line is printable. */
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
    // Commander has printed its message, and has called `--help` and `--version` errors, too.
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
