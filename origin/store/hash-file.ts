/** Hashes a file in chunks. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

const pieceBytes = 1024 * 1024;

export interface Hashed {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/**
 * Undefined when the file does not exist.
 * @throws the system's error when it can't be read, or the signal's reason
 */
export async function hashFile(path: string, signal?: AbortSignal): Promise<Hashed | undefined> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  try {
    for await (const piece of createReadStream(path, { highWaterMark: pieceBytes, signal })) {
      hash.update(piece as Buffer);
      sizeBytes += (piece as Buffer).length;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  return { sha256: hash.digest("hex"), sizeBytes };
}
