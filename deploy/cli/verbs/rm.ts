/** `nearcast rm`: deletes pictures. Their versions stay at the origin, so each can be restored. */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { CommandFailure, type ExitCode, exitCodes } from "../exit-codes.ts";
import { removeImage } from "../origin-answers.ts";
import { withPicture } from "../missing-picture.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "../verb.ts";

export function addRm(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "rm <names...>",
    summary: "delete pictures from the origin and from every edge",
    more: `The origin keeps the versions: \`${command} rollback NAME\` restores a deleted picture.`,
    examples: ["rm shop/chair.jpg"],
  });
  withOrigin(verb).action(async (names: string[], options: CommonOptions) => {
    const output = outputOf(cli, options);
    const removed: { name: string; version: number }[] = [];
    const failed: { name: string; message: string }[] = [];
    let code: ExitCode = exitCodes.ok;
    await withClient(cli, options, async (client) => {
      for (const name of names) {
        try {
          removed.push(await withPicture(client, name, async () => await removeImage(client, name)));
        } catch (error) {
          // Other pictures may still be deleted, but not if the origin is unreachable.
          if (!(error instanceof CommandFailure) || error.exitCode === exitCodes.unreachable) throw error;
          failed.push({ name, message: error.message });
          code = error.exitCode;
        }
      }
    });
    output.answer({ removed, failed }, () => removed.map(({ name }) => `deleted ${name}`));
    for (const { name, message } of failed) output.note(message.includes(name) ? message : `${name}: ${message}`);
    cli.end(code);
  });
}
