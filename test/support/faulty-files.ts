/** The file operations of the disk tier on a disk that fails or hangs when a test says so. */
import { type Files, realFiles } from "../../node/cache/disk/files.ts";

type Operation = Exclude<keyof Files, "close" | "readNow" | "viewNow">;

export interface FaultyFiles extends Files {
  /** Operations that were begun so far. */
  count: () => number;
  /** Lets those from the `first`-th to before the `end`-th operation fail, counted from the beginning. */
  failBetween: (first: number, end: number, code: string) => void;
  /** Lets operations of these kinds fail from now on; none: all go on. */
  fail: (operations: readonly Operation[], code: string) => void;
  /** Lets operations of these kinds wait until release(). */
  hang: (operations: readonly Operation[]) => void;
  release: () => void;
  hanging: () => number;
}

/** Reads go through the thread pool, so that they can fail. */
export function faultyFiles(): FaultyFiles {
  const real = realFiles();
  const state = {
    count: 0,
    first: Infinity,
    end: Infinity,
    code: "EIO",
    failing: [] as readonly Operation[],
    held: [] as readonly Operation[],
    released: [] as (() => void)[],
  };

  async function run<Result>(operation: Operation, begin: () => Promise<Result>): Promise<Result> {
    state.count += 1;
    const isFailing = state.failing.includes(operation) || (state.count >= state.first && state.count < state.end);
    if (isFailing) throw Object.assign(new Error(`${state.code}: ${operation}`), { code: state.code });
    if (state.held.includes(operation)) await new Promise<void>((resolve) => state.released.push(resolve));
    return await begin();
  }

  return {
    readNow: () => undefined,
    viewNow: () => undefined,
    close: real.close,
    open: (...args) => run("open", () => real.open(...args)),
    read: (...args) => run("read", () => real.read(...args)),
    readInto: (...args) => run("readInto", () => real.readInto(...args)),
    write: (...args) => run("write", () => real.write(...args)),
    sizeOf: (...args) => run("sizeOf", () => real.sizeOf(...args)),
    sync: (...args) => run("sync", () => real.sync(...args)),
    syncDirectory: (...args) => run("syncDirectory", () => real.syncDirectory(...args)),
    rename: (...args) => run("rename", () => real.rename(...args)),
    unlink: (...args) => run("unlink", () => real.unlink(...args)),
    list: (...args) => run("list", () => real.list(...args)),
    makeDirectory: (...args) => run("makeDirectory", () => real.makeDirectory(...args)),
    removeTree: (...args) => run("removeTree", () => real.removeTree(...args)),
    count: () => state.count,
    failBetween(first, end, code) {
      Object.assign(state, { first, end, code });
    },
    fail(operations, code) {
      Object.assign(state, { failing: operations, code });
    },
    hang(operations) {
      state.held = operations;
    },
    release() {
      state.held = [];
      for (const go of state.released.splice(0)) go();
    },
    hanging: () => state.released.length,
  };
}
