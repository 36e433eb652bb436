/** Small files that must be whole after a crash: written beside, then renamed over. */
import { open, readFile, rename } from "node:fs/promises";

/**
 * Replaces the file's content. After `kill -9` it is the old or the new, whole. With `durable` it also survives a
 * power failure, for the price of two waits for the disk.
 */
export async function writeAtomic(
  path: string,
  content: string | Uint8Array,
  options: { mode?: number; durable?: boolean } = {},
): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, "w", options.mode ?? 0o644);
  try {
    await file.writeFile(content);
    if (options.durable === true) await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

/** The JSON value in the file; undefined when there is no file or it holds no JSON. */
export async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
