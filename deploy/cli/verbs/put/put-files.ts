/** Decides which files `nearcast put` stores, under which names, and which it skips, with the reason. */
import { command } from "#base/command-name.ts";
import { systemReason } from "#base/system-reason.ts";
import type { Stats } from "node:fs";
import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, extname, isAbsolute, join } from "node:path";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";

export interface Upload {
  file: string;
  name: string;
  sizeBytes: number;
}

export interface Skipped {
  file: string;
  /** Such as `HEIC is not supported: convert it to JPEG first`. */
  reason: string;
}

export interface Found {
  uploads: Upload[];
  skipped: Skipped[];
}

/** The extensions that are searched for in a folder; a file named on the command line may have any name. */
const pictureExtensions = new Set([".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif"]);

/** Unsupported kinds of pictures, by extension: their names, and what to do about them. */
const otherPictures: Readonly<Record<string, string>> = {
  ".heic": "HEIC is not supported: convert it to JPEG first",
  ".heif": "HEIF is not supported: convert it to JPEG first",
  ".jxl": "JPEG XL is not supported: convert it to JPEG first",
  ".jp2": "JPEG 2000 is not supported: convert it to JPEG first",
  ".tif": "TIFF is not supported: convert it to JPEG or PNG first",
  ".tiff": "TIFF is not supported: convert it to JPEG or PNG first",
  ".bmp": "BMP is not supported: convert it to PNG first",
  ".ico": "ICO is not supported: convert it to PNG first",
  ".svg": "SVG is not supported: convert it to PNG first",
  ".psd": "Photoshop files are not supported: export it as JPEG or PNG first",
  ".jfif": "rename it to .jpg",
  ".jpe": "rename it to .jpg",
  ".apng": "rename it to .png",
  ...Object.fromEntries(
    [".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef"].map((extension) => [
      extension,
      "camera raw files are not supported: export it as JPEG first",
    ]),
  ),
  ...Object.fromEntries(
    [".mp4", ".mov", ".avi", ".mkv", ".webm"].map((extension) => [extension, "videos are not supported"]),
  ),
};

/** The maximum depth of folders and links below one argument, so that an endless tree has an end. */
const depthMax = 64;

/**
 * @param words files and folders; the last one may be the path at the origin
 * @param to the path at the origin, if it was given separately
 * @throws CommandFailure for a file that is not there, two files of one name, and a last word that can mean both
 */
export async function findUploads(words: readonly string[], to: string | undefined): Promise<Found> {
  const there = await Promise.all(words.map(async (word) => ({ word, stats: await statOf(word) })));
  const last = there.at(-1);
  let path = to;
  if (path === undefined && there.length > 1 && last !== undefined && last.stats === undefined) {
    path = last.word;
    there.pop();
  }
  if (path === undefined) refuseAmbiguous(there);
  const sources = there.map(({ word, stats }) => {
    if (stats === undefined) throw new CommandFailure(exitCodes.usage, notThere(word));
    return { word, stats };
  });
  const [only] = sources;
  if (sources.length === 1 && only?.stats.isFile() === true) {
    const name = path === undefined || path.endsWith("/") ? joinName(path ?? "", basename(only.word)) : path;
    return { uploads: [{ file: only.word, name: cleanName(name), sizeBytes: only.stats.size }], skipped: [] };
  }
  const found: Found = { uploads: [], skipped: [] };
  const base = path ?? "";
  for (const { word, stats } of sources) {
    if (stats.isDirectory()) await searchFolder(word, base, found);
    else found.uploads.push({ file: word, name: cleanName(joinName(base, basename(word))), sizeBytes: stats.size });
  }
  refuseTwins(found.uploads);
  return found;
}

/**
 * Walks a folder and follows links. Each folder is entered once, by its real path, so a link to a parent folder (`self
 * -> .`) ends there; a link to a picture is stored under the link's name.
 */
