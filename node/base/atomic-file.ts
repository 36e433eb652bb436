/** Small files that must be complete after a crash: written to a temporary file, then renamed. */
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Replaces the file's content. After `kill -9` it is the old or the new, whole. With `durable` it also survives a
 * power failure, for the price of two waits for the disk. Two writers of one path must take turns: they share the
 * file beside it.
 */
export async function writeAtomic(
  path: string,
  content: string | Uint8Array,
  options: { mode?: number; durable?: boolean } = {},
): Promise<void> {
  const temporary = `${path}.new`;
  // One that a killed process left behind may have another mode, which opening would keep.
  await rm(temporary, { force: true });
  try {
    await using file = await open(temporary, "w", options.mode ?? 0o644);
    await file.writeFile(content);
    if (options.durable === true) await file.sync();
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first failure is reported
    throw error;
  }
  await rename(temporary, path);
  if (options.durable !== true) return;
  // The name is in the directory, which is a file of its own.
  await using directory = await open(dirname(path), "r");
  await directory.sync();
}

/**
 * The JSON value in the file; undefined when there is no file.
 * @throws SyntaxError when it holds no JSON; its message may quote the content
 */
export async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as unknown;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
