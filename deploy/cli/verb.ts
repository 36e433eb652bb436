/**
 * What all verbs share: their descriptions, their options and their environment.
 * Each verb is a file in verbs/ that exports `add…(program, cli)`; program.ts lists them.
 */
import type { Clock } from "#base/clock.ts";
import { command } from "#base/command-name.ts";
import { nearest } from "#base/did-you-mean.ts";
import { type Command, InvalidArgumentError, Option } from "commander";
import { exitCodesHelp, type ExitCode } from "./exit-codes.ts";
import { createOriginClient, type OriginClient } from "./origin-client.ts";
import { createOutput, type Output, type TextStream } from "./output.ts";
import { type CommonOptions, defaultDataDir, type Environment, findOrigin } from "./settings.ts";

/** The environment of the command, passed in once by main.ts. */
export interface Cli {
  readonly environment: Environment;
  readonly clock: Clock;
  readonly stdin: NodeJS.ReadableStream & { isTTY?: boolean };
  readonly stdout: TextStream;
  readonly stderr: NodeJS.WritableStream & TextStream;
  /** Sets the exit status; every verb calls it last. */
  readonly end: (code: ExitCode) => void;
  /** Ends the process at once, even if something still runs in it. */
  readonly exit: (code: ExitCode) => never;
}

export interface VerbText {
  /** Usage in commander's notation: `put <files...>`. */
  usage: string;
  summary: string;
  /** Text of `--help` below the options: whole sentences. */
  more?: string;
  /** Command lines without the leading `nearcast`. */
  examples: readonly string[];
}

/** Adds a verb with `--json`, its examples and the exit codes. */
export function addVerb(program: Command, text: VerbText): Command {
  const [example = ""] = text.examples;
  const verb = program.command(text.usage).summary(text.summary).description(sentenceOf(text.summary));
  verb.showHelpAfterError(`(example: ${command} ${example}; run with --help for details)`);
  verb.addHelpText(
    "after",
    [...(text.more === undefined ? [] : ["", text.more]), "", ...examplesHelp(text.examples), "", exitCodesHelp].join(
      "\n",
    ),
  );
  return verb.option("--json", "print one JSON value instead of text");
}

/** The one-line summary as the first sentence of a help page. */
function sentenceOf(summary: string): string {
  return `${summary.slice(0, 1).toUpperCase()}${summary.slice(1)}.`;
}

/** @param examples command lines without the leading `nearcast` */
export function examplesHelp(examples: readonly string[]): string[] {
  return [examples.length === 1 ? "Example:" : "Examples:", ...examples.map((line) => `  ${command} ${line}`)];
}

/** Adds a verb under its old spelling, which still works but appears in no help. @param now what to type instead */
export function addOldSpelling(program: Command, verb: Command, cli: Cli, now: string): void {
  verb.copyInheritedSettings(program).description(`Old spelling of \`${command} ${now}\`.`);
  verb.hook("preAction", () => noteOldSpelling(cli, verb.name(), now));
  program.addCommand(verb, { hidden: true });
}

export function noteOldSpelling(cli: Cli, old: string, now: string): void {
  outputOf(cli, {}).note(`note: \`${command} ${old}\` is now \`${command} ${now}\`; the old spelling still works`);
}

/** The options that say where the origin is. */
export function withOrigin(verb: Command): Command {
  return withDataDir(verb)
    .option(
      "--origin <url>",
      `base URL of the origin (or NEARCAST_ORIGIN; default: the origin configured in the data directory)`,
    )
    .option(
      "--token-file <file>",
      "file that holds the writer token (or NEARCAST_TOKEN_FILE; default: that of the origin in the data directory)",
    );
}

export function withDataDir(verb: Command): Command {
  return verb.option(
    "--data <dir>",
    `data directory of \`${command} up\` (or NEARCAST_DATA; default: ${defaultDataDir})`,
  );
}

/** The options that locate the data of this machine's origin. */
export function withOriginFolder(verb: Command): Command {
  return verb
    .option(
      "--config <file>",
      "configuration file of the origin (default: origin.yaml in --data, else /etc/nearcast/origin.yaml)",
    )
    .option("--data <dir>", `data directory of the origin or of \`${command} up\` (or NEARCAST_DATA)`);
}

/** The options that select nodes: by their listeners, or by names that the origin knows, not both. */
export function withNodes(verb: Command): Command {
  return verb
    .addOption(
      new Option(
        "--admin <url>",
        "admin URL of a node; repeatable (default: the nodes on this machine; without one, the origin asks)",
      )
        .argParser((url: string, before: string[] | undefined) => [...(before ?? []), checkedUrl(url)])
        .conflicts(["node", "site"]),
    )
    .option("--node <name>", "ask this node; repeatable", several)
    .option("--site <name>", "ask the nodes of this site; repeatable", several);
}

/** Collects an option that may be given several times. */
export function several(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

function checkedUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol === "http:" || url?.protocol === "https:") return text;
  throw new InvalidArgumentError("It must start with http:// or https://.");
}

/** Parses a whole number in a range, for options and arguments. */
export function wholeNumber(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (number >= minimum && number <= maximum) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${minimum} to ${maximum}.`);
  };
}

/** Parses one of several allowed values, for options and arguments. @param words at least one */
export function oneOf(words: readonly string[]): (text: string) => string {
  return (text) => {
    if (words.includes(text)) return text;
    const meant = nearest(text, words);
    const allowed = [words.slice(0, -1).join(", "), words.at(-1)].filter((part) => part !== "").join(" or ");
    throw new InvalidArgumentError(`It must be ${allowed}${meant === undefined ? "." : `; did you mean ${meant}?`}`);
  };
}

export function outputOf(cli: Cli, options: { json?: boolean }): Output {
  return createOutput(cli.stdout, cli.stderr, options.json === true);
}

/** Runs the work with a client of the origin, then closes the client. */
export async function withClient<Result>(
  cli: Cli,
  options: CommonOptions,
  work: (client: OriginClient) => Promise<Result>,
): Promise<Result> {
  const client = createOriginClient(await findOrigin(options, cli.environment));
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
