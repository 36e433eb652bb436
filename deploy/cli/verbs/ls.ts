/** `nearcast ls`: lists the pictures at the origin, all or those whose names begin with a prefix. */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { exitCodes } from "../exit-codes.ts";
import { listImages, type ListedImage } from "../origin-answers.ts";
import { sizeText, tableLines, timeText } from "../output.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, outputOf, wholeNumber, withClient, withOrigin } from "../verb.ts";

export function addLs(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "ls [prefix]",
    summary: "list the pictures at the origin",
    examples: ["ls", "ls shop/2026/ --json"],
  });
  withOrigin(verb)
    .option("--limit <count>", "maximum number of pictures", wholeNumber(1, 1_000_000), 10_000)
    .action(async (prefix: string | undefined, options: CommonOptions & { limit: number }) => {
      const output = outputOf(cli, options);
      const images: ListedImage[] = [];
      let isCut = false;
      await withClient(cli, options, async (client) => {
        for await (const image of listImages(client, prefix ?? "")) {
          if (images.length === options.limit) {
            isCut = true;
            return;
          }
          images.push(image);
        }
      });
      output.answer({ images, isCut }, () =>
        images.length === 0
          ? [
              prefix === undefined
                ? `there are no pictures yet; store one with: ${command} put FILE`
                : `no name starts with "${prefix}"`,
            ]
          : tableLines(
              ["NAME", "VERSION", "TYPE", "PIXELS", "SIZE", "STORED", "BY"],
              images.map(({ name, version, type, width, height, sizeBytes, createdAt, author }) => [
                name,
                version,
                type,
                `${width}×${height}`,
                sizeText(sizeBytes),
                timeText(createdAt),
                author,
              ]),
            ),
      );
      if (isCut) output.note(`There are more than ${options.limit} pictures: raise --limit or use a longer prefix.`);
      cli.end(exitCodes.ok);
    });
}
