/**
 * The compiled code of the edge on disk, for its next start: reading it takes about half the CPU time of compiling all
 * files anew, so a node that was killed serves sooner.
 *
 *   dataDir/compiled/<hash of the folder of the code>/   written by Node, some 8 MB
 *
 * Each release has a folder of its own, or replaces the files of the one before. Directories of other folders are
 * removed. Node compares an entry with the source that it was made from, so an old one is never used. A directory that
 * can't be written costs only the time.
 */
import { createHash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { enableCompileCache, flushCompileCache } from "node:module";
import { join } from "node:path";
import type { Log } from "#base/log.ts";

const directoryName = "compiled";

/**
 * Loads code through the directory. With NODE_COMPILE_CACHE in the environment, Node uses that one instead.
 * @param load imports what takes long
 */
export async function withCompiledCode<Loaded>(dataDir: string, load: () => Promise<Loaded>): Promise<Loaded> {
  enableCompileCache(join(dataDir, directoryName, nameOfCode()));
  const loaded = await load();
  // Now: a kill would lose it, and the first time it takes a third of a second, while nobody is served yet.
  flushCompileCache();
  return loaded;
}

/** Removes what was compiled of code in other folders. */
export async function removeOtherCode(dataDir: string, log: Log): Promise<void> {
  const directory = join(dataDir, directoryName);
  try {
    for (const name of await readdir(directory)) {
      if (name !== nameOfCode()) await rm(join(directory, name), { recursive: true, force: true });
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    log.warn({ err: error, directory }, "compiled code of another release could not be removed");
  }
}

function nameOfCode(): string {
  return createHash("sha256")
    .update(import.meta.url)
    .digest("hex")
    .slice(0, 16);
}
