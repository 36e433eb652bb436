/** Copies files piece by piece; a copy is whole under its name, or not there. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { fileMode, folderMode } from "./manifest.ts";

const pieceBytes = 1024 * 1024;

/**
 * Copies a file whose hash is known. Bytes with another hash never get the name.
 * @returns why nothing was copied: there is no such file, or it can't be read, or it holds other bytes
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
    // A bad sector, or a folder in its place: what can't be read is no reason to leave the rest without a copy.
    if (syscall === "read" || path === from) return "damaged";
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}
