/** Turns an SQLite failure into a sentence that names the file and what to do. */
import { command } from "#base/command-name.ts";
import { NearcastError } from "#base/errors.ts";

/** Primary result codes, https://www.sqlite.org/rescode.html; the extended ones have them in their low byte. */
const resultCode = {
  busy: 5,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cantOpen: 14,
  notADatabase: 26,
} as const;

/** SQLITE_IOERR_SHMSIZE: the shared-memory file next to the catalogue can't grow because the disk is full. */
const noRoomForSharedMemory = 4874;

const restoreAdvice =
  `Stop the origin and restore its last backup: \`${command} restore FOLDER --force\`. ` +
  `Then run \`${command} verify\` to check its pictures`;

/** Returns the failure itself when it is not SQLite's. */
export function asDiskFailure(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || (error as NodeJS.ErrnoException).code !== "ERR_SQLITE_ERROR") return error;
  const { errcode } = error as { errcode?: unknown };
  const extended = typeof errcode === "number" ? errcode : 0;
  const said = error.message.replace(/\.$/, "");
  const code = isFullDisk(extended) ? resultCode.full : extended & 0xff;
  return new NearcastError("DISK_FAILED", sentenceOf(code, said, path), { cause: error });
}

/** Whether this extended result code means that the disk is full. */
export function isFullDisk(extended: number): boolean {
  return (extended & 0xff) === resultCode.full || extended === noRoomForSharedMemory;
}

/** A row with unreadable JSON counts as damage: SQLite checks only its own structure. */
function asDamage(error: unknown, path: string): unknown {
  return error instanceof SyntaxError ? damagedCatalogue(path, `a row can't be read: ${error.message}`) : error;
}

/**
 * Wraps the methods so that their failures name the file and what to do: a catalogue can be damaged, or its disk can
 * fill, while it is in use.
 */
export function namingTheFile<Methods extends object>(methods: Methods, path: string): Methods {
  const named = Object.entries(methods).map(([name, method]: [string, unknown]) => {
    if (typeof method !== "function") return [name, method];
    const run = async (...values: unknown[]): Promise<unknown> => {
      try {
        return await (method as (...values: unknown[]) => unknown)(...values);
      } catch (error) {
        throw asDamage(asDiskFailure(error, path), path);
      }
    };
    return [name, run];
  });
  return Object.fromEntries(named) as Methods;
}

/** The error for a damaged catalogue; `said` is SQLite's finding. */
export function damagedCatalogue(path: string, said: string): NearcastError {
  return new NearcastError("DISK_FAILED", `the catalogue ${path} is damaged: ${said}. ${restoreAdvice}`);
}

function sentenceOf(code: number, said: string, path: string): string {
  switch (code) {
    case resultCode.corrupt:
    case resultCode.notADatabase:
      return damagedCatalogue(path, said).message;
    case resultCode.full:
      return `the catalogue ${path} can't be written: the disk is full. Free some space; nothing stored is lost`;
    case resultCode.readOnly:
      return (
        `the catalogue ${path} can't be written (${said}): the file system is read-only, or the file and its folder ` +
        "belong to another user. Mount it writable, or give both to the user that runs the origin"
      );
    case resultCode.cantOpen:
      return (
        `the catalogue ${path} can't be opened (${said}): check that its folder exists and that the user that ` +
        `runs the ` +
        "origin may write to it"
      );
    case resultCode.ioError:
      return `the catalogue ${path} can't be read or written (${said}): check the system's log for disk errors`;
    case resultCode.busy:
      return `the catalogue ${path} is locked by another program (${said}): stop that program`;
    default:
      return `the catalogue ${path} failed: ${said}`;
  }
}
