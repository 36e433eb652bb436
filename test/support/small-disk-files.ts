/**
 * Files of a disk tier in memory, on a disk with a capacity. As on a real one, a file takes whole blocks until it is
 * removed and its last descriptor is closed, which takes a moment; a write that finds too little space fails.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Files } from "../../node/cache/disk/files.ts";
import { memoryFiles } from "./memory-files.ts";

const blockBytes = 4096;

interface Inode {
  blocks: number;
  opens: number;
  isLinked: boolean;
}

export interface SmallDiskFiles extends Files {
  setCapacity: (bytes: number) => void;
  /** From now on, something else takes all space that is free or gets free. */
  takeAllSpace: () => void;
  /** Bytes that the files take, in whole blocks. */
  used: () => number;
  /** Writes that failed because the disk was full. */
  failedWrites: () => number;
}

/** @param code of the error of a full disk */
export function smallDiskFiles(capacityBytes: number, code: "ENOSPC" | "EDQUOT" = "ENOSPC"): SmallDiskFiles {
  const memory = memoryFiles();
  const byPath = new Map<string, Inode>();
  const byDescriptor = new Map<number, Inode>();
  let capacity = capacityBytes;
  let isTaken = false;
  let [usedBlocks, failedWrites] = [0, 0];

  function freeIfUnused(inode: Inode): void {
    if (inode.isLinked || inode.opens > 0) return;
    usedBlocks -= inode.blocks;
    if (isTaken) capacity = usedBlocks * blockBytes;
    inode.blocks = 0;
  }

  function removeName(path: string): void {
    const inode = byPath.get(path);
    if (inode === undefined) return;
    byPath.delete(path);
    inode.isLinked = false;
    freeIfUnused(inode);
  }

  return {
    ...memory,
    open: async (path, mode) => {
      const descriptor = await memory.open(path, mode);
      const inode = byPath.get(path) ?? { blocks: 0, opens: 0, isLinked: true };
      inode.opens += 1;
      byPath.set(path, inode);
      byDescriptor.set(descriptor, inode);
      return descriptor;
    },
    write: async (descriptor, position, buffers) => {
      const inode = byDescriptor.get(descriptor);
      if (inode === undefined) throw new Error(`descriptor ${descriptor} is not open`);
      const end = buffers.reduce((sum, { length }) => sum + length, position);
      const more = Math.max(0, Math.ceil(end / blockBytes) - inode.blocks);
      if ((usedBlocks + more) * blockBytes > capacity) {
        failedWrites += 1;
        throw Object.assign(new Error(`${code}: write`), { code });
      }
      usedBlocks += more;
      inode.blocks += more;
      await memory.write(descriptor, position, buffers);
    },
    close: async (descriptor) => {
      await nextTurn();
      await memory.close(descriptor);
      const inode = byDescriptor.get(descriptor);
      byDescriptor.delete(descriptor);
      if (inode === undefined) return;
      inode.opens -= 1;
      freeIfUnused(inode);
    },
    rename: async (from, to) => {
      await memory.rename(from, to);
      removeName(to);
      const inode = byPath.get(from);
      byPath.delete(from);
      if (inode !== undefined) byPath.set(to, inode);
    },
    unlink: async (path) => {
      await memory.unlink(path);
      removeName(path);
    },
    removeTree: async (path) => {
      await memory.removeTree(path);
      for (const name of Array.from(byPath.keys())) if (name.startsWith(`${path}/`)) removeName(name);
    },
    setCapacity(bytes) {
      capacity = bytes;
      isTaken = false;
    },
    takeAllSpace() {
      capacity = usedBlocks * blockBytes;
      isTaken = true;
    },
    used: () => usedBlocks * blockBytes,
    failedWrites: () => failedWrites,
  };
}
