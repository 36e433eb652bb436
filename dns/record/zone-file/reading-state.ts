/**
 * The state while a zone's files are read, and how a record is added to it. read-zone-file.ts reads the entries,
 * generate-records.ts the ones that $GENERATE makes.
 */
import { canonicalName, isAtOrBelow } from "../domain-names.ts";
import type { ZoneRecord } from "../types.ts";
import type { ZoneSoa } from "../zone.ts";
import { type Fields, hasMore, rawField, refuse, takeTime } from "./fields.ts";
import type { Scanner } from "./scan.ts";
import { takeRecord } from "./take-record.ts";
import { quote } from "./words.ts";

export const zoneFileBounds = {
  /** How deep $INCLUDE may be nested. */
  includeDepth: 8,
  /** Files of one zone; each $INCLUDE counts. */
  files: 64,
  /** Characters of all files of a zone. */
  charactersMax: 16 * 1024 * 1024,
  /** Records made by all $GENERATE entries of a zone. */
  generated: 65_536,
  /** Text made by all $GENERATE entries of a zone. */
  generatedCharacters: 16 * 1024 * 1024,
  records: 1_000_000,
  /** More than anyone fixes in one go. */
  problems: 20,
} as const;

export interface ZoneFileProblem {
  /** Name of the file. */
  file: string;
  /** Starts at 1; 0 is the file as a whole. */
  line: number;
  /** Starts at 1; 0 is the whole line. */
  column: number;
  message: string;
}

export type IncludedFile = { ok: true; file: string; text: string } | { ok: false; problem: string };

export interface ZoneFileSource {
  /** The file's name in problems. */
  file: string;
  text: string;
  /** The zone's name, with or without the final dot. */
  zone: string;
  /** At most the bound of the same name, which is also the default. */
  recordsMax?: number;
  /** Reads the file that `from` includes as `path`. Undefined: $INCLUDE is not allowed. */
  include?: ((path: string, from: string) => IncludedFile) | undefined;
}

/** State shared by all files of one zone. */
export interface Reading {
  readonly source: ZoneFileSource;
  /** The apex in normal form: as written, and in lower case. */
  readonly apex: string;
  readonly apexLower: string;
  readonly records: ZoneRecord[];
  readonly owners: string[];
  readonly fileOfRecord: number[];
  readonly lineOfRecord: number[];
  readonly files: string[];
  readonly problems: ZoneFileProblem[];
  readonly warnings: ZoneFileProblem[];
  readonly flat: string[];
  characters: number;
  generated: number;
  generatedCharacters: number;
  soa: ZoneSoa | undefined;
  /** The owner of the last record, as written and in lower case. */
  lastOwner: string;
  hasApexNs: boolean;
  /** The TTL of $TTL, of the last record that stated one, and the minimum of the SOA; -1 means none yet. */
  defaultTtl: number;
  statedTtl: number;
  minimumTtl: number;
  /** A bound was exceeded: reading stops. */
  isOver: boolean;
}

/** State of one file. */
export interface File {
  readonly index: number;
  readonly depth: number;
  readonly scanner: Scanner;
  readonly fields: Fields;
  /** Owner of the preceding record; empty when the next record must state its own. */
  owner: string;
  /** `flat` already has the text up to here. */
  flatUntil: number;
}

/** Reads [TTL] [class] in either order. @returns the TTL, or -1 when none is stated */
export function takeTtlAndClass(fields: Fields): number {
  let ttl = -1;
  let hasClass = false;
  while (hasMore(fields)) {
    const word = rawField(fields, fields.next);
    const first = word.charCodeAt(0);
    if (first >= 0x30 && first <= 0x39 && ttl < 0) ttl = takeTime(fields, "a TTL");
    else if (!hasClass && isClass(word)) {
      hasClass = true;
      fields.next += 1;
      if (!/^(?:IN|CLASS1)$/i.test(word)) refuse(fields, `the class must be IN (got ${quote(word)})`);
    } else break;
  }
  return ttl;
}

function isClass(word: string): boolean {
  return word === "IN" || (word.length <= 10 && /^(?:IN|CH|CS|HS|CLASS\d+)$/i.test(word));
}

/** Reads the fields after the type and adds the record to the zone. */
export function readRecord(
  reading: Reading,
  owner: string,
  stated: number,
  type: string,
  fields: Fields,
  file: number,
  line: number,
): void {
  if (stated >= 0) reading.statedTtl = stated;
  const ttlSeconds = stated >= 0 ? stated : inheritedTtl(reading);
  if (ttlSeconds < 0) {
    refuse(fields, "the record needs a TTL: state one here, or write $TTL before it");
    return;
  }
  const record = takeRecord(fields, type, { name: owner, ttlSeconds });
  if (record === undefined) return;
  if (!isInZone(reading, owner)) {
    refuse(fields, `${quote(owner)} lies outside the zone ${reading.apex}`, 0);
    return;
  }
  const { recordsMax = zoneFileBounds.records } = reading.source;
  if (reading.records.length >= Math.min(recordsMax, zoneFileBounds.records)) {
    refuse(fields, `the zone files have too many records: at most ${recordsMax} are left for this zone`, 0);
    reading.isOver = true;
    return;
  }
  if (record.type === "NS" && owner.length === reading.apex.length) reading.hasApexNs = true;
  reading.records.push(Object.freeze(record));
  // Adjacent records often share their owner.
  const isAgain = reading.lastOwner === owner;
  reading.lastOwner = owner;
  reading.owners.push(isAgain ? (reading.owners.at(-1) ?? "") : canonicalName(owner));
  reading.fileOfRecord.push(file);
  reading.lineOfRecord.push(line);
}

function inheritedTtl({ defaultTtl, statedTtl, minimumTtl }: Reading): number {
  if (defaultTtl >= 0) return defaultTtl;
  return statedTtl >= 0 ? statedTtl : minimumTtl;
}

function isInZone({ apex, apexLower }: Reading, owner: string): boolean {
  // Most owners use the zone's own case; only the others need toLowerCase().
  return isAtOrBelow(owner, apex) || isAtOrBelow(owner.toLowerCase(), apexLower);
}

export function addProblem(reading: Reading, file: File, line: number, column: number, message: string): void {
  if (reading.problems.length >= zoneFileBounds.problems) return;
  reading.problems.push({ file: reading.files[file.index] ?? "", line, column, message });
  if (reading.problems.length === zoneFileBounds.problems) reading.isOver = true;
}

export function addFieldProblem(reading: Reading, file: File): void {
  const { scanner, fields } = file;
  const line = scanner.lines[fields.problemField] ?? scanner.entryLine;
  addProblem(reading, file, line, scanner.columns[fields.problemField] ?? 0, fields.problem);
}
