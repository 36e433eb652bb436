/**
 * `nearcast put`: stores pictures: one under a name, or many below a path.
 *
 *   put chair.jpg                    chair.jpg
 *   put chair.jpg shop/stool.jpg     shop/stool.jpg        one file: PATH is its name, or its folder if it ends in /
 *   put a.jpg photos/ shop           shop/a.jpg, shop/…    several, or a folder: PATH is put before each name
 *
 * The last argument is PATH if no such file or folder exists here; `--to PATH` is unambiguous. If it exists and looks
 * like a destination, the verb refuses and says how to write either. Bytes are streamed, four uploads at a time; an
 * interrupted upload starts again from the beginning, which is harmless, as storing is atomic.
 */
import { sleep } from "#base/clock.ts";
import { counted } from "#base/counted.ts";
import { MultiBar, Presets } from "cli-progress";
import type { Command } from "commander";
import { CommandFailure, type ExitCode, exitCodes } from "../exit-codes.ts";
import type { OriginClient } from "../origin-client.ts";
import { putImage, type StoredImage } from "../origin-answers.ts";
import { type Output, sizeText } from "../output.ts";
import { printable } from "../printable.ts";
import { findUploads, type Skipped, type Upload } from "./put/put-files.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "../verb.ts";

/** The origin decodes two pictures at a time: four uploads keep it and the line busy, more would only wait there. */
const uploadsMax = 4;
/** How many skipped files are listed on a terminal. */
const skippedToldMax = 50;
/** Delays before retries; a restarting origin is back by then. */
const retryDelaysMs = [500, 1500, 4000, 8000];

interface PutOptions extends CommonOptions {
  to?: string;
}

type PutResult = { file: string; name: string } & (
  { ok: true; image: StoredImage } | { ok: false; failure: CommandFailure }
);

export function addPut(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "put <FILE...>",
    summary: "store pictures at the origin",
    more: [
      "PATH is the name at the origin: the new name of a single file, or the prefix of several. The last argument is",
      "PATH unless it names a local file or directory. If it names one and could be PATH, nothing is stored: write",
      "--to PATH for the name, or ./PATH for the local file. So `put a.jpg b.jpg` stores two local files under their",
      "own names, and `put summer/a.jpg ./winter/b.jpg` stores two files from different directories.",
      "Directories are searched for .jpg, .jpeg, .png, .webp, .gif and .avif files.",
      "Storing under an existing name makes a new version.",
    ].join("\n"),
    examples: ["put chair.jpg", "put chair.jpg --to shop/stool.jpg", "put *.jpg photos --to shop/2026"],
  }).usage("[options] <FILE...> [PATH]");
  withOrigin(verb)
    .option("--to <path>", "name or prefix at the origin; all arguments are then local files and directories")
    .action(async (words: string[], options: PutOptions) => {
      const output = outputOf(cli, options);
      const { uploads, skipped } = await findUploads(words, options.to);
      if (uploads.length === 0) {
        const lines = skippedLines(skipped);
        throw new CommandFailure(exitCodes.usage, `found no pictures in ${words.join(", ")}`, { lines });
      }
      const results = await withClient(cli, options, async (client) => await putAll(cli, client, uploads, output));
      output.answer(jsonOf(results, skipped), () => summaryOf(results, skipped));
      cli.end(endOf(results));
    });
}

async function putAll(
  cli: Cli,
  client: OriginClient,
  uploads: readonly Upload[],
  output: Output,
): Promise<PutResult[]> {
  const progress = openProgress(uploads, output);
  const outage = openOutage(progress.note);
  const waiting = [...uploads];
  const results: PutResult[] = [];
  const worker = async (): Promise<void> => {
    for (let upload = waiting.shift(); upload !== undefined; upload = waiting.shift()) {
      const result = await putOne(cli, client, upload, progress, outage);
      results.push(result);
      progress.done(result);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(uploadsMax, uploads.length) }, worker));
  } finally {
    progress.close();
  }
  const { givenUp } = outage;
  if (givenUp !== undefined && results.some(({ ok }) => ok)) {
    output.note(`${givenUp.message}; the remaining files were not tried`);
  }
  const order = new Map(uploads.map(({ name }, index) => [name, index]));
  return results.toSorted((a, b) => (order.get(a.name) ?? 0) - (order.get(b.name) ?? 0));
}

