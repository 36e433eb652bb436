/** Small files that must be complete after a crash: written to a temporary file, then renamed. */
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Replaces the file's content. After `kill -9` the file has either the old or the new content, complete. With `durable`
 * it also survives a power failure, at the cost of two disk syncs. Callers must not write the same path concurrently,
 * since they share the temporary file.
 */
export async function writeAtomic(
  path: string,
  content: string | Uint8Array,
  options: { mode?: number; durable?: boolean } = {},
): Promise<void> {
  const temporary = `${path}.new`;
  // A temporary file left by a killed process may have another mode, which opening would keep.
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
  await syncDirectory(dirname(path));
}

/** Makes the names of new files survive a power failure: they are stored in the directory, which has its own sync. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}

/**
 * The JSON value in the file; undefined if there is no file.
 * @throws SyntaxError if it is not JSON; the message may quote the content
 */
export async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as unknown;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
