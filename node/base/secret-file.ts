/**
 * Reads files that only their owner may read. A file that others can read is rejected, because the secret may have
 * leaked.
 *
 * Only a plain file, or a link to one, is read: a named pipe would block the reader, a device such as /dev/zero never
 * ends. A dangling link is rejected, too. It does not mean that the file was deleted: usually the volume is not
 * mounted.
 */
import type { Stats } from "node:fs";
import { readFile, readlink, stat } from "node:fs/promises";
import { NearcastError } from "#base/errors.ts";
import { codeReason } from "#base/system-reason.ts";

export const secretFileMode = 0o600;

/** Describes a secret file, for messages about it. */
export interface SecretFile {
  /** Its content: `fleet secret`. */
  readonly what: string;
  /** The program whose user must be able to read it: `origin`. */
  readonly reader: string;
  /** The consequence, or an alternative, if others could read it. Continues the sentence "run `chmod 600 …`". */
  readonly whenLeaked: string;
  /** Whether its group may read it: keys often belong to root, and to the group of the programs that use them. */
  readonly mayGroupRead?: boolean;
  /** What to do if it can't be read. A separate sentence. */
  readonly whenUnreadable: string;
}

/** A secret of the origin, which creates a new one if there is none. */
export function originSecret(what: string): SecretFile {
  return {
    what,
    reader: "origin",
    whenLeaked: ", or delete it, and the origin makes a new one",
    whenUnreadable: "Restore it from a backup, or delete it, and the origin makes a new one",
  };
}

/**
 * The file's text, or undefined if there is no file.
 * @throws NearcastError INTERNAL if it is not a plain file or can't be read, if group or others have any permission on
 *   it (the group may be allowed to read it), or if it is a dangling symbolic link
 */
export async function readSecretFile(file: string, about: SecretFile): Promise<string | undefined> {
  const stats = await statsOf(file, about);
  if (stats === undefined) return undefined;
  const mode = stats.mode & 0o777;
  if ((mode & (about.mayGroupRead === true ? 0o037 : 0o077)) !== 0) {
    throw new NearcastError(
      "INTERNAL",
      `${file} has mode 0${mode.toString(8)}, so others can read the ${about.what}: ` +
        `run \`chmod 600 ${file}\`${about.whenLeaked}`,
    );
  }
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw unreadable(file, about, error);
  }
}

/** The stats of a plain file; undefined if there is none. */
async function statsOf(file: string, about: SecretFile): Promise<Stats | undefined> {
  let stats: Stats;
  try {
    stats = await stat(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw unreadable(file, about, error);
    const target = await readlink(file).catch(() => undefined);
    if (target === undefined) return undefined;
    throw new NearcastError(
      "INTERNAL",
      `${file} is a symbolic link to ${target}, which does not exist: if it is on a volume, mount the volume. ` +
        about.whenUnreadable,
    );
  }
  if (stats.isFile()) return stats;
  throw new NearcastError(
    "INTERNAL",
    `${file} must be a plain file with the ${about.what}, but it is ${kindOf(stats)}. ${about.whenUnreadable}`,
  );
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "a folder";
  if (stats.isFIFO()) return "a named pipe";
  if (stats.isSocket()) return "a socket";
  return "a device";
}

function unreadable(file: string, about: SecretFile, error: unknown): NearcastError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  const advice = ["EACCES", "EPERM"].includes(code) ? `: ${whoMayRead(about)}` : `. ${about.whenUnreadable}`;
  const message = `can't read the ${about.what} in ${file} (${codeReason(code)})${advice}`;
  return new NearcastError("INTERNAL", message, { cause: error });
}

function whoMayRead({ reader, mayGroupRead }: SecretFile): string {
  const group = mayGroupRead === true ? ", or be in its group, and the file have mode 0640" : "";
  return `the user that runs the ${reader} must own the file${group}; it also needs access to its directories`;
}
