/**
 * `nearcast purge`: makes every edge drop cached objects, by name, URL, prefix, host or tag, and reports what the edges
 * held. Replaced, deleted and rolled-back pictures don't need it: the origin purges those by itself.
 */
import { nearest } from "#base/did-you-mean.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import { urlTag } from "#purge/entry-tags.ts";
import { type PurgeKindName, purgeKindNames, purgeKinds } from "#purge/kinds.ts";
import { unheldSelectors } from "#purge/purge-report.ts";
import type { PurgeRequest, PurgeSelectors } from "#purge/purge-request.ts";
import { parseFleet } from "#document/read-document.ts";
import type { Command } from "commander";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import type { OriginClient } from "../origin-client.ts";
import { hasImage, purge, type PurgeState, readFleet, readPurge, someNames } from "../origin-answers.ts";
import { purgeLines, type Unheld, unheldLines } from "./purge/purge-view.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, outputOf, several, wholeNumber, withClient, withOrigin } from "../verb.ts";

/** The options of the purge kinds are added to these, each under its name. */
interface PurgeOptions extends CommonOptions {
  soft?: boolean;
  wait?: number | true;
  strict?: boolean;
}

/** Without --wait: healthy nodes report within some milliseconds. */
const shortWaitMs = 3000;
const waitSecondsDefault = 30;
/** The origin's maximum for one request. */
const requestWaitMs = 10_000;
/** How many selectors are searched for similar names: each may cost a request. */
const hintsMax = 5;
/** How many names are searched. */
const namesMax = 1000;

export function addPurge(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "purge [names...]",
    summary: "remove pictures and files from the caches of all edges",
    more: [
      "Purging a picture drops all its variants. A URL stands for the picture or the file that it shows. The counts",
      "are cache entries: variants, sources and files. Replaced, deleted and rolled-back pictures are purged",
      "automatically.",
    ].join("\n"),
    examples: [
      "purge shop/chair.jpg",
      "purge 'http://img.cdn.test/shop/chair.jpg?w=300'",
      "purge --prefix shop/ --soft",
    ],
  });
  withOrigin(verb);
  for (const { name, value, help, isRepeatable } of kindOptions) {
    const flags = value === undefined ? `--${name}` : `--${name} <${value}>`;
    if (isRepeatable) verb.option(flags, help, several);
    else verb.option(flags, help);
  }
  verb
    .option("--soft", "mark entries as stale instead of dropping them; they are served while they are revalidated")
    .option(
      "--wait [seconds]",
      `wait for every connected node, and print a line for each (default: ${waitSecondsDefault} s)`,
      wholeNumber(1, 600),
    )
    .option("--strict", "exit with status 1 if no node held anything for one of the names, hosts, tags or prefixes")
    .action(async (words: string[], options: PurgeOptions) => {
      const output = outputOf(cli, options);
      const { soft } = options;
      const given = givenByOption(options);
      if (Object.keys(given).length === 0 && words.length === 0) {
        const flags = kindOptions.map(({ name }) => `--${name}`);
        const choices = ["a name", "a URL", ...flags.slice(0, -1)].join(", ");
        throw new CommandFailure(exitCodes.usage, `nothing to purge: give ${choices} or ${flags.at(-1)}`);
      }
      const { order, seq, state, unheld } = await withClient(cli, options, async (client) => {
        const { names, tags, urls } = await selectorsOf(words, client);
        const allTags = [...(given.tags ?? []), ...tags];
        const wanted: PurgeRequest = {
          ...(names.length === 0 ? {} : { names }),
          ...given,
          ...(allTags.length === 0 ? {} : { tags: allTags }),
          soft: soft === true,
        };
        const { seq: event } = await purge(client, wanted);
        const found = await follow(client, event, cli, waitMsOf(options));
        const missed = found === undefined ? [] : await unheldOf(client, found, urls);
        return { order: wanted, seq: event, state: found, unheld: missed };
      });
      // Before the table, which may be longer than the screen.
      const isKnownOfAll = state?.anonymous === 0 && state.nodes.every((node) => node.state === "done");
      for (const line of unheldLines(unheld, isKnownOfAll)) output.note(line);
      output.answer({ seq, ...order, ...state }, () => [
        `purged${soft === true ? " (soft)" : ""}: event ${seq} of the feed`,
        ...(state === undefined
          ? ["connected edges purge within a second; this origin does not report what they held"]
          : purgeLines(state, options.wait !== undefined)),
      ]);
      const isLate = options.wait !== undefined && state?.isSettled === false;
      cli.end(isLate || (options.strict === true && unheld.length > 0) ? exitCodes.failed : exitCodes.ok);
    });
}

