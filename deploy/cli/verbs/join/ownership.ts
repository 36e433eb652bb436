/** The owner of the files that `join` writes. */
import { chown, stat } from "node:fs/promises";

/**
 * Gives new files in `folder` to the folder's owner. Root runs `join`, but the edge that reads these files runs as
 * another user. Only root can change the owner; other users' files stay their own.
 */
export async function giveToOwnerOf(folder: string, paths: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(folder);
  for (const path of paths) await chown(path, uid, gid);
}
