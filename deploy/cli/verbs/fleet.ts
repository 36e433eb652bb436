/**
 * `nearcast fleet`: the fleet document, from its check to its earlier versions; and the old spellings of these verbs,
 * which remain for scripts.
 */
import { Command } from "commander";
import { exitCodesHelp } from "../exit-codes.ts";
import { addApply, addDiff } from "./fleet/apply.ts";
import { addCheck } from "./fleet/check.ts";
import { addReleases } from "./fleet/releases.ts";
import { addFleetRollback } from "./fleet/rollback.ts";
import { addShow } from "./fleet/show.ts";
import { addOldSpelling, type Cli, examplesHelp } from "../verb.ts";

export function addFleet(program: Command, cli: Cli): void {
  const fleet = program
    .command("fleet")
    .summary("manage the fleet document: show, check, diff, apply, releases, rollback")
    .description("Manage the fleet document: the settings that all edges share. The origin keeps every version of it.")
    .addHelpText(
      "after",
      [
        "",
        ...examplesHelp([
          "fleet check fleet.yaml",
          "fleet apply fleet.yaml",
          "fleet show > fleet.yaml",
          "fleet rollback",
        ]),
        "",
        "Each verb has its own --help. With --json, it prints one JSON value instead of text.",
        exitCodesHelp,
      ].join("\n"),
    );
  addShow(fleet, cli);
  addCheck(fleet, cli);
  addDiff(fleet, cli);
  addApply(fleet, cli);
  addReleases(fleet, cli);
  addFleetRollback(fleet, cli);
}

export function addOldFleetSpellings(program: Command, cli: Cli): void {
  const before = new Command();
  addOldSpelling(program, addCheck(before, cli), cli, "fleet check");
  addOldSpelling(program, addApply(before, cli), cli, "fleet apply");
  addOldSpelling(program, addReleases(before, cli), cli, "fleet releases");
}
