/**
 * The verbs of `nearcast` and their order in the help. main.ts runs them; deploy/docs/commands-page.ts prints their
 * help.
 */
import { command as commandName } from "#base/command-name.ts";
import { readRelease } from "#base/release.ts";
import { Command, CommanderError } from "commander";
import { addAudit } from "./audit.ts";
import { addBackup } from "./backup.ts";
import { addBgp } from "./bgp.ts";
import { addDig } from "./dig.ts";
import { addDrain } from "./drain.ts";
import { addEdge } from "./edge.ts";
import { exitCodes, exitCodesHelp } from "./exit-codes.ts";
import { addExplain } from "./explain.ts";
import { addFleet, addOldFleetSpellings } from "./fleet.ts";
import { addJoin } from "./join.ts";
import { addLs } from "./ls.ts";
import { addOrigin } from "./origin.ts";
import { writeText } from "./output.ts";
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
import { addZone } from "./zone.ts";

/** @param cli what the verbs work with; only running one uses it */
export function createProgram(cli: Cli): Command {
  const program = new Command("nearcast")
    .description("Own your image CDN: one origin, edge nodes that serve and resize pictures, and their DNS.")
    .option("-v, --version", "print the version")
    // Not version(), which wants the text of each run: in a checkout git has to be asked for it.
    .on("option:version", () => {
      writeText(cli.stdout, `${readRelease()}\n`);
      throw new CommanderError(exitCodes.ok, "commander.version", "");
    })
    // Before a verb only: after it, --version is the verb's own (`fleet show --version 41`).
    .enablePositionalOptions()
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [verb]", "print a verb's help")
    .showHelpAfterError("(add --help for the options and an example)")
    .addHelpText(
      "after",
      ["", "Begin with:", `  ${commandName} up          the whole CDN on this machine`, "", exitCodesHelp].join("\n"),
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
  addZone(program, cli);
  addDig(program, cli);
  program.commandsGroup("Look:");
  addStatus(program, cli);
  addExplain(program, cli);
  addAudit(program, cli);
  addOldFleetSpellings(program, cli);
  return program;
}
