/** Notices that a file was changed, by a stat instead of a reading. */
import { readlink, stat } from "node:fs/promises";

/**
 * Differs from an earlier mark when the file was written or replaced since; undefined: there is no file. A symbolic
 * link that leads nowhere has a mark of its own, so that its deletion is noticed as well.
 * @throws the system's error when it can't be looked at
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