/**
 * An unreachable origin is one problem, however many files wait for it: it is reported once, and after all retries of
 * one file have failed, the others are not tried.
 */
interface Outage {
  /** Why no further upload is tried; undefined: continue. */
  readonly givenUp: CommandFailure | undefined;
  /** An upload could not reach the origin. */
  failed: (failure: CommandFailure) => void;
  /** An upload has used all its retries and could not reach the origin. */
  giveUp: (failure: CommandFailure) => void;
  reached: () => void;
}

function openOutage(note: (line: string) => void): Outage {
  const totalMs = retryDelaysMs.reduce((sum, delayMs) => sum + delayMs, 0);
  let isOut = false;
  let givenUp: CommandFailure | undefined;
  return {
    get givenUp() {
      return givenUp;
    },
    failed(failure) {
      if (!isOut) note(`${failure.message}; retrying for ${totalMs / 1000} s`);
      isOut = true;
    },
    giveUp(failure) {
      if (isOut) givenUp ??= failure;
    },
    reached() {
      isOut = false;
    },
  };
}

async function putOne(
  cli: Cli,
  client: OriginClient,
  upload: Upload,
  progress: Progress,
  outage: Outage,
): Promise<PutResult> {
  const { file, name, sizeBytes } = upload;
  for (let attempt = 0; ; attempt += 1) {
    if (outage.givenUp !== undefined) return { file, name, ok: false, failure: outage.givenUp };
    let sentBytes = 0;
    try {
      const onBytes = (count: number): void => {
        sentBytes += count;
        progress.sent(count);
      };
      const image = await putImage(client, name, { file, sizeBytes, onBytes });
      outage.reached();
      return { file, name, ok: true, image };
    } catch (error) {
      progress.sent(-sentBytes);
      const failure =
        error instanceof CommandFailure
          ? error
          : new CommandFailure(exitCodes.failed, error instanceof Error ? error.message : String(error));
      const delayMs = retryDelaysMs[attempt];
      const isUnreachable = failure.exitCode === exitCodes.unreachable;
      const mayHelp = isUnreachable || failure.code === "OVERLOADED";
      // Whatever else it answered, the origin is reachable.
      if (!isUnreachable) outage.reached();
      if (isUnreachable && delayMs === undefined) outage.giveUp(failure);
      if (!mayHelp || delayMs === undefined) return { file, name, ok: false, failure };
      if (isUnreachable) outage.failed(failure);
      else progress.note(`${name}: ${failure.message}; retrying in ${delayMs / 1000} s`);
      // The clock's timers do not keep the process alive; a command that waits must.
      const stay = setInterval(() => {}, 1000);
      await sleep(cli.clock, delayMs);
      clearInterval(stay);
    }
  }
}

/** Reported once for all files (openOutage), and by endOf() if nothing was stored. */
function isUnreached(result: PutResult): boolean {
  return !result.ok && result.failure.exitCode === exitCodes.unreachable;
}

interface Progress {
  sent: (count: number) => void;
  note: (line: string) => void;
  done: (result: PutResult) => void;
  close: () => void;
}

