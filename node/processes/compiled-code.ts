/**
 * Keeps the compiled code of the edge on disk for its next start: reading it takes about half the CPU time of compiling
 * all files again, so a node that was killed serves sooner. The processes of a machine share it.
 *
 *   dataDir/compiled/<hash of the folder of the code>/<version of Node>/   written by Node, some 8 MB
 *
 * Each release has a folder of its own, or replaces the files of the previous one. Leftovers of other folders and of
 * other versions of Node are removed. Node compares an entry with the source that it was made from, so an old one is
 * never used. An entry that somebody else made would run as the edge, so nobody else may write there. A directory that
 * can't be written costs only time.
 */
import { createHash } from "node:crypto";
import { lstat, mkdir, readdir, rm, stat } from "node:fs/promises";
import { enableCompileCache, flushCompileCache, getCompileCacheDir } from "node:module";
import { basename, join } from "node:path";
import { systemReason } from "#base/system-reason.ts";
import type { Log } from "#base/log.ts";

const directoryName = "compiled";
const writableByOthers = 0o022;
/** In a directory with this bit, users can't rename or remove files of others. */
const sticky = 0o1000;

/** What loading compiled code needs. */
export interface CompiledCodeOptions {
  readonly dataDir: string;
  /**
   * The environment of this process. NODE_COMPILE_CACHE is added for threads that start later; decoders don't get it.
   */
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Log;
}

/**
 * Loads code through the directory. With NODE_COMPILE_CACHE in the environment, Node uses that one instead.
 * @param load imports the modules that take long
 */
export async function withCompiledCode<Loaded>(
  { dataDir, environment, log }: CompiledCodeOptions,
  load: () => Promise<Loaded>,
): Promise<Loaded> {
  const reason = await whyNotUsed(dataDir);
  if (reason === undefined) {
    const directory = join(dataDir, directoryName, nameOfCode());
    enableCompileCache(directory);
    environment["NODE_COMPILE_CACHE"] ??= directory;
  } else log.info({ reason }, "compiled code is not kept: each start compiles it again");
  const loaded = await load();
  // Flushed now, because a kill would lose it. The first time this takes a third of a second, while nobody is served
  // yet.
  flushCompileCache();
  return loaded;
}

/** Creates the directory. @returns the reason why code from there may not run; undefined: it may */
async function whyNotUsed(dataDir: string): Promise<string | undefined> {
  const directory = join(dataDir, directoryName);
  const uid = process.geteuid?.();
  try {
    await mkdir(dataDir, { recursive: true });
    await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    });
    const [above, own] = [await stat(dataDir), await lstat(directory)];
    if (!own.isDirectory()) return `${directory} is not a directory`;
    if (own.uid !== uid || (own.mode & writableByOthers) !== 0) return `others may write to ${directory}`;
    const isAboveSafe = (above.mode & writableByOthers) === 0 || (above.mode & sticky) !== 0;
    if ((above.uid !== uid && above.uid !== 0) || !isAboveSafe) return `others may write to ${dataDir}`;
    return undefined;
  } catch (error) {
    return `${directory}: ${systemReason(error)}`;
  }
}

/** Removes code compiled from other folders, and by other versions of Node. Call it when everything is loaded. */
export async function removeOtherCode(dataDir: string, log: Log): Promise<void> {
  const directory = join(dataDir, directoryName);
  const used = getCompileCacheDir();
  // Another directory (NODE_COMPILE_CACHE), or none, does not tell which version's files are needed.
  const own = join(directory, nameOfCode());
  try {
    await removeAllBut(directory, nameOfCode());
    if (used?.startsWith(own) === true) await removeAllBut(own, basename(used));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    log.warn({ err: error, directory }, "compiled code of another release could not be removed");
  }
}

async function removeAllBut(directory: string, kept: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name !== kept) await rm(join(directory, name), { recursive: true, force: true });
  }
}

function nameOfCode(): string {
  return createHash("sha256")
    .update(import.meta.url)
    .digest("hex")
    .slice(0, 16);
}
