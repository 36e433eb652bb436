/** Files of a disk tier in memory: they never fail, and cost no time. */
import { dirname } from "node:path";
import type { Files } from "../../node/cache/disk/files.ts";

interface MemoryFile {
  bytes: Buffer;
}

export function memoryFiles(): Files {
  const files = new Map<string, MemoryFile>();
  const open: (MemoryFile | undefined)[] = [];
  const at = (descriptor: number): MemoryFile => {
    const file = open[descriptor];
    if (file === undefined) throw new Error(`descriptor ${descriptor} is not open`);
    return file;
  };
  const copyOf = (descriptor: number, position: number, lengthBytes: number): Buffer =>
    Buffer.from(at(descriptor).bytes.subarray(position, position + lengthBytes));
  const wholeOf: Files["readNow"] = (...where) => {
    const bytes = copyOf(...where);
    return bytes.length === where[2] ? bytes : undefined;
  };
  return {
    open: async (path, mode) => {
      const file = files.get(path) ?? { bytes: Buffer.alloc(0) };
      if (mode === "read" && !files.has(path)) throw Object.assign(new Error(path), { code: "ENOENT" });
      files.set(path, file);
      return open.push(file) - 1;
    },
    readNow: wholeOf,
    viewNow: wholeOf,
    read: async (...where) => copyOf(...where),
    readInto: async (descriptor, position, target) => copyOf(descriptor, position, target.length).copy(target),
    write: async (descriptor, position, buffers) => {
      const file = at(descriptor);
      const written = Buffer.concat(buffers);
      const end = position + written.length;
      if (end > file.bytes.length) file.bytes = Buffer.concat([file.bytes, Buffer.alloc(end - file.bytes.length)]);
      written.copy(file.bytes, position);
    },
    sync: async () => undefined,
    syncDirectory: async () => undefined,
    sizeOf: async (descriptor) => at(descriptor).bytes.length,
    close: async (descriptor) => {
      open[descriptor] = undefined;
    },
    rename: async (from, to) => {
      const file = files.get(from);
      if (file === undefined) throw Object.assign(new Error(from), { code: "ENOENT" });
      files.delete(from);
      files.set(to, file);
    },
    unlink: async (path) => {
      files.delete(path);
    },
    list: async (directory) =>
      [...files.keys()].filter((path) => dirname(path) === directory).map((path) => path.slice(directory.length + 1)),
    makeDirectory: async () => undefined,
    removeTree: async (path) => {
      for (const name of files.keys()) if (name.startsWith(`${path}/`)) files.delete(name);
    },
  };
}
