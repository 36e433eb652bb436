/**
 * Blobs as files of one directory:
 *
 *   incoming/<random>.part     bytes being received; files found here at the start were never acknowledged
 *   blobs/ab/abcdef…           a blob, by the first byte and the whole of its SHA-256
 *
 * A blob is written to incoming/, synced, renamed to its place (in the same file system, so the rename is atomic) and
 * the directory entry is synced. So after any power failure, a file under blobs/ has all its bytes.
 */
import { createHash, randomBytes } from "node:crypto";
import { access, mkdir, open, opendir, readFile, readdir, rename, unlink, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { NearcastError } from "#base/errors.ts";
import { systemReason } from "#base/system-reason.ts";
import {
  shardCount,
  type BlobStore,
  type IncomingBlob,
  type OpenBlob,
  type ReceivedBlob,
  type Verdict,
} from "./blob-store.ts";
import { type Hashed, hashFile } from "./hash-file.ts";

const keyPattern = /^[0-9a-f]{64}$/;
/** Bytes per read for a client: large enough for few calls, small enough for many clients. */
const readChunkBytes = 256 * 1024;

export async function openDirectoryStore(directory: string): Promise<BlobStore> {
  const incomingDir = join(directory, "incoming");
  const blobsDir = join(directory, "blobs");
  await mkdir(incomingDir, { recursive: true });
  await mkdir(blobsDir, { recursive: true });
  for (let shard = 0; shard < shardCount; shard += 1)
    await mkdir(join(blobsDir, shardName(shard)), { recursive: true });
  await syncDirectory(blobsDir);
  await syncDirectory(directory);
  for (const left of await readdir(incomingDir)) await unlink(join(incomingDir, left));

  const shardDirOf = (sha256: string): string => join(blobsDir, sha256.slice(0, 2));
  const pathOf = (sha256: string): string => {
    if (!keyPattern.test(sha256)) throw new NearcastError("INTERNAL", "a blob's key is not a SHA-256");
    return join(shardDirOf(sha256), sha256);
  };

  return {
    begin: async () =>
      await beginFile(join(incomingDir, `${randomBytes(12).toString("hex")}.part`), pathOf, shardDirOf),
    has: async (sha256) => await isThere(pathOf(sha256)),
    open: async (sha256, sizeBytes) => await openFile(pathOf(sha256), sizeBytes),
    verify: async (sha256, sizeBytes, signal) => await verifyFile(pathOf(sha256), { sha256, sizeBytes }, signal),
    async *keys(shard) {
      for await (const entry of await opendir(join(blobsDir, shardName(shard)))) {
        if (keyPattern.test(entry.name)) yield entry.name;
      }
    },
    remove: async (sha256) => {
      await unlink(pathOf(sha256)).catch(ignoreMissing);
    },
  };
}

async function beginFile(
  path: string,
  pathOf: (sha256: string) => string,
  shardDirOf: (sha256: string) => string,
): Promise<IncomingBlob> {
  const hash = createHash("sha256");
  let handle: FileHandle | undefined = await disk(open(path, "wx"));
  let sizeBytes = 0;
  let received: ReceivedBlob | undefined;
  let isCommitted = false;

  const closeHandle = async (): Promise<void> => {
    const opened = handle;
    handle = undefined;
    await opened?.close();
  };

  return {
    write: async (chunk) => {
      if (handle === undefined) throw new NearcastError("INTERNAL", "bytes came after the end of a blob");
      hash.update(chunk);
      sizeBytes += chunk.byteLength;
      await disk(writeWhole(handle, chunk));
    },
    finish: async () => {
      if (handle === undefined) throw new NearcastError("INTERNAL", "a blob was finished twice");
      await disk(handle.sync());
      await disk(closeHandle());
      received = { sha256: hash.digest("hex"), sizeBytes };
      return received;
    },
    read: async () => await disk(readFile(path)),
    commit: async () => {
      if (received === undefined) throw new NearcastError("INTERNAL", "a blob was committed before its end");
      const target = pathOf(received.sha256);
      const { outcome } = await verifyFile(target, received);
      await disk(outcome === "good" ? unlink(path) : rename(path, target));
      isCommitted = true;
      // Even if the blob existed: another upload of the same bytes may not have synced its entry yet.
      await disk(syncDirectory(shardDirOf(received.sha256)));
      return { before: outcome === "missing" ? "none" : outcome };
    },
    discard: async () => {
      await closeHandle().catch(() => undefined); // The file is deleted anyway, so a failing close does not matter.
      if (!isCommitted) await unlink(path).catch(ignoreMissing);
      isCommitted = true;
    },
  };
}

/** `write` may write fewer bytes than it was given. */
async function writeWhole(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength;) {
    const { bytesWritten } = await handle.write(chunk, offset);
    offset += bytesWritten;
  }
}

async function openFile(path: string, sizeBytes: number): Promise<OpenBlob | undefined> {
  const handle = await disk(open(path, "r")).catch((error: unknown) => {
    if (isMissing(error instanceof NearcastError ? error.cause : error)) return undefined;
    throw error;
  });
  if (handle === undefined) return undefined;
  const found = (await handle.stat()).size;
  if (found !== sizeBytes) {
    await handle.close();
    throw new NearcastError("DISK_FAILED", `${path} should have ${sizeBytes} bytes (got ${found})`);
  }
  return {
    stream: (start, wanted) =>
      handle.createReadStream({ start, end: start + wanted - 1, highWaterMark: readChunkBytes, autoClose: true }),
    close: async () => {
      await handle.close();
    },
  };
}

async function verifyFile(path: string, wanted: ReceivedBlob, signal?: AbortSignal): Promise<Verdict> {
  let found: Hashed | undefined;
  try {
    found = await hashFile(path, signal);
  } catch (error) {
    signal?.throwIfAborted();
    return { outcome: "damaged", detail: `it can't be read (${systemReason(error)})` };
  }
  if (found === undefined) return { outcome: "missing" };
  if (found.sizeBytes !== wanted.sizeBytes) {
    return { outcome: "damaged", detail: `it should have ${wanted.sizeBytes} bytes (got ${found.sizeBytes})` };
  }
  if (found.sha256 !== wanted.sha256) return { outcome: "damaged", detail: "its hash differs" };
  return { outcome: "good" };
}

function shardName(shard: number): string {
  return shard.toString(16).padStart(2, "0");
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    (error: unknown) => {
      if (isMissing(error)) return false;
      throw error;
    },
  );
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === "ENOENT";
}

function ignoreMissing(error: unknown): void {
  if (!isMissing(error)) throw error;
}

/** A full or failing disk has its own error code. */
async function disk<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    throw new NearcastError("DISK_FAILED", error instanceof Error ? error.message : String(error), { cause: error });
  }
}
