/**
 * The file operations of the disk tier. All of its I/O goes through this interface, so tests can make each operation
 * fail or hang.
 *
 * It uses callbacks instead of FileHandle, whose promises cost a hit more than the read itself.
 */
import {
  constants,
  close as closeFile,
  fdatasync,
  fstat,
  open as openFile,
  read as readFile,
  readdir,
  rename as renameFile,
  rm,
  mkdir,
  unlink as unlinkFile,
  writev,
} from "node:fs";
import { syncDirectory } from "#base/atomic-file.ts";
import { openReadNow, type ReadNow } from "./read-now.ts";

export interface Files {
  /** "read" fails if there is no file; "write" creates one, without truncating an existing one. */
  open: (path: string, mode: "read" | "write") => Promise<number>;
  /** Undefined: some bytes are not in the page cache, or this system has no such call. Never waits for a disk. */
  readNow: (descriptor: number, position: number, lengthBytes: number) => Buffer | undefined;
  /** Like readNow(), without a copy: the bytes are valid until the next call of either function. */
  viewNow: (descriptor: number, position: number, lengthBytes: number) => Uint8Array | undefined;
  /** Fewer bytes than requested: the file ends there. */
  read: (descriptor: number, position: number, lengthBytes: number) => Promise<Buffer>;
  /** Fills `target`. Resolves to the number of bytes that were read; fewer: the file ends there. */
  readInto: (descriptor: number, position: number, target: Buffer) => Promise<number>;
  /** Writes all of the buffers, one after the other. */
  write: (descriptor: number, position: number, buffers: readonly Buffer[]) => Promise<void>;
  sizeOf: (descriptor: number) => Promise<number>;
  /** Resolves when everything written to the file survives a power failure, if its name does. */
  sync: (descriptor: number) => Promise<void>;
  /** Resolves when the current names in a directory survive a power failure. */
  syncDirectory: (directory: string) => Promise<void>;
  /**
   * Resolves when it is closed, or at once while an operation that was given up still uses it: then it is closed later.
   * Never rejects: there is nothing that a caller could do.
   */
  close: (descriptor: number) => Promise<void>;
  rename: (from: string, to: string) => Promise<void>;
  /** A missing file counts as removed. */
  unlink: (path: string) => Promise<void>;
  list: (directory: string) => Promise<string[]>;
  makeDirectory: (path: string) => Promise<void>;
  removeTree: (path: string) => Promise<void>;
}

const openForWriting = constants.O_RDWR | constants.O_CREAT;
/** Files of the cache are for this user alone. */
const fileMode = 0o600;
/** writev() takes at most 1,024 buffers (IOV_MAX). */
const buffersMax = 1024;

/**
 * Operations in progress on a descriptor. If a descriptor is closed meanwhile, because one of them was given up, it
 * closes only when they end: after that, its number may belong to another file.
 */
interface Busy {
  readonly operations: Map<number, number>;
  readonly closing: Set<number>;
}

export function realFiles(): Files {
  const viewNow: ReadNow = openReadNow() ?? (() => undefined);
  const busy: Busy = { operations: new Map(), closing: new Set() };
  return {
    readNow(...where) {
      const view = viewNow(...where);
      if (view === undefined) return undefined;
      // Memory of its own: a slice of Node's pool would keep the whole pool for as long as the cache keeps the object.
      const copy = Buffer.allocUnsafeSlow(view.length);
      copy.set(view);
      return copy;
    },
    viewNow,
    open: (path, mode) =>
      settled((done) => {
        openFile(path, mode === "read" ? "r" : openForWriting, fileMode, done);
      }),
    read: async (descriptor, position, lengthBytes) => {
      const bytes = Buffer.allocUnsafeSlow(lengthBytes);
      return bytes.subarray(0, await during(busy, descriptor, readAll(descriptor, position, bytes)));
    },
    readInto: (descriptor, position, target) => during(busy, descriptor, readAll(descriptor, position, target)),
    write: (descriptor, position, buffers) => during(busy, descriptor, writeAll(descriptor, position, buffers)),
    sizeOf: async (descriptor) => {
      const { size } = await settled<{ size: number }>((done) => {
        fstat(descriptor, done);
      });
      return size;
    },
    sync: (descriptor) =>
      during(
        busy,
        descriptor,
        settled((done) => {
          fdatasync(descriptor, (error) => {
            done(error, undefined);
          });
        }),
      ),
    syncDirectory,
    async close(descriptor) {
      if (busy.operations.has(descriptor)) {
        busy.closing.add(descriptor);
        return;
      }
      await settled<void>((done) => {
        closeFile(descriptor, () => {
          done(null, undefined);
        });
      });
    },
    rename: (from, to) =>
      settled((done) => {
        renameFile(from, to, (error) => {
          done(error, undefined);
        });
      }),
    unlink: (path) =>
      settled((done) => {
        unlinkFile(path, (error) => {
          done(error?.code === "ENOENT" ? null : error, undefined);
        });
      }),
    list: (directory) =>
      settled((done) => {
        readdir(directory, done);
      }),
    makeDirectory: (path) =>
      settled((done) => {
        mkdir(path, { recursive: true }, (error) => {
          done(error, undefined);
        });
      }),
    removeTree: (path) =>
      settled((done) => {
        rm(path, { recursive: true, force: true }, (error) => {
          done(error, undefined);
        });
      }),
  };
}

async function during<Result>(busy: Busy, descriptor: number, operation: Promise<Result>): Promise<Result> {
  const { operations, closing } = busy;
  operations.set(descriptor, (operations.get(descriptor) ?? 0) + 1);
  try {
    return await operation;
  } finally {
    const left = (operations.get(descriptor) ?? 1) - 1;
    if (left > 0) {
      operations.set(descriptor, left);
    } else {
      operations.delete(descriptor);
      if (closing.delete(descriptor)) closeFile(descriptor, () => undefined);
    }
  }
}

type Done<Value> = (error: NodeJS.ErrnoException | null, value: Value) => void;

function settled<Value>(begin: (done: Done<Value>) => void): Promise<Value> {
  return new Promise((resolve, reject) => {
    begin((error, value) => {
      if (error === null) resolve(value);
      else reject(error);
    });
  });
}

async function readAll(descriptor: number, position: number, bytes: Buffer): Promise<number> {
  let at = 0;
  while (at < bytes.length) {
    const from = at;
    const count = await settled<number>((done) => {
      readFile(descriptor, bytes, from, bytes.length - from, position + from, done);
    });
    if (count === 0) break;
    at += count;
  }
  return at;
}

async function writeAll(descriptor: number, position: number, buffers: readonly Buffer[]): Promise<void> {
  let left = buffers.filter((buffer) => buffer.length > 0);
  let at = position;
  while (left.length > 0) {
    const next = left.slice(0, buffersMax);
    const written = await settled<number>((done) => {
      writev(descriptor, next, at, done);
    });
    at += written;
    left = [...withoutFirst(next, written), ...left.slice(buffersMax)];
  }
}

function withoutFirst(buffers: readonly Buffer[], bytes: number): Buffer[] {
  let gone = bytes;
  return buffers.flatMap((buffer) => {
    const part = Math.min(gone, buffer.length);
    gone -= part;
    return part === buffer.length ? [] : [buffer.subarray(part)];
  });
}
