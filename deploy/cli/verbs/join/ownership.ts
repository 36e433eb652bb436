/** Who owns what `join` writes. */
import { chown, stat } from "node:fs/promises";

/**
 * Gives what was just made in `folder` to the folder's owner. Root types `join`, but the edge that reads these files
 * runs as a user of its own. Nobody but root can give files away; anybody else's stay their own.
 */
export async function giveToOwnerOf(folder: string, paths: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(folder);
  for (const path of paths) await chown(path, uid, gid);
}
