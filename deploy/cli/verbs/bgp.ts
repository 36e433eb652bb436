/**
 * `nearcast bgp`: the link between the edges and BGP.
 *
 *   config   writes a node's bird.conf, and its router's configuration, from the fleet document
 *   check    checks a node's BIRD, addresses and kernel settings, and says what to change
 */
import type { Command } from "commander";
import { addBgpConfig } from "./bgp/config.ts";
import { addBgpCheck } from "./bgp/check.ts";
import { exitCodesHelp } from "../exit-codes.ts";
import { type Cli, examplesHelp } from "../verb.ts";

export function addBgp(program: Command, cli: Cli): void {
  const bgp = program
    .command("bgp")
    .summary("generate configuration for BIRD and routers, and check the BGP setup of a node")
    .description("Generate configuration for BIRD and routers, and check the BGP setup of a node.")
    .addHelpText(
      "after",
      [
        "",
        ...examplesHelp([
          "bgp config --site fra --node fra1 --output /etc/bird/bird.conf",
          "bgp config --site fra --router frr",
          "bgp check --config /etc/nearcast/edge.yaml",
        ]),
        "",
        "With --json, `config` and `check` print one JSON value instead of text.",
        exitCodesHelp,
      ].join("\n"),
    );
  addBgpConfig(bgp, cli);
  addBgpCheck(bgp, cli);
}
