/** Detects changes of a file with stat(), without reading it. */
import { readlink, stat } from "node:fs/promises";

/**
 * Differs from an earlier mark if the file was written or replaced since. Undefined: there is no file. A dangling
 * symbolic link has its own mark, so that its deletion is noticed as well.
 * @throws the system's error if stat() fails
 */
export async function markOf(file: string): Promise<string | undefined> {
  try {
    const { ino, mtimeNs, ctimeNs, size } = await stat(file, { bigint: true });
    return `${ino} ${mtimeNs} ${ctimeNs} ${size}`;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const target = await readlink(file).catch(() => undefined);
    return target === undefined ? undefined : `link to ${target}`;
  }
}
