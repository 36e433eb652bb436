/**
 * Publishes a fleet version, for `fleet apply` and `fleet rollback`: the origin says what would change, a person
 * confirms, and exactly the reviewed document is published.
 *
 *   review (dry run) ─▶ dangers? refused, unless --force ─▶ confirmed? ─▶ publish, if the newest version is unchanged
 *
 * The origin judges the document again when it publishes, so skipping these steps gains nothing.
 */
import { command } from "#base/command-name.ts";
import { changeText } from "#review/diff.ts";
import type { Command } from "commander";
import { confirm, isAtTerminal } from "../../confirm.ts";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import {
  type FleetReview,
  type NextFleet,
  publishFleet,
  type PublishedFleet,
  reviewFleet,
} from "../../origin-answers.ts";
import type { OriginClient } from "../../origin-client.ts";
import type { CommonOptions } from "../../settings.ts";
import { type Cli, outputOf, wholeNumber } from "../../verb.ts";

export interface PublishingOptions extends CommonOptions {
  yes?: boolean;
  dryRun?: boolean;
  force?: boolean;
  ifVersion?: number;
}

export function withPublishing(verb: Command): Command {
  return verb
    .option("--dry-run", "show what would change and what would be refused; publish nothing")
    .option("--yes", "publish without asking for confirmation")
    .option("--force", "publish even if it takes down zones, sites or hosts in use")
    .option(
      "--if-version <number>",
      "publish only if this is the newest version (0: none yet)",
      wholeNumber(0, Number.MAX_SAFE_INTEGER),
    );
}

export type Outcome =
  | { readonly outcome: "reviewed"; readonly review: FleetReview }
  | { readonly outcome: "unchanged"; readonly review: FleetReview }
  | { readonly outcome: "published"; readonly review: FleetReview; readonly published: PublishedFleet };

/**
 * @param mayGoUnasked whether this change may be published without confirmation if nobody can be asked
 * @throws CommandFailure when it is refused, not confirmed, or overtaken by another publication
 */
export async function publishReviewed(
  cli: Cli,
  options: PublishingOptions,
  client: OriginClient,
  next: NextFleet,
  mayGoUnasked: (review: FleetReview) => boolean,
): Promise<Outcome> {
  const { ifVersion, force = false } = options;
  const review = await reviewFleet(client, next, ifVersion);
  if (options.dryRun === true) return { outcome: "reviewed", review };
  if (review.unchanged) return { outcome: "unchanged", review };
  const output = outputOf(cli, options);
  if (review.version !== undefined) for (const line of changeLines(review)) output.note(line);
  if (review.dangerCount > 0) {
    if (!force) throw refused(review);
    for (const line of dangerLines(review.dangers, review.dangerCount)) output.note(line);
  }
  await mustBeAgreed(cli, options, review, mayGoUnasked);
  try {
    const published = await publishFleet(client, next, { force, ifVersion: review.version ?? 0 });
    return { outcome: "published", review, published };
  } catch (error) {
    if (!(error instanceof CommandFailure && ["PRECONDITION_FAILED", "CONFLICT"].includes(error.code ?? "")))
      throw error;
    throw new CommandFailure(
      exitCodes.refused,
      "someone else has published a version in the meantime; yours was not published",
      {
        code: error.code ?? "CONFLICT",
        lines: ["Run the command again to see what it changes now."],
      },
    );
  }
}

/** A first version takes nothing away, so it needs no confirmation. */
async function mustBeAgreed(
  cli: Cli,
  options: PublishingOptions,
  review: FleetReview,
  mayGoUnasked: (review: FleetReview) => boolean,
): Promise<void> {
  if (options.yes === true || review.version === undefined) return;
  if (isAtTerminal(cli)) {
    if (await confirm(cli, `Publish this as the version after ${review.version}?`)) return;
    throw new CommandFailure(exitCodes.failed, "nothing was published");
  }
  if (mayGoUnasked(review)) return;
  throw new CommandFailure(
    exitCodes.usage,
    "nothing was published: this changes or removes something, and there is no terminal to ask for confirmation",
    { lines: ["Use --yes to publish it anyway, or --dry-run to only look at the changes."] },
  );
}

function refused(review: FleetReview): CommandFailure {
  return new CommandFailure(
    exitCodes.refused,
    review.dangers.every(({ kind }) => kind === "word")
      ? "refused: live nodes would not understand this document; nothing was published"
      : "refused: this would take down zones, sites or hosts in use; nothing was published",
    {
      code: "DANGEROUS_FLEET",
      lines: [...dangersOf(review.dangers, review.dangerCount), "If you want that, use --force."],
    },
  );
}

function changeLines({ version, changes, changeCount }: FleetReview): string[] {
  const against = version === undefined ? "as the first version" : `against version ${version}`;
  if (changeCount === 0) return [`${against}, only the text differs`];
  const more = changeCount - changes.length;
  return [
    `${against} (+ added, - removed, ~ changed):`,
    ...changes.map((change) => `  ${changeText(change)}`),
    ...(more > 0 ? [`  and ${more} more changes`] : []),
    ...keptLines(changes),
  ];
}

/** Edges know a stored asset by host and target, not by its origin. */
function keptLines(changes: FleetReview["changes"]): string[] {
  return changes
    .filter(({ kind, what, detail }) => kind === "changed" && what === "host" && /(?:^|; )origin \S+ →/.test(detail))
    .map(
      ({ name }) =>
        `note: edges keep the files that they stored from the previous origin of ${name}; ` +
        `to drop them, run this after publishing: ${command} purge --host ${name}`,
    );
}

/** What clients would lose, as every verb prints it. @param dangerCount the total, if `dangers` is only a part */
export function dangerLines(dangers: readonly Danger[], dangerCount = dangers.length): string[] {
  return dangersOf(dangers, dangerCount).map((line) => `danger: ${line}`);
}

type Danger = FleetReview["dangers"][number];

function dangersOf(dangers: readonly Danger[], dangerCount: number): string[] {
  const more = dangerCount - dangers.length;
  return [...dangers.map(({ message }) => message), ...(more > 0 ? [`and ${more} more`] : [])];
}

/** Ends `--dry-run` and `fleet diff`: status 4 if publishing would be refused. */
export function answerReview(cli: Cli, options: PublishingOptions, review: FleetReview, facts: object): void {
  outputOf(cli, options).answer({ ...facts, ...review }, () => [
    ...(review.unchanged ? [`version ${review.version ?? "?"} already has this text`] : changeLines(review)),
    ...dangerLines(review.dangers, review.dangerCount),
  ]);
  cli.end(review.dangerCount > 0 && options.force !== true ? exitCodes.refused : exitCodes.ok);
}
