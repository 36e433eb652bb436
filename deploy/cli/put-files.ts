/** Which files `nearcast put` stores, and under which names. */
import type { Stats } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import { CommandFailure, exitCodes } from "./exit-codes.ts";

export interface Upload {
  file: string;
  name: string;
  sizeBytes: number;
}

/** What a folder is searched for; a file that is named by itself may be called as it likes. */
const pictureFile = /\.(?:jpe?g|png|webp|gif|avif)$/i;

/**
 * @param words files and folders; the last one may be the path at the origin
 * @param to the path at the origin, when it was given apart
 * @returns the uploads, and how many files in folders are none
 */
export async function findUploads(
  words: readonly string[],
  to: string | undefined,
): Promise<{ uploads: Upload[]; skipped: number }> {
  const there = await Promise.all(words.map(async (word) => ({ word, stats: await statOf(word) })));
  const last = there.at(-1);
  let path = to;
  if (path === undefined && there.length > 1 && last !== undefined && last.stats === undefined) {
    path = last.word;
    there.pop();
  }
  const sources = there.map(({ word, stats }) => {
    if (stats === undefined) throw new CommandFailure(exitCodes.usage, `there is no file or folder ${word}`);
    return { word, stats };
  });
  const [only] = sources;
  if (sources.length === 1 && only?.stats.isFile() === true) {
    const name = path === undefined || path.endsWith("/") ? joinName(path ?? "", basename(only.word)) : path;
    return { uploads: [{ file: only.word, name: cleanName(name), sizeBytes: only.stats.size }], skipped: 0 };
  }
  const uploads: Upload[] = [];
  let skipped = 0;
  for (const { word, stats } of sources) {
    if (!stats.isDirectory()) {
      uploads.push({ file: word, name: cleanName(joinName(path ?? "", basename(word))), sizeBytes: stats.size });
      continue;
    }
    for (const entry of await readdir(word, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = join(entry.parentPath, entry.name);
      if (!pictureFile.test(entry.name)) {
        skipped += 1;
        continue;
      }
      const name = cleanName(joinName(path ?? "", relative(word, file).split(sep).join("/")));
      uploads.push({ file, name, sizeBytes: (await stat(file)).size });
    }
  }
  const twice = uploads.find(({ name }, index) => uploads.findIndex((other) => other.name === name) !== index);
  if (twice !== undefined) {
    throw new CommandFailure(exitCodes.usage, `two of the files would both be called ${twice.name}: put them apart`);
  }
  return { uploads, skipped };
}

async function statOf(path: string): Promise<Stats | undefined> {
  return await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new CommandFailure(exitCodes.usage, `${path} can't be read: ${error.message}`);
  });
}

function joinName(path: string, name: string): string {
  return path === "" || path.endsWith("/") ? path + name : `${path}/${name}`;
}

/** Names have no leading slash, although people write one. The origin judges the rest. */
function cleanName(name: string): string {
  return name.replace(/^\/+/, "");
}
