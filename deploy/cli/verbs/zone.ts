/** `nearcast zone`: what the outside world must know about the fleet's zones. */
import type { Command } from "commander";
import { exitCodesHelp } from "../exit-codes.ts";
import { examplesHelp, type Cli } from "../verb.ts";
import { addDelegation } from "./zone/delegation.ts";

export function addZone(program: Command, cli: Cli): void {
  const zone = program
    .command("zone")
    .summary("print and check the delegation of the zones")
    .description("Print and check the records that the parent zones of the fleet's zones need.")
    .addHelpText(
      "after",
      [
        "",
        ...examplesHelp(["zone delegation", "zone delegation cdn.example.com --file fleet.yaml"]),
        "",
        "Each verb has its own --help. With --json, it prints one JSON value instead of text.",
        exitCodesHelp,
      ].join("\n"),
    );
  addDelegation(zone, cli);
}
