/** Files that only their owner may read. One that others can read is refused: then nobody knows who has the secret. */
import { readFile, stat } from "node:fs/promises";
import { NearcastError } from "#base/errors.ts";

export const secretFileMode = 0o600;

/**
 * The file's text, or undefined when there is no file.
 * @param what is in it, for the message
 * @param otherWay what else may be done than to change the mode, for the message
 * @throws NearcastError INTERNAL when group or others have any right on it
 */
export async function readSecretFile(
  file: string,
  what: string,
  otherWay = ", or delete it to have a new one made",
): Promise<string | undefined> {
  let mode: number;
  try {
    mode = (await stat(file)).mode & 0o777;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unreadable(file, what, error);
  }
  if ((mode & 0o077) === 0) {
    try {
      return await readFile(file, "utf8");
    } catch (error) {
      throw unreadable(file, what, error);
    }
  }
  throw new NearcastError(
    "INTERNAL",
    `${file} has mode 0${mode.toString(8)}, so others can read the ${what}: run \`chmod 600 ${file}\`${otherWay}`,
  );
}

function unreadable(file: string, what: string, error: unknown): NearcastError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  return new NearcastError(
    "INTERNAL",
    `${file} with the ${what} can't be read (${code}): it must be a file of the user that runs the origin. ` +
      "Put it back from a backup, or delete it to have a new one made",
    { cause: error },
  );
}
