/** The message about a version of the fleet document that does not exist. */
import { command } from "#base/command-name.ts";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import { readFleetVersions } from "../../origin-answers.ts";
import type { OriginClient } from "../../origin-client.ts";
import { versionsText } from "../../missing-picture.ts";

/** How many of the newest versions are read for the message; the origin's maximum. */
const versionsMax = 1000;

export async function noSuchRelease(client: OriginClient, version: number): Promise<CommandFailure> {
  const there = (await readFleetVersions(client, versionsMax)).map((one) => one.version);
  return there.length === 0
    ? new CommandFailure(exitCodes.refused, "no fleet document has been published yet", {
        code: "NOT_FOUND",
        lines: [`Publish one: ${command} fleet apply FILE`],
      })
    : new CommandFailure(
        exitCodes.refused,
        `the fleet document has no version ${version}; it has ${versionsText(there)}`,
        { code: "NOT_FOUND", lines: [`\`${command} fleet releases\` shows what each changed.`] },
      );
}