/** One bar for all files on a terminal, with the failures below it; elsewhere one line per picture. */
function openProgress(uploads: readonly Upload[], output: Output): Progress {
  const lineOf = (result: PutResult): string =>
    result.ok ? storedLine(result.image) : `${result.name}: ${result.failure.message}`;
  if (!output.isInteractive || output.isJson) {
    const isQuiet = output.isJson || uploads.length === 1;
    return {
      sent: () => {},
      note: output.note,
      done: (result) => {
        if (isUnreached(result)) return;
        if (!isQuiet || (!output.isJson && !result.ok)) output.note(lineOf(result));
      },
      close: () => {},
    };
  }
  const totalBytes = uploads.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const bars = new MultiBar(
    {
      format: "{bar} {percentage}% | {sent} of {all} | {finished} of {files} files | {eta_formatted} left",
      hideCursor: true,
      clearOnComplete: true,
    },
    Presets.shades_classic,
  );
  let sentBytes = 0;
  let finished = 0;
  const failures: string[] = [];
  const payload = (): Record<string, unknown> => ({
    sent: sizeText(sentBytes),
    all: sizeText(totalBytes),
    finished,
    files: uploads.length,
  });
  const bar = bars.create(totalBytes, 0, payload());
  return {
    sent(count) {
      sentBytes += count;
      bar.update(sentBytes, payload());
    },
    note(line) {
      bars.log(`${printable(line)}\n`);
    },
    done(result) {
      finished += 1;
      if (!result.ok && !isUnreached(result)) failures.push(lineOf(result));
      bar.update(sentBytes, payload());
    },
    close: () => {
      bars.stop();
      // Printed only now: the bar is erased when it ends, and lines printed before may be, too.
      for (const failure of failures) output.note(failure);
    },
  };
}

function storedLine(image: StoredImage): string {
  const { name, version, width, height, type, sizeBytes, unchanged, repaired } = image;
  const facts = `${type}, ${width}×${height}, ${sizeText(sizeBytes)}`;
  if (repaired === true) return `${name}: repaired at the origin, version ${version} (${facts})`;
  return unchanged ? `${name}: unchanged, version ${version} (${facts})` : `${name}: version ${version} (${facts})`;
}

function summaryOf(results: readonly PutResult[], skipped: readonly Skipped[]): string[] {
  const stored = results.filter((result) => result.ok);
  const failed = results.length - stored.length;
  const [only] = stored;
  if (results.length === 1) return [...(only === undefined ? [] : [storedLine(only.image)]), ...skippedLines(skipped)];
  const written = stored.filter(({ image }) => !image.unchanged || image.repaired === true);
  const unchanged = stored.length - written.length;
  const bytes = written.reduce((sum, { image }) => sum + image.sizeBytes, 0);
  return [
    [
      `${written.length} stored (${sizeText(bytes)})`,
      ...(unchanged === 0 ? [] : [`${unchanged} unchanged`]),
      ...(failed === 0 ? [] : [`${failed} failed`]),
    ].join(", "),
    ...skippedLines(skipped),
  ];
}

function skippedLines(skipped: readonly Skipped[]): string[] {
  if (skipped.length === 0) return [];
  const named = skipped.slice(0, skippedToldMax).map(({ file, reason }) => `  ${file}: ${reason}`);
  const left = skipped.length - named.length;
  return [
    `${counted(skipped.length, "file")} skipped:`,
    ...named,
    ...(left === 0 ? [] : [`  and ${left} more (--json lists all)`]),
  ];
}

function jsonOf(results: readonly PutResult[], skipped: readonly Skipped[]): unknown {
  return {
    stored: results.flatMap((result) => (result.ok ? [{ file: result.file, ...result.image }] : [])),
    failed: results.flatMap((result) => {
      if (result.ok) return [];
      const { file, name, failure } = result;
      return [{ file, name, code: failure.code, message: failure.message }];
    }),
    skipped,
  };
}

/** 0 if all are stored; otherwise the failures' common code, or 1. Adds advice if the origin is unreachable. */
function endOf(results: readonly PutResult[]): ExitCode {
  const failures = results.flatMap((result) => (result.ok ? [] : [result.failure]));
  const [first] = failures;
  if (first === undefined) return exitCodes.ok;
  if (failures.length === results.length && first.exitCode === exitCodes.unreachable) throw first;
  return failures.every(({ exitCode }) => exitCode === first.exitCode) ? first.exitCode : exitCodes.failed;
}
