/** `nearcast verify`: makes the origin read every stored picture again, and lists damaged or missing ones. */
import { command } from "#base/command-name.ts";
import { counted } from "#base/counted.ts";
import { type Command, InvalidArgumentError } from "commander";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { type BlobFault, verifyStep } from "../origin-answers.ts";
import { openByteProgress } from "../origin-data-directory.ts";
import { sizeText } from "../output.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "../verb.ts";

interface VerifyOptions extends CommonOptions {
  after?: string;
}

interface Verified {
  checked: { count: number; sizeBytes: number };
  faults: BlobFault[];
  /** Where to continue; undefined: everything is checked. */
  cursor: string | undefined;
}

export function addVerify(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "verify",
    summary: "check every stored picture at the origin and list the damaged ones",
    more: [
      "The origin reads each stored picture and compares it with its SHA-256, at limits.verifyBytesPerSecond. Ctrl-C",
      "stops the check and prints how to resume it. To repair a damaged or missing picture, store the same bytes again",
      `with \`${command} put\`. Exit status 1: pictures are damaged or missing, or the check was stopped.`,
    ].join("\n"),
    examples: ["verify", "verify --json"],
  });
  withOrigin(verb)
    .option("--after <sha256>", "resume after this picture, as printed by a `verify` that was stopped", readHash)
    .action(async (options: VerifyOptions) => {
      const output = outputOf(cli, options);
      const progress = openByteProgress(output);
      const verified: Verified = { checked: { count: 0, sizeBytes: 0 }, faults: [], cursor: options.after };
      const stopped = new AbortController();
      const stop = (): void => {
        stopped.abort();
      };
      process.once("SIGINT", stop);
      try {
        await withClient(cli, options, async (client) => {
          let totalBytes = 0;
          do {
            const step = await verifyStep(client, verified.cursor, totalBytes === 0);
            totalBytes = step.totals?.sizeBytes ?? totalBytes;
            verified.checked.count += step.checked.count;
            verified.checked.sizeBytes += step.checked.sizeBytes;
            verified.faults.push(...step.faults);
            verified.cursor = step.cursor;
            progress.show({ phase: "verifying", doneBytes: verified.checked.sizeBytes, totalBytes });
          } while (verified.cursor !== undefined && !stopped.signal.aborted);
        });
      } catch (error) {
        throw withWayOn(error, verified);
      } finally {
        process.off("SIGINT", stop);
        progress.close();
      }
      output.answer(verified, () => linesOf(verified));
      cli.end(verified.faults.length === 0 && verified.cursor === undefined ? exitCodes.ok : exitCodes.failed);
    });
}

function readHash(text: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new InvalidArgumentError("It must be a SHA-256: 64 hexadecimal digits in lower case.");
}

/** Adds the results so far to the failure, and the command that continues from there. */
function withWayOn(error: unknown, verified: Verified): unknown {
  const { checked, cursor } = verified;
  if (!(error instanceof CommandFailure) || checked.count === 0 || cursor === undefined) return error;
  return new CommandFailure(error.exitCode, error.message, {
    ...(error.code === undefined ? {} : { code: error.code }),
    cause: error,
    lines: [...error.lines, "Result so far:", ...linesOf(verified)],
  });
}

function linesOf({ checked, faults, cursor }: Verified): string[] {
  const amount = `${counted(checked.count, "stored picture")} (${sizeText(checked.sizeBytes)})`;
  return [
    faults.length === 0
      ? `checked ${amount}: all are intact`
      : `checked ${amount}: ${faults.length} damaged or missing`,
    ...faults.flatMap(({ sha256, fault, detail, uses }) => [
      `  ${fault}: ${sha256}: ${detail}`,
      ...uses.map(({ name, version, isCurrent }) => `    ${name}, version ${version}${isCurrent ? " (current)" : ""}`),
    ]),
    ...(faults.length === 0
      ? []
      : [`Next: \`${command} put\` the same files again (or restore a backup), then run \`${command} verify\`.`]),
    ...(cursor === undefined ? [] : [`Stopped before the end. To resume: ${command} verify --after ${cursor}`]),
  ];
}
