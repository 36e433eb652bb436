/** The message of every verb that takes a picture's name, for a picture that the origin does not have. */
import { command } from "#base/command-name.ts";
import { nearest } from "#base/did-you-mean.ts";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { readVersions, someNames } from "./origin-answers.ts";
import type { OriginClient } from "./origin-client.ts";

/** How many names are compared: one page of the origin's listing. */
const namesMax = 1000;
/** How many versions a message lists. */
const listedMax = 10;

/** Does the work; if the origin has no such picture, the failure suggests the picture that was probably meant. */
export async function withPicture<Result>(
  client: OriginClient,
  name: string,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw isMissing(error) ? await noSuchPicture(client, name) : error;
  }
}

/** The same for work with one version: if only the version is missing, the failure lists the existing ones. */
export async function withPictureVersion<Result>(
  client: OriginClient,
  name: string,
  version: number,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!isMissing(error)) throw error;
    const { versions } = await withPicture(client, name, async () => await readVersions(client, name));
    const kept = versions.map((one) => one.version);
    throw new CommandFailure(exitCodes.refused, `"${name}" has no version ${version}; it has ${versionsText(kept)}`, {
      code: "NOT_FOUND",
      lines: [`\`${command} versions ${name}\` describes each version.`],
    });
  }
}

/** `1, 2, 3`, or `3 to 41`; the input may be in any order. */
export function versionsText(versions: readonly number[]): string {
  const sorted = versions.toSorted((one, other) => one - other);
  const [first, last] = [sorted[0], sorted.at(-1)];
  if (first === undefined || last === undefined) return "none";
  if (sorted.length <= listedMax) return sorted.join(", ");
  const isWhole = last - first === sorted.length - 1;
  return isWhole ? `${first} to ${last}` : `${sorted.length} between ${first} and ${last}`;
}

function isMissing(error: unknown): boolean {
  return error instanceof CommandFailure && error.code === "NOT_FOUND";
}

async function noSuchPicture(client: OriginClient, name: string): Promise<CommandFailure> {
  const folder = name.slice(0, name.lastIndexOf("/") + 1);
  const alike =
    nearest(name, await someNames(client, folder, namesMax)) ?? nearest(name, await someNames(client, "", namesMax));
  const hint = alike === undefined ? "" : `; did you mean "${alike}"?`;
  return new CommandFailure(exitCodes.refused, `no picture named "${name}"${hint}`, {
    code: "NOT_FOUND",
    lines: [`\`${command} ls\` lists all pictures.`],
  });
}
