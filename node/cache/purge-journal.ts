/**
 * The purges that came while the disk tier's start was still looking at its files, one JSON per line.
 *
 * A purge is confirmed, and so never sent again, before the scan may have met the files that it means: without these
 * lines a restart in between would bring those files back.
 */
import { appendFile, readFile, rm, writeFile } from "node:fs/promises";
import type { Log } from "#base/log.ts";
import type { Purge } from "./purge.ts";

/** Past that, everything that was not scanned yet is given up. */
const purgesMax = 10_000;

export interface PurgeJournal {
  purges: () => readonly Purge[];
  /** In force at once; resolves when it is written down. */
  add: (purge: Purge) => Promise<void>;
  clear: () => Promise<void>;
}

const everything: Purge = { seq: 0, tags: new Set(), sourcePrefixes: [], isAll: true, isSoft: false };

export async function openPurgeJournal(path: string, log: Log): Promise<PurgeJournal> {
  let purges = await readJournal(path, log);
  return {
    purges: () => purges,
    async add(purge) {
      purges.push(purge);
      const isTooMany = purges.length > purgesMax;
      if (isTooMany) purges = [everything];
      const line = lineOf(isTooMany ? everything : purge);
      try {
        await (isTooMany ? writeFile(path, line) : appendFile(path, line));
      } catch (error) {
        log.error({ err: error }, "a purge could not be written to disk; it is in force until this process ends");
      }
    },
    async clear() {
      purges = [];
      await rm(path, { force: true });
    },
  };
}

function lineOf(purge: Purge): string {
  return `${JSON.stringify({ ...purge, tags: [...purge.tags] })}\n`;
}

/**
 * A journal that can't be understood means that something was purged, and nobody knows what: everything. Only its last
 * line may be cut short, by a kill: that purge was never confirmed, so the feed brings it again.
 */
async function readJournal(path: string, log: Log): Promise<Purge[]> {
  try {
    const lines = (await readFile(path, "utf8")).split("\n").slice(0, -1);
    return lines.map((line) => {
      const purge = JSON.parse(line) as Purge & { tags: string[] };
      return { ...purge, tags: new Set(purge.tags) };
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return [];
    log.error(
      { file: path, problem: code ?? "it holds no purges", consequence: "everything cached on disk is dropped" },
      "a file of this edge is damaged",
    );
    return [everything];
  }
}
