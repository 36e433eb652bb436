/**
 * `nearcast purge`: have every edge drop what it cached, by name, URL, prefix, host or tag. Replaced, deleted and
 * rolled-back pictures need none: the origin purges those by itself.
 */
import { canonicalName, type Fleet } from "#fleet/document.ts";
import { parseFleet } from "#fleet/read-document.ts";
import type { Command } from "commander";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import type { OriginClient } from "./origin-client.ts";
import { purge, type PurgeOrder, readFleet } from "./origin-api.ts";
import type { CommonOptions } from "./settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "./verb.ts";

interface PurgeOptions extends CommonOptions {
  prefix?: string;
  host?: string[];
  tag?: string[];
  all?: boolean;
  soft?: boolean;
}

export function addPurge(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "purge [names...]",
    summary: "have every edge drop what it cached of these",
    more: [
      "A picture is dropped in all its sizes. A URL means the picture, or the file of an assets host, that it shows.",
      "Pictures that are replaced, deleted or rolled back are purged without this.",
    ].join("\n"),
    examples: ["purge shop/chair.jpg", "purge http://img.cdn.test/shop/chair.jpg?w=300", "purge --prefix shop/ --soft"],
  });
  const several = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
  withOrigin(verb)
    .option("--prefix <prefix>", "all pictures whose names begin so")
    .option("--host <name>", "everything of a host; may be given several times", several)
    .option("--tag <tag>", "everything with this Cache-Tag; may be given several times", several)
    .option("--all", "everything")
    .option("--soft", "mark as stale: served while it is revalidated, instead of dropped")
    .action(async (words: string[], options: PurgeOptions) => {
      const output = outputOf(cli, options);
      const { prefix, host, tag, all, soft } = options;
      if ([prefix, host, tag, all].every((selector) => selector === undefined) && words.length === 0) {
        throw new CommandFailure(
          exitCodes.usage,
          "nothing was named: give a name, a URL, --prefix, --host, --tag or --all",
        );
      }
      const { order, seq } = await withClient(cli, options, async (client) => {
        const { names, tags } = await selectorsOf(words, client);
        const allTags = [...(tag ?? []), ...tags];
        const wanted: PurgeOrder = {
          ...(names.length === 0 ? {} : { names }),
          ...(prefix === undefined ? {} : { prefix }),
          ...(host === undefined ? {} : { hosts: host }),
          ...(allTags.length === 0 ? {} : { tags: allTags }),
          ...(all === true ? { all } : {}),
          soft: soft === true,
        };
        return { order: wanted, seq: (await purge(client, wanted)).seq };
      });
      output.answer({ seq, ...order }, () => [
        `purged${soft === true ? " (soft)" : ""}: event ${seq} of the feed, connected edges follow within a second`,
      ]);
      cli.end(exitCodes.ok);
    });
}

/** Names as they are; URLs by the fleet document, which says what kind of host shows them. */
async function selectorsOf(
  words: readonly string[],
  client: OriginClient,
): Promise<{ names: string[]; tags: string[] }> {
  const names: string[] = [];
  const tags: string[] = [];
  let fleet: Fleet | undefined;
  for (const word of words) {
    if (!/^https?:\/\//i.test(word)) {
      names.push(word);
      continue;
    }
    fleet ??= await currentFleet(client);
    const selector = selectorOfUrl(word, fleet);
    if ("name" in selector) names.push(selector.name);
    else tags.push(selector.tag);
  }
  return { names, tags };
}

async function currentFleet(client: OriginClient): Promise<Fleet> {
  const newest = await readFleet(client);
  const parsed = newest === undefined ? undefined : parseFleet(newest.text);
  if (parsed?.ok === true) return parsed.value;
  throw new CommandFailure(
    exitCodes.failed,
    "URLs can't be purged: the origin has no fleet document that this command knows",
  );
}

/** The picture that a URL of an image host shows, or the tag that an assets host's edges give to that URL. */
export function selectorOfUrl(text: string, fleet: Fleet): { name: string } | { tag: string } {
  const url = URL.parse(text);
  if (url === null) throw new CommandFailure(exitCodes.usage, `"${text}" is not a URL`);
  const isAddress = /^[\d.]+$|^\[/.test(url.hostname);
  const host = isAddress
    ? fleet.hosts.find(({ kind }) => kind === "images")
    : fleet.hosts.find(({ name }) => canonicalName(name) === canonicalName(url.hostname));
  if (host === undefined) {
    throw new CommandFailure(exitCodes.usage, `${url.hostname} is not a host of this fleet`, {
      lines: [`It serves: ${fleet.hosts.map(({ name }) => name).join(", ")}`],
    });
  }
  if (host.kind === "assets") return { tag: `url:${canonicalName(host.name)}${url.pathname}` };
  try {
    return { name: host.sourcePrefix + decodeURIComponent(url.pathname.slice(1)) };
  } catch {
    throw new CommandFailure(exitCodes.usage, `"${text}" has a percent sign that encodes no character`);
  }
}
