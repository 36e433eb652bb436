/**
 * `nearcast bgp`: what stands between the edges and BGP.
 *
 *   config   writes a node's bird.conf, and what its router needs, from the fleet document
 *   check    looks at a node's BIRD, addresses and kernel settings, and says what to mend
 */
import type { Command } from "commander";
import { addBgpConfig } from "./bgp/config.ts";
import { addBgpCheck } from "./bgp/check.ts";
import { exitCodesHelp } from "./exit-codes.ts";
import { type Cli, examplesHelp } from "./verb.ts";

export function addBgp(program: Command, cli: Cli): void {
  const bgp = program
    .command("bgp")
    .summary("write BIRD's and the router's configuration, and check a node's")
    .description("Write BIRD's and the router's configuration, and check a node's.")
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
        "`config` and `check` print one JSON value instead of text with --json.",
        exitCodesHelp,
      ].join("\n"),
    );
  addBgpConfig(bgp, cli);
  addBgpCheck(bgp, cli);
}
