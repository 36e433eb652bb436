/**
 * Files of a disk tier in memory, on a disk that loses power.
 *
 * What fails to survive, as POSIX allows: of each file, any page of 4 KiB that was written since the file's last sync,
 * in any combination, and any part of what made it longer; of each directory, the latest changes of its names since its
 * last sync (file systems with a journal keep their order).
 */
import { dirname } from "node:path";
import type { Random } from "#base/random.ts";
import type { Files } from "../../node/cache/disk/files.ts";

const pageBytes = 4096;

interface Inode {
  written: Buffer;
  synced: Buffer;
}

type Names = Map<string, Inode>;
/** A change of the names of one directory, to be made in the names that survive. */
type Change = (names: Names) => void;

/** What was written, what is safe, and the changes between the names of both, by directory. */
interface Disk {
  readonly written: Names;
  readonly synced: Names;
  readonly changes: Map<string, Change[]>;
}

export interface PowerFailureFiles extends Files {
  /** The same disk for the next process. This one's operations fail from now on. */
  afterKill: () => PowerFailureFiles;
  /** The disk as it is found after a power failure at this moment. */
  afterPowerFailure: (random: Random) => PowerFailureFiles;
}

export function powerFailureFiles(): PowerFailureFiles {
  return filesOn({ written: new Map(), synced: new Map(), changes: new Map() });
}

function filesOn(disk: Disk): PowerFailureFiles {
  const { written, synced, changes } = disk;
  let isKilled = false;
  const open: (Inode | undefined)[] = [];

  function alive(): void {
    if (isKilled) throw new Error("the process was killed");
  }

  function at(descriptor: number): Inode {
    alive();
    const inode = open[descriptor];
    if (inode === undefined) throw new Error(`descriptor ${descriptor} is not open`);
    return inode;
  }

  function change(path: string, make: Change): void {
    alive();
    make(written);
    const directory = dirname(path);
    changes.set(directory, [...(changes.get(directory) ?? []), make]);
  }

  function remove(path: string): void {
    if (written.has(path)) change(path, (those) => those.delete(path));
  }

  const copyOf = (descriptor: number, position: number, lengthBytes: number): Buffer =>
    Buffer.from(at(descriptor).written.subarray(position, position + lengthBytes));
  return {
    open: async (path, mode) => {
      const present = written.get(path);
      if (present !== undefined) return open.push(present) - 1;
      if (mode === "read") throw Object.assign(new Error(path), { code: "ENOENT" });
      const inode = { written: Buffer.alloc(0), synced: Buffer.alloc(0) };
      change(path, (those) => those.set(path, inode));
      return open.push(inode) - 1;
    },
    readNow: () => undefined,
    viewNow: () => undefined,
    read: async (...where) => copyOf(...where),
    readInto: async (descriptor, position, target) => copyOf(descriptor, position, target.length).copy(target),
    write: async (descriptor, position, buffers) => {
      const inode = at(descriptor);
      const bytes = Buffer.concat(buffers);
      const longer = Buffer.alloc(Math.max(inode.written.length, position + bytes.length));
      inode.written.copy(longer);
      bytes.copy(longer, position);
      inode.written = longer;
    },
    sync: async (descriptor) => {
      const inode = at(descriptor);
      inode.synced = inode.written;
    },
    syncDirectory: async (directory) => {
      alive();
      for (const make of changes.get(directory) ?? []) make(synced);
      changes.delete(directory);
    },
    sizeOf: async (descriptor) => at(descriptor).written.length,
    close: async (descriptor) => {
      open[descriptor] = undefined;
    },
    rename: async (from, to) => {
      const inode = written.get(from);
      if (inode === undefined) throw Object.assign(new Error(from), { code: "ENOENT" });
      change(to, (those) => {
        those.delete(from);
        those.set(to, inode);
      });
    },
    unlink: async (path) => {
      remove(path);
    },
    list: async (directory) =>
      [...written.keys()].filter((path) => dirname(path) === directory).map((path) => path.slice(directory.length + 1)),
    makeDirectory: async () => undefined,
    removeTree: async (path) => {
      for (const name of Array.from(written.keys())) if (name === path || name.startsWith(`${path}/`)) remove(name);
    },
    afterKill() {
      isKilled = true;
      return filesOn(disk);
    },
    afterPowerFailure(random) {
      const left: Names = new Map(synced);
      for (const made of changes.values()) {
        // Names are often safe: a sync of one file makes many file systems write down all of them.
        const kept = random() < 0.7 ? made.length : Math.floor(random() * (made.length + 1));
        for (const make of made.slice(0, kept)) make(left);
      }
      const found = [...left].map(([path, inode]): [string, Inode] => [path, afterFailure(inode, random)]);
      return filesOn({ written: new Map(found), synced: new Map(found), changes: new Map() });
    },
  };
}

function afterFailure({ written, synced }: Inode, random: Random): Inode {
  // Of many files, all is lost or nothing.
  const lostShare = [0, 0, 1, random()][Math.floor(random() * 4)] ?? 0;
  const growth = Math.ceil((written.length - synced.length) / pageBytes);
  const grown = Math.ceil((1 - lostShare * random()) * growth) * pageBytes;
  const found = Buffer.alloc(Math.min(written.length, synced.length + (lostShare === 1 ? 0 : grown)));
  for (let from = 0; from < found.length; from += pageBytes) {
    const page = (random() < lostShare ? synced : written).subarray(from, Math.min(found.length, from + pageBytes));
    found.set(page, from);
  }
  return { written: found, synced: found };
}
