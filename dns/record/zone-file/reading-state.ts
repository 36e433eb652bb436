/**
 * What is known while a zone's files are read, and how one record is added to it. read-zone-file.ts reads the entries,
 * generate-records.ts those that $GENERATE makes.
 */
import { canonicalName, isAtOrBelow } from "../names.ts";
import type { ZoneRecord } from "../types.ts";
import type { ZoneSoa } from "../zone.ts";
import { type Fields, hasMore, rawField, refuse, takeTime } from "./fields.ts";
import type { Scanner } from "./scan.ts";
import { takeRecord } from "./take-record.ts";
import { quote } from "./words.ts";

export const zoneFileBounds = {
  /** $INCLUDE inside of included files. */
  includeDepth: 8,
  /** Files that one zone is read from, each $INCLUDE counted. */
  files: 64,
  /** Of all files of a zone. */
  charactersMax: 16 * 1024 * 1024,
  /** Records that $GENERATE makes, all of them together. */
  generated: 65_536,
  /** What $GENERATE makes, as text. */
  generatedCharacters: 16 * 1024 * 1024,
  records: 1_000_000,
  /** Nobody mends more in one go. */
  problems: 20,
} as const;

export interface ZoneFileProblem {
  /** As the reader of files named it. */
  file: string;
  /** From 1; 0: the file as a whole. */
  line: number;
  /** From 1; 0: the whole line. */
  column: number;
  message: string;
}

export type IncludedFile = { ok: true; file: string; text: string } | { ok: false; problem: string };

export interface ZoneFileSource {
  /** How problems call the file. */
  file: string;
  text: string;
  /** The zone's name, with or without the final dot. */
  zone: string;
  /** At most that of the bounds, which is also the default. */
  recordsMax?: number;
  /** Gives the file that `from` includes as `path`. Undefined: $INCLUDE is a problem. */
  include?: ((path: string, from: string) => IncludedFile) | undefined;
}

/** What all files of one zone share while they are read. */
export interface Reading {
  readonly source: ZoneFileSource;
  /** In normal form, as written and in lower case. */
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
  /** Of the last record. */
  lastOwner: string;
  hasApexNs: boolean;
  /** Of $TTL; of the last record that stated one; of the SOA. -1: none yet. */
  defaultTtl: number;
  statedTtl: number;
  minimumTtl: number;
  /** One of the bounds is passed: nothing more is read. */
  isOver: boolean;
}

/** One file of them. */
export interface File {
  readonly index: number;
  readonly depth: number;
  readonly scanner: Scanner;
  readonly fields: Fields;
  /** Of the record before; empty: it has to be written. */
  owner: string;
  /** Up to here the text stands in `flat` already. */
  flatUntil: number;
}

/** [TTL] [class] in either order. @returns the TTL, or -1 where none is stated */
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
      if (!/^(?:IN|CLASS1)$/i.test(word)) refuse(fields, `the class ${quote(word)} is not IN`);
    } else break;
  }
  return ttl;
}

function isClass(word: string): boolean {
  return word === "IN" || (word.length <= 10 && /^(?:IN|CH|CS|HS|CLASS\d+)$/i.test(word));
}

/** Reads the fields that follow the type, and keeps the record that they make. */
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
    refuse(fields, "the record has no TTL, and there is no $TTL, and neither a TTL nor a SOA before it");
    return;
  }
  const record = takeRecord(fields, type, { name: owner, ttlSeconds });
  if (record === undefined) return;
  if (!isInZone(reading, owner)) {
    refuse(fields, `${quote(owner)} lies outside of the zone ${reading.apex}`, 0);
    return;
  }
  const { recordsMax = zoneFileBounds.records } = reading.source;
  if (reading.records.length >= Math.min(recordsMax, zoneFileBounds.records)) {
    refuse(fields, `no more than ${recordsMax} records are left for this zone`, 0);
    reading.isOver = true;
    return;
  }
  if (record.type === "NS" && owner.length === reading.apex.length) reading.hasApexNs = true;
  reading.records.push(Object.freeze(record));
  // Neighbours often have one owner.
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
  // Most owners are written as the zone is; only the others need their capitals put away.
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
