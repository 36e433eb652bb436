/** Copies files in chunks; a copy is either complete under its name, or absent. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { fileMode, folderMode } from "./manifest.ts";

const pieceBytes = 1024 * 1024;

/**
 * Copies a file whose hash is known. Bytes with another hash never get its name.
 * @returns `missing` or `damaged` when nothing was copied: the file does not exist, can't be read, or has another hash
 */
export async function copyBlob(
  from: string,
  to: string,
  sha256: string,
  signal?: AbortSignal,
): Promise<"copied" | "missing" | "damaged"> {
  await mkdir(dirname(to), { recursive: true, mode: folderMode });
  const temporary = `${to}.${randomBytes(6).toString("hex")}.new`;
  try {
    const hash = createHash("sha256");
    {
      await using target = await open(temporary, "wx", fileMode);
      for await (const piece of createReadStream(from, { highWaterMark: pieceBytes, signal })) {
        hash.update(piece as Buffer);
        await target.writeFile(piece as Buffer);
      }
      await target.sync();
    }
    if (hash.digest("hex") !== sha256) return "damaged";
    await rename(temporary, to);
    return "copied";
  } catch (error) {
    const { code, path, syscall } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" && path === from) return "missing";
    // A bad sector, or a folder in its place: an unreadable file must not stop the rest of the backup.
    if (syscall === "read" || path === from) return "damaged";
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}
