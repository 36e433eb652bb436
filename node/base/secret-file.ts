/** Files that only their owner may read. One that others can read is refused: then nobody knows who has the secret. */
import { readFile, stat } from "node:fs/promises";
import { NearcastError } from "#base/errors.ts";

export const secretFileMode = 0o600;

/** What a secret file is, for the messages about it. */
export interface SecretFile {
  /** What is in it: `fleet secret`. */
  readonly what: string;
  /** The program whose user must be able to read it: `origin`. */
  readonly reader: string;
  /** What follows, or what else can be done, when others could read it; goes on behind "run `chmod 600 …`". */
  readonly whenLeaked: string;
  /** What to do when it can't be read; a sentence of its own. */
  readonly whenUnreadable: string;
}

/** A secret of the origin, which makes a new one where there is none. */
export function originSecret(what: string): SecretFile {
  return {
    what,
    reader: "origin",
    whenLeaked: ", or delete it to have a new one made",
    whenUnreadable: "Put it back from a backup, or delete it to have a new one made",
  };
}

/**
 * The file's text, or undefined when there is no file.
 * @throws NearcastError INTERNAL when it can't be read, or when group or others have any right on it
 */
export async function readSecretFile(file: string, about: SecretFile): Promise<string | undefined> {
  let mode: number;
  try {
    mode = (await stat(file)).mode & 0o777;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unreadable(file, about, error);
  }
  if ((mode & 0o077) === 0) {
    try {
      return await readFile(file, "utf8");
    } catch (error) {
      throw unreadable(file, about, error);
    }
  }
  throw new NearcastError(
    "INTERNAL",
    `${file} has mode 0${mode.toString(8)}, so others can read the ${about.what}: ` +
      `run \`chmod 600 ${file}\`${about.whenLeaked}`,
  );
}

function unreadable(file: string, { what, reader, whenUnreadable }: SecretFile, error: unknown): NearcastError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  return new NearcastError(
    "INTERNAL",
    `${file} with the ${what} can't be read (${code}): it must be a file of the user that runs the ${reader}. ` +
      whenUnreadable,
    { cause: error },
  );
}
