/** The nodes that joined, for verbs that also work without an origin: requested only if an origin is known. */
import { ConfigError } from "#base/read-config.ts";
import type { Roster } from "#document/roster.ts";
import { CommandFailure } from "../../exit-codes.ts";
import { readRoster } from "../../origin-answers.ts";
import { createOriginClient } from "../../origin-client.ts";
import { type CommonOptions, defaultUrlFrom, findOrigin } from "../../settings.ts";
import type { Cli } from "../../verb.ts";

export interface RosterAtHand {
  readonly roster?: Roster;
  /** Why there is none although an origin is known: a sentence for people. */
  readonly problem?: string;
}

export async function rosterAtHand(cli: Cli, options: CommonOptions): Promise<RosterAtHand> {
  try {
    const place = await findOrigin(options, cli.environment);
    if (place.urlFrom === defaultUrlFrom) return {};
    const client = createOriginClient(place);
    try {
      return { roster: await readRoster(client) };
    } finally {
      await client.close();
    }
  } catch (error) {
    if (error instanceof CommandFailure) return { problem: error.message };
    // A configuration file of this machine, unrelated to the document, is invalid.
    if (error instanceof ConfigError) return { problem: error.message.split("\n", 1)[0] ?? "" };
    throw error;
  }
}
