/**
 * The marks of purges (purge-marks.ts) on disk, so that they survive a restart: a file with one purge on each line, to
 * which lines are appended.
 *
 *   c0ffee00 {"seq":71,"isSoft":false,"isAll":false,"tags":["tag:news"],"tagPrefixes":[]}
 *   checksum  purge
 *
 * A purge is acknowledged when its line is on disk, and the feed then never sends it again. When marks are forgotten, a
 * new file with the remaining ones replaces the old file. Until then, the old file names too many purges, which is
 * harmless.
 *
 * A line that was cut short at the end was never acknowledged: the feed sends that purge again. Any other line that
 * can't be read means that an unknown purge is lost, so everything counts as purged.
 */
import { open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { syncDirectory, writeAtomic } from "#base/atomic-file.ts";
import type { Log } from "#base/log.ts";
import type { Purge } from "./purge.ts";

export interface PurgeJournal {
  /** Resolves when the purge survives a power failure, or when the disk refused, which is logged. Never rejects. */
  add: (purge: Purge) => Promise<void>;
  /** False: the disk has refused purges that were added, and a restart would forget them. */
  isWhole: () => boolean;
  /** Replaces the file by all purges in force, which `purges` gives when their turn has come. Never rejects. */
  replace: (purges: () => readonly Purge[]) => Promise<void>;
}

/** Purges that a disk that refuses has not taken. Past that, the next that it takes is one of everything. */
const lackingMax = 10_000;

/** @returns the purges; undefined: the file is damaged, and everything must be treated as purged */
export async function readPurgeJournal(path: string, log: Log): Promise<readonly Purge[] | undefined> {
  try {
    const lines = (await readFile(path, "utf8")).split("\n").slice(0, -1);
    return lines.map(readLine);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return [];
    log.error(
      { file: path, problem: code ?? "it holds no purges", consequence: "everything cached on disk is dropped" },
      "a file of this edge is damaged",
    );
    return undefined;
  }
}

/** One instance for a path. Calls are carried out in their order. */
export function openPurgeJournal(path: string, log: Log): PurgeJournal {
  /** Purges that are not in the file. */
  let lacking: Purge[] = [];
  let last: Promise<void> = Promise.resolve();
  const inOrder = (work: () => Promise<void>): Promise<void> => {
    last = last.then(work).catch((error: unknown) => {
      log.error({ err: error }, "a purge could not be written to disk; it is in force until this process ends");
    });
    return last;
  };
  return {
    add(purge) {
      lacking.push(purge);
      if (lacking.length > lackingMax) lacking = [everythingBefore(purge.seq)];
      return inOrder(async () => {
        const lines = lacking.map(lineOf).join("");
        if (lines === "") return; // written with an earlier one
        const written = new Set(lacking);
        await append(path, lines);
        lacking = lacking.filter((one) => !written.has(one));
      });
    },
    isWhole: () => lacking.length === 0,
    replace(purges) {
      return inOrder(async () => {
        const written = new Set(lacking);
        await writeAtomic(path, purges().map(lineOf).join(""), { durable: true });
        lacking = lacking.filter((one) => !written.has(one));
      });
    },
  };
}

function everythingBefore(seq: number): Purge {
  return { seq, isSoft: false, isAll: true, tags: new Set(), tagPrefixes: [] };
}

async function append(path: string, lines: string): Promise<void> {
  await using file = await open(path, "a");
  const { size } = await file.stat();
  try {
    await file.writeFile(lines);
    await file.datasync();
    if (size === 0) await syncDirectory(dirname(path)); // the file may be new, and its name is in there
  } catch (error) {
    // Half a line with others behind it would be damage.
    await file.truncate(size).catch(() => undefined); // the first failure is reported
    throw error;
  }
}

function lineOf(purge: Purge): string {
  const { seq, isSoft, isAll, tags, tagPrefixes } = purge;
  const json = JSON.stringify({ seq, isSoft, isAll, tags: [...tags], tagPrefixes });
  return `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`;
}

/** @throws Error */
function readLine(line: string): Purge {
  const json = line.slice(9);
  if (line.slice(0, 9) !== `${crc32(json).toString(16).padStart(8, "0")} `) throw new Error("a wrong checksum");
  // The checksum proves that this program wrote it, so its shape needs no second look.
  const purge = JSON.parse(json) as Purge & { tags: string[] };
  return { ...purge, tags: new Set(purge.tags) };
}
