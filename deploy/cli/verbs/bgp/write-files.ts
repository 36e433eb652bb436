/**
 * The files that `nearcast bgp config --output` writes. Each is written completely or not at all, and only after its
 * text was generated: a failing command does not change what a running BIRD or a boot depends on.
 *
 *   bird.conf                        BIRD's; keeps its owner and mode
 *   nearcast-lease.conf beside it    the edge's TCP MD5 key in BIRD's syntax, readable by root and BIRD only
 *   lease.key in the edge's data     the same key, readable by the edge only; created if missing
 */
import { chown, readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { writeAtomic } from "#base/atomic-file.ts";
import { makeLeaseKey, readLeaseKey } from "#base/lease-key.ts";
import { systemReason } from "#base/system-reason.ts";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";

export interface WrittenFile {
  readonly file: string;
  readonly outcome: "written" | "unchanged";
}

/** A configuration file, with the owner and mode of the file that it replaces. */
export async function writeConfigFile(file: string, text: string): Promise<WrittenFile> {
  return await inWords(file, async () => {
    const before = await stat(file).catch(ignoreAbsence);
    if (before !== undefined && (await readFile(file, "utf8")) === text) return { file, outcome: "unchanged" };
    await writeAtomic(file, text, { mode: before === undefined ? 0o644 : before.mode & 0o777, durable: true });
    if (before !== undefined) await own(file, before);
    return { file, outcome: "written" };
  });
}

/** The key in BIRD's syntax, readable by root and by the group of the folder (which is BIRD's). */
export async function writePasswordFile(file: string, key: string): Promise<WrittenFile> {
  return await inWords(file, async () => {
    const text = `password "${key}";\n`;
    if ((await readFile(file, "utf8").catch(ignoreAbsence)) === text) return { file, outcome: "unchanged" };
    const folder = await stat(dirname(file));
    await writeAtomic(file, text, { mode: 0o640, durable: true });
    await own(file, { uid: process.getuid?.() ?? 0, gid: folder.gid });
    return { file, outcome: "written" };
  });
}

/** The edge's key; if there is none, a new one that only the owner of the folder can read. */
export async function ensureLeaseKey(file: string): Promise<WrittenFile & { readonly key: string }> {
  return await inWords(file, async () => {
    if ((await stat(file).catch(ignoreAbsence)) !== undefined) {
      return { file, outcome: "unchanged", key: readLeaseKey(file) };
    }
    const folder = await stat(dirname(file));
    const key = makeLeaseKey();
    await writeAtomic(file, `${key}\n`, { mode: 0o600, durable: true });
    await own(file, folder);
    return { file, outcome: "written", key };
  });
}

/** Only root can change the owner; other users' files stay their own. */
async function own(file: string, { uid, gid }: { uid: number; gid: number }): Promise<void> {
  if (process.getuid?.() === 0) await chown(file, uid, gid);
}

function ignoreAbsence(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}

async function inWords<Result>(file: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const hint =
      code === "EACCES" || code === "EPERM"
        ? ["Run this as root."]
        : code === "ENOENT"
          ? [`Create ${dirname(file)} first.`]
          : [];
    throw new CommandFailure(exitCodes.failed, `${file} can't be written: ${systemReason(error)}`, {
      cause: error,
      lines: hint,
    });
  }
}