/** The kinds that have an option; names and URLs are arguments of the verb. */
const kindOptions = purgeKindNames.flatMap((kind) => {
  const { option, shape } = purgeKinds[kind];
  return option === undefined ? [] : [{ kind, isRepeatable: shape === "list", ...option }];
});

function givenByOption(options: PurgeOptions): PurgeSelectors {
  const values = options as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    kindOptions.flatMap(({ kind, name }) => (values[name] === undefined ? [] : [[kind, values[name]]])),
  );
}

function waitMsOf({ wait }: PurgeOptions): number {
  if (wait === undefined) return shortWaitMs;
  return (wait === true ? waitSecondsDefault : wait) * 1000;
}

/** The nodes' reports, as soon as all connected nodes have reported, or when the time is up. */
async function follow(client: OriginClient, seq: number, cli: Cli, waitMs: number): Promise<PurgeState | undefined> {
  const deadlineMs = cli.clock.monotonicMs() + waitMs;
  for (;;) {
    const leftMs = Math.max(0, Math.round(deadlineMs - cli.clock.monotonicMs()));
    const state = await readPurge(client, seq, Math.min(leftMs, requestWaitMs));
    if (state === undefined || state.isSettled || leftMs <= requestWaitMs) return state;
  }
}

async function unheldOf(
  client: OriginClient,
  { unheld }: PurgeState,
  urls: ReadonlyMap<string, NamedUrl>,
): Promise<Unheld[]> {
  const { names, hosts } = unheld;
  const isHostWanted = hosts.length > 0 || names.some((name) => name.includes("/"));
  const known = isHostWanted ? ((await readStoredFleet(client))?.hosts.map(({ name }) => name) ?? []) : [];
  const hints = new Map<string, string>();
  for (const name of names.slice(0, hintsMax)) {
    const hint = urlWithoutScheme(name, known) ?? (await hintOfName(client, name, urls.get(name)));
    if (hint !== undefined) hints.set(name, hint);
  }
  const hintOfHost = (host: string): string | undefined => {
    if (known.some((name) => canonicalName(name) === canonicalName(host))) return undefined;
    return guess(nearest(host, known), "the fleet has no such host");
  };
  const hintOf: Partial<Record<PurgeKindName, (selector: string) => string | undefined>> = {
    names: (name) => hints.get(name),
    hosts: hintOfHost,
    prefix: slashHint,
  };
  return unheldSelectors(unheld).map(({ kind, selector }) => ({
    what: `${purgeKinds[kind].noun} "${selector}"`,
    hint: hintOf[kind]?.(selector),
  }));
}

/** A name that begins with one of the fleet's hosts was probably meant as a URL. @param hosts of the fleet */
export function urlWithoutScheme(name: string, hosts: readonly string[]): string | undefined {
  const [first = ""] = name.split("/", 1);
  const isHost = hosts.some((host) => canonicalName(host) === canonicalName(first));
  return isHost ? `names of pictures do not start with a host; did you mean "http://${name}"?` : undefined;
}

/** Names of pictures never begin with a slash, but paths of URLs do. */
export function slashHint(prefix: string): string | undefined {
  if (!prefix.startsWith("/")) return undefined;
  return `names of pictures do not start with a slash; did you mean "${prefix.replace(/^\/+/, "")}"?`;
}

