/**
 * The verbs of `nearcast`, in the order of the help. main.ts runs them; deploy/docs/commands-page.ts prints their help.
 */
import { command as commandName } from "#base/command-name.ts";
import { readRelease } from "#base/release.ts";
import { Command, CommanderError } from "commander";
import { addAudit } from "./verbs/audit.ts";
import { addBackup } from "./verbs/backup.ts";
import { addBgp } from "./verbs/bgp.ts";
import { addDig } from "./verbs/dig.ts";
import { addDrain } from "./verbs/drain.ts";
import { addEdge } from "./verbs/edge.ts";
import { exitCodes, exitCodesHelp } from "./exit-codes.ts";
import { addExplain } from "./verbs/explain.ts";
import { addFleet, addOldFleetSpellings } from "./verbs/fleet.ts";
import { addJoin } from "./verbs/join.ts";
import { addLs } from "./verbs/ls.ts";
import { addOrigin } from "./verbs/origin.ts";
import { writeText } from "./output.ts";
import { addPurge } from "./verbs/purge.ts";
import { addPut } from "./verbs/put.ts";
import { addRemove } from "./verbs/remove.ts";
import { addRestore } from "./verbs/restore.ts";
import { addRm } from "./verbs/rm.ts";
import { addRollback } from "./verbs/rollback.ts";
import { addSecret } from "./verbs/secret.ts";
import { addStatus } from "./verbs/status.ts";
import { addToken } from "./verbs/token.ts";
import { addUndrain } from "./verbs/undrain.ts";
import { addUp } from "./verbs/up.ts";
import type { Cli } from "./verb.ts";
import { addVerify } from "./verbs/verify.ts";
import { addVersions } from "./verbs/versions.ts";
import { addZone } from "./verbs/zone.ts";

/** @param cli used only when a verb runs */
export function createProgram(cli: Cli): Command {
  const program = new Command("nearcast")
    .description(
      "Own your image CDN: one origin, edge nodes that serve and resize pictures, and the DNS that finds them.",
    )
    .option("-v, --version", "print the version")
    // Not version(), which needs the text on each run: in a checkout that means running git.
    .on("option:version", () => {
      writeText(cli.stdout, `${readRelease()}\n`);
      throw new CommanderError(exitCodes.ok, "commander.version", "");
    })
    // Only before a verb: after it, --version is the verb's own option (`fleet show --version 41`).
    .enablePositionalOptions()
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [verb]", "print the help of a verb")
    .showHelpAfterError("(run with --help for options and examples)")
    .addHelpText(
      "after",
      ["", "Start here:", `  ${commandName} up          run the whole CDN on this machine`, "", exitCodesHelp].join(
        "\n",
      ),
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
  program.commandsGroup("Inspect:");
  addStatus(program, cli);
  addExplain(program, cli);
  addAudit(program, cli);
  addOldFleetSpellings(program, cli);
  return program;
}