async function searchFolder(root: string, base: string, found: Found): Promise<void> {
  const entered = new Set<string>();
  const search = async (folder: string, name: string, depth: number): Promise<void> => {
    const truePath = await realpath(folder).catch((error: NodeJS.ErrnoException) => error);
    if (truePath instanceof Error) {
      found.skipped.push({ file: folder, reason: reasonOf(truePath) });
      return;
    }
    if (entered.has(truePath)) {
      found.skipped.push({ file: folder, reason: "this directory was already searched under another path" });
      return;
    }
    if (depth > depthMax) {
      found.skipped.push({ file: folder, reason: `directories are searched ${depthMax} levels deep` });
      return;
    }
    entered.add(truePath);
    const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => error);
    if (entries instanceof Error) {
      found.skipped.push({ file: folder, reason: reasonOf(entries) });
      return;
    }
    for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const file = join(folder, entry.name);
      const entryName = joinName(name, entry.name);
      const isPlain = entry.isFile() || entry.isDirectory();
      // A skipped file needs no call to the file system.
      const reason = (await hasForeignName(file)) ? notUtf8 : entry.isFile() ? whyNot(entry.name) : undefined;
      if (reason !== undefined) {
        found.skipped.push({ file, reason });
        continue;
      }
      const stats = entry.isDirectory() ? undefined : await stat(file).catch((error: NodeJS.ErrnoException) => error);
      if (entry.isDirectory() || (stats !== undefined && "isDirectory" in stats && stats.isDirectory())) {
        await search(file, entryName, depth + 1);
      } else if (stats instanceof Error) {
        const isDangling = !isPlain && stats.code === "ENOENT";
        found.skipped.push({ file, reason: isDangling ? "the link is broken" : reasonOf(stats) });
      } else if (stats?.isFile() === true) {
        const whyNotLink = whyNot(entry.name);
        if (whyNotLink !== undefined) found.skipped.push({ file, reason: whyNotLink });
        else found.uploads.push({ file, name: cleanName(entryName), sizeBytes: stats.size });
      } else found.skipped.push({ file, reason: "it is neither a file nor a directory" });
    }
  };
  await search(root, base, 0);
}

const notUtf8 =
  "its name is not valid UTF-8: rename it " +
  "(convmv -f latin1 -t utf8 --notest FILE converts names from older systems)";

/** Node decodes bytes that are not UTF-8 as U+FFFD; a file that really has U+FFFD in its name can be found under it. */
async function hasForeignName(file: string): Promise<boolean> {
  return file.includes("\ufffd") && (await lstat(file).catch(() => undefined)) === undefined;
}

function notThere(word: string): string {
  return word.includes("\ufffd") ? `${word} can't be read: ${notUtf8}` : `there is no file or directory "${word}"`;
}

/** Why a file in a folder is skipped; undefined: it is a picture by its name. */
function whyNot(name: string): string | undefined {
  const extension = extname(name).toLowerCase();
  if (name.startsWith("._")) return "it holds macOS metadata of another file";
  if (pictureExtensions.has(extension)) return undefined;
  return otherPictures[extension] ?? "its name does not end in .jpg, .jpeg, .png, .webp, .gif or .avif";
}

interface There {
  word: string;
  stats: Stats | undefined;
}

/**
 * Refuses `put chair.jpg shop/chair.jpg` where shop/chair.jpg exists: with cp, and with most other commands, the last
 * word is the destination. Two files in one directory are what a shell expands `*.jpg` to, so they count as two files.
 */
function refuseAmbiguous(words: readonly There[]): void {
  const last = words.at(-1);
  const others = words.slice(0, -1);
  if (last?.stats === undefined || others.length === 0 || !others.every(({ stats }) => stats?.isFile())) return;
  if (isAbsolute(last.word) || /^\.\.?\//.test(last.word)) return;
  const isFile = !last.stats.isDirectory();
  if (isFile && (others.length > 1 || dirname(others[0]?.word ?? "") === dirname(last.word))) return;
  const sources = others.map(({ word }) => word).join(" ");
  throw new CommandFailure(
    exitCodes.usage,
    `"${last.word}" is a ${isFile ? "file" : "directory"} here, and could also be the ` +
      `${isFile ? "name" : "prefix"} at the origin`,
    {
      lines: [
        `If it is the ${isFile ? "name" : "prefix"}: ${command} put ${sources} --to ${last.word}`,
        `To store it as well: ${command} put ${sources} ./${last.word}`,
      ],
    },
  );
}

function refuseTwins(uploads: readonly Upload[]): void {
  const files = new Map<string, string>();
  for (const { name, file } of uploads) {
    const other = files.get(name);
    if (other !== undefined) {
      const message = `${other} and ${file} would both be named ${name}: store them one at a time, each with --to`;
      throw new CommandFailure(exitCodes.usage, message);
    }
    files.set(name, file);
  }
}

async function statOf(path: string): Promise<Stats | undefined> {
  return await stat(path).catch((error: NodeJS.ErrnoException) => {
    // Too long for a file name, but not for a picture's name: as the last argument it is the path at the origin.
    if (error.code === "ENOENT" || error.code === "ENOTDIR" || error.code === "ENAMETOOLONG") return undefined;
    throw new CommandFailure(exitCodes.usage, `${path} can't be read: ${reasonOf(error)}`);
  });
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === "EACCES" || error.code === "EPERM") return "permission denied";
  if (error.code === "ELOOP") return "the link points to itself";
  return systemReason(error);
}

function joinName(path: string, name: string): string {
  return path === "" || path.endsWith("/") ? path + name : `${path}/${name}`;
}

/** Names have no leading slash, although people write one. The origin validates the rest. */
function cleanName(name: string): string {
  return name.replace(/^\/+/, "");
}