/** If the picture exists, it was just not cached; otherwise the name may contain a typo. */
async function hintOfName(client: OriginClient, name: string, url: NamedUrl | undefined): Promise<string | undefined> {
  if (await hasImage(client, name)) return "the origin has this picture; it was not cached";
  const doubled = url === undefined ? undefined : doubledPrefix(name, url);
  if (doubled !== undefined) return doubled;
  const alike = nearest(name, await someNames(client, name.slice(0, name.lastIndexOf("/") + 1), namesMax));
  return guess(alike, "the origin has no such picture");
}

function guess(alike: string | undefined, otherwise: string): string {
  return alike === undefined ? otherwise : `${otherwise}; did you mean "${alike}"?`;
}

/** The URL from which a name was derived, and the prefix that its host adds to paths. */
export interface NamedUrl {
  readonly url: string;
  readonly sourcePrefix: string;
}

/** Users who know the picture's name may write it into the URL, to which the host then adds its prefix again. */
export function doubledPrefix(name: string, { url, sourcePrefix }: NamedUrl): string | undefined {
  if (sourcePrefix === "" || !name.startsWith(sourcePrefix + sourcePrefix)) return undefined;
  const { origin, pathname, search } = new URL(url);
  const meant = `${origin}/${pathname.slice(1 + encodeURI(sourcePrefix).length)}${search}`;
  return (
    `the host adds its sourcePrefix "${sourcePrefix}" to each path, and the URL contains it again; ` +
    `did you mean ${meant}?`
  );
}

/** Names are used unchanged; for URLs, the fleet document says which kind of host serves them. */
async function selectorsOf(
  words: readonly string[],
  client: OriginClient,
): Promise<{ names: string[]; tags: string[]; urls: Map<string, NamedUrl> }> {
  const names: string[] = [];
  const tags: string[] = [];
  const urls = new Map<string, NamedUrl>();
  let fleet: Fleet | undefined;
  for (const word of words) {
    if (!/^https?:\/\//i.test(word)) {
      names.push(word);
      continue;
    }
    fleet ??= await currentFleet(client);
    const selector = selectorOfUrl(word, fleet);
    if ("name" in selector) {
      names.push(selector.name);
      urls.set(selector.name, { url: word, sourcePrefix: selector.sourcePrefix });
    } else tags.push(selector.tag);
  }
  return { names, tags, urls };
}

async function readStoredFleet(client: OriginClient): Promise<Fleet | undefined> {
  const newest = await readFleet(client);
  const parsed = newest === undefined ? undefined : parseFleet(newest.text);
  return parsed?.ok === true ? parsed.value : undefined;
}

async function currentFleet(client: OriginClient): Promise<Fleet> {
  const fleet = await readStoredFleet(client);
  if (fleet !== undefined) return fleet;
  throw new CommandFailure(
    exitCodes.failed,
    "a URL can't be purged: the origin has no fleet document, or one that this release can't read",
  );
}

/** The picture that a URL of an images host shows, or the tag that edges give to a URL of an assets host. */
export function selectorOfUrl(text: string, fleet: Fleet): { name: string; sourcePrefix: string } | { tag: string } {
  const url = URL.parse(text);
  if (url === null) throw new CommandFailure(exitCodes.usage, `"${text}" is not a URL`);
  const isAddress = /^[\d.]+$|^\[/.test(url.hostname);
  const host = isAddress
    ? fleet.hosts.find(({ kind }) => kind === "images")
    : fleet.hosts.find(({ name }) => canonicalName(name) === canonicalName(url.hostname));
  if (host === undefined) {
    throw new CommandFailure(exitCodes.usage, `${url.hostname} is not a host of this fleet`, {
      lines: [`Its hosts: ${fleet.hosts.map(({ name }) => name).join(", ")}`],
    });
  }
  if (host.kind === "assets") return { tag: urlTag(canonicalName(host.name), url.pathname) };
  try {
    const { sourcePrefix } = host;
    return { name: sourcePrefix + decodeURIComponent(url.pathname.slice(1)), sourcePrefix };
  } catch {
    throw new CommandFailure(
      exitCodes.usage,
      `"${text}" contains a percent sign that does not encode a UTF-8 character; write a literal percent sign as %25`,
    );
  }
}
