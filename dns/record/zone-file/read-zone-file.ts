/**
 * A zone file's text → the zone's records and its SOA, or the list of its problems (RFC 1035 §5.1, RFC 2308 §4).
 *
 *   text ─scan─▶ entry ─┬─▶ $ORIGIN $TTL             what later entries start from
 *                       ├─▶ $INCLUDE ─▶ the same for another file, one level deeper
 *                       ├─▶ $GENERATE ─▶ many records
 *                       └─▶ owner, TTL, class, type ─▶ records.ts ─▶ a record
 *
 * Never throws, whatever the text is. The work is linear in the text and in what $GENERATE makes, and all that could
 * grow has a bound (see `zoneFileBounds`); past each is a problem that says so.
 *
 * Where servers differ, or RFC 1035 is silent:
 *   - An RRset has the TTL of its first record (as in BIND), and a warning says where another one stood.
 *   - A record without any TTL gets that of $TTL, else of the record before it that stated one, else the minimum of
 *     the SOA before it (as in BIND).
 *   - After $INCLUDE, and at the start of an included file, the owner has to be written: so a file means the same
 *     wherever it is included, and the text with all files put in (`flatText`) means the same as the files.
 *   - Nothing may lie outside the zone. Quoted strings end in their line. Only class IN.
 */
import { canonicalName, isAtOrBelow } from "../names.ts";
import { typeNumberOf, type ZoneRecord } from "../types.ts";
import type { ZoneSoa } from "../zone.ts";
import {
  type Fields,
  hasFlag,
  hasMore,
  newFields,
  rawField,
  refuse,
  restart,
  takeName,
  takeOctets,
  takeTime,
  takeWord,
} from "./fields.ts";
import { countOf, expand, rangeFrom, type Template, templateFrom } from "./generate.ts";
import { nameFrom, whyNoName } from "../name-text.ts";
import { isSoa, takeRecord, takeSoa } from "./take-record.ts";
import { fieldFlags, newScanner, scanEntry, type Scanner } from "./scan.ts";

import { quote } from "./words.ts";

const zoneFileBounds = {
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

/** Where the records stand: parallel to them. */
interface Places {
  readonly files: readonly string[];
  readonly fileOfRecord: readonly number[];
  readonly lineOfRecord: readonly number[];
}

export interface ZoneFile {
  readonly records: readonly ZoneRecord[];
  /** Their owners as canonicalName() has them: parallel to them, since looking up long lists of names costs. */
  readonly owners: readonly string[];
  readonly soa: ZoneSoa;
  readonly places: Places;
  readonly warnings: readonly ZoneFileProblem[];
  /** The text with all included files put in. */
  readonly flatText: string;
}

export type ZoneFileOutcome =
  { ok: true; value: ZoneFile } | { ok: false; problems: ZoneFileProblem[]; recordsRead: number };

/** What all files of one zone share while they are read. */
interface Reading {
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
interface File {
  readonly index: number;
  readonly depth: number;
  readonly scanner: Scanner;
  readonly fields: Fields;
  /** Of the record before; empty: it has to be written. */
  owner: string;
  /** Up to here the text stands in `flat` already. */
  flatUntil: number;
}

export function readZoneFile(source: ZoneFileSource): ZoneFileOutcome {
  const apex = nameFrom(source.zone.endsWith(".") ? source.zone : `${source.zone}.`, ".");
  if (apex === undefined) {
    const problem = { file: source.file, line: 0, column: 0, message: whyNoName(source.zone) };
    return { ok: false, problems: [problem], recordsRead: 0 };
  }
  const reading: Reading = {
    source,
    apex,
    apexLower: apex.toLowerCase(),
    records: [],
    owners: [],
    fileOfRecord: [],
    lineOfRecord: [],
    files: [],
    problems: [],
    warnings: [],
    flat: [],
    characters: 0,
    generated: 0,
    generatedCharacters: 0,
    soa: undefined,
    lastOwner: "",
    hasApexNs: false,
    defaultTtl: -1,
    statedTtl: -1,
    minimumTtl: -1,
    isOver: false,
  };
  readFile(reading, source.file, source.text, apex, 0);
  const { problems, soa, records, owners, fileOfRecord, lineOfRecord, files, warnings } = reading;
  if (problems.length === 0) {
    const whole = { file: source.file, line: 0, column: 0 };
    if (soa === undefined) problems.push({ ...whole, message: `there is no SOA record of ${apex}` });
    if (!reading.hasApexNs) problems.push({ ...whole, message: `there is no NS record of ${apex}` });
  }
  if (problems.length > 0 || soa === undefined) return { ok: false, problems, recordsRead: records.length };
  uniteTtls(reading);
  const flatText = reading.flat.join("");
  return {
    ok: true,
    value: { records, owners, soa, places: { files, fileOfRecord, lineOfRecord }, warnings, flatText },
  };
}

function readFile(reading: Reading, name: string, text: string, origin: string, depth: number): void {
  const scanner = newScanner(text);
  const index = reading.files.push(name) - 1;
  const file: File = { index, depth, scanner, fields: newFields(scanner, origin), owner: "", flatUntil: scanner.at };
  reading.characters += text.length;
  if (reading.characters > zoneFileBounds.charactersMax) {
    const message = `the zone's files have more than ${zoneFileBounds.charactersMax} characters`;
    addProblem(reading, file, 0, 0, message);
    reading.isOver = true;
    return;
  }
  while (!reading.isOver && scanEntry(scanner)) {
    if (scanner.problem !== "") {
      addProblem(reading, file, scanner.problemLine, scanner.problemColumn, scanner.problem);
      if (file.owner === "") file.owner = reading.apex;
      continue;
    }
    restart(file.fields);
    readEntry(reading, file);
    if (file.fields.problem !== "") addFieldProblem(reading, file);
  }
  addFlat(reading, file, text.length);
}

function readEntry(reading: Reading, file: File): void {
  const { scanner, fields } = file;
  if (scanner.isOwnerBlank) {
    if (file.owner === "") refuse(fields, "the record names no owner, and there is none before it in this file", 0);
  } else if (scanner.text.charCodeAt(scanner.starts[0] ?? 0) === 0x24 && !hasFlag(fields, 0, fieldFlags.quoted)) {
    readDirective(reading, file);
    return;
  } else {
    const owner = takeName(fields, "an owner");
    if (fields.problem !== "") {
      // Told once: the records after it that have the same one are read as if it were another.
      if (file.owner === "") file.owner = reading.apex;
      return;
    }
    file.owner = owner;
  }
  const ttl = takeTtlAndClass(fields);
  const type = takeWord(fields, "a type");
  if (fields.problem !== "") return;
  if (isSoa(type)) readSoa(reading, file, ttl);
  else readRecord(reading, file.owner, ttl, type, fields, file.index, scanner.entryLine);
}

/** [TTL] [class] in either order. @returns the TTL, or -1 where none is stated */
function takeTtlAndClass(fields: Fields): number {
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

function readSoa(reading: Reading, file: File, ttl: number): void {
  const { fields } = file;
  const soa = takeSoa(fields);
  if (soa === undefined) return;
  if (file.owner.toLowerCase() !== reading.apexLower) {
    refuse(fields, `the SOA is of ${quote(file.owner)}, not of the zone ${reading.apex}`, 0);
    return;
  }
  if (reading.soa !== undefined) {
    refuse(fields, "a second SOA: a zone has one", 0);
    return;
  }
  if (ttl >= 0) reading.statedTtl = ttl;
  const inherited = reading.defaultTtl >= 0 ? reading.defaultTtl : reading.statedTtl;
  reading.minimumTtl = soa.minimumSeconds;
  reading.soa = Object.freeze({ ttlSeconds: ttl >= 0 ? ttl : inherited >= 0 ? inherited : soa.minimumSeconds, ...soa });
}

/** Reads the fields that follow the type, and keeps the record that they make. */
function readRecord(
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

function readDirective(reading: Reading, file: File): void {
  const { fields } = file;
  const word = takeWord(fields, "a directive");
  switch (word.toUpperCase()) {
    case "$ORIGIN":
      fields.origin = takeLastName(fields, "an origin") ?? fields.origin;
      return;
    case "$TTL": {
      const ttl = takeTime(fields, "a TTL");
      refuseMore(fields);
      if (fields.problem === "") reading.defaultTtl = ttl;
      return;
    }
    case "$INCLUDE":
      include(reading, file);
      return;
    case "$GENERATE":
      generate(reading, file);
      return;
    default:
      refuse(fields, `${quote(word)} is not a directive (allowed: $ORIGIN, $TTL, $INCLUDE, $GENERATE)`);
  }
}

function takeLastName(fields: Fields, what: string): string | undefined {
  const name = takeName(fields, what);
  refuseMore(fields);
  return fields.problem === "" ? name : undefined;
}

function refuseMore(fields: Fields): void {
  if (hasMore(fields)) refuse(fields, `${quote(rawField(fields, fields.next))} is too much here`, fields.next);
}

/** $INCLUDE file [origin]: the file's records stand here; the origin is its own, and this file's stays. */
function include(reading: Reading, file: File): void {
  const { fields, scanner } = file;
  const written = takeOctets(fields, "a file", 1024);
  const path = typeof written === "string" ? written : Buffer.from(written).toString();
  const origin = hasMore(fields) ? takeLastName(fields, "an origin") : fields.origin;
  if (fields.problem !== "" || origin === undefined) return;
  const { includeDepth, files } = zoneFileBounds;
  if (reading.source.include === undefined) {
    refuse(fields, "$INCLUDE has no place here: only zones that name a `file` may include others", 0);
    return;
  }
  if (file.depth === includeDepth) {
    refuse(fields, `${quote(path)} is included at a depth of more than ${includeDepth}`, 1);
    return;
  }
  if (reading.files.length === files) {
    refuse(fields, `the zone is read from more than ${files} files`, 1);
    reading.isOver = true;
    return;
  }
  const found = reading.source.include(path, reading.files[file.index] ?? "");
  if (!found.ok) {
    refuse(fields, `${quote(path)} ${found.problem}`, 1);
    return;
  }
  addFlat(reading, file, scanner.entryStart);
  reading.flat.push(`$ORIGIN ${origin}\n`);
  readFile(reading, found.file, found.text, origin, file.depth + 1);
  reading.flat.push(`\n$ORIGIN ${fields.origin}\n`);
  file.flatUntil = scanner.at;
  file.owner = "";
}

function addFlat(reading: Reading, file: File, until: number): void {
  // Carriage returns mean nothing in zone files, and YAML would have to escape the whole text for them.
  reading.flat.push(file.scanner.text.slice(file.flatUntil, until).replaceAll("\r\n", "\n"));
}

/** $GENERATE range lhs [TTL] [class] type rhs */
function generate(reading: Reading, file: File): void {
  const { fields, scanner } = file;
  const rangeWord = takeWord(fields, "a range");
  const range = rangeFrom(rangeWord);
  if (range === undefined) {
    refuse(fields, `${quote(rangeWord)} is not a range (start-stop or start-stop/step, 0-2147483647, step above 0)`);
    return;
  }
  const owners = takeTemplate(fields, takeWord(fields, "an owner"));
  const ttl = takeTtlAndClass(fields);
  const type = takeWord(fields, "a type");
  const typeField = fields.next - 1;
  if (!hasMore(fields)) refuse(fields, "the records' data is missing");
  const datas = takeTemplate(fields, restAsWritten(fields));
  if (isSoa(type)) refuse(fields, "a zone has one SOA: it is not generated", typeField);
  if (owners === undefined || datas === undefined || fields.problem !== "") return;
  reading.generated += countOf(range);
  if (reading.generated > zoneFileBounds.generated) {
    refuse(fields, `$GENERATE makes more than ${zoneFileBounds.generated} records in this zone`, 1);
    reading.isOver = true;
    return;
  }
  for (let number = range.start; number <= range.stop && fields.problem === ""; number += range.step) {
    generateOne(reading, file, number, { owners, datas, ttl, type }, scanner.entryLine);
  }
}

interface Generated {
  readonly owners: Template;
  readonly datas: Template;
  readonly ttl: number;
  readonly type: string;
}

function generateOne(reading: Reading, file: File, number: number, what: Generated, line: number): void {
  const { fields } = file;
  const written = expand(what.owners, number);
  const data = expand(what.datas, number);
  if (written === undefined || data === undefined) {
    refuse(fields, `for ${number}, an offset leads out of 0-2147483647`, 1);
    return;
  }
  reading.generatedCharacters += written.length + data.length;
  if (reading.generatedCharacters > zoneFileBounds.generatedCharacters) {
    refuse(fields, `$GENERATE makes more than ${zoneFileBounds.generatedCharacters} characters in this zone`, 1);
    reading.isOver = true;
    return;
  }
  const owner = nameFrom(written, fields.origin);
  if (owner === undefined) {
    refuse(fields, `for ${number}: ${whyNoName(written)}`, 2);
    return;
  }
  const made = newFields(newScanner(data), fields.origin);
  scanEntry(made.scanner);
  if (made.scanner.problem !== "") refuse(made, made.scanner.problem);
  else readRecord(reading, owner, what.ttl, what.type, made, file.index, line);
  if (made.problem === "" && scanEntry(made.scanner)) refuse(made, "the data has more than one line");
  if (made.problem !== "") refuse(fields, `for ${number}: ${made.problem}`, 0);
}

function takeTemplate(fields: Fields, written: string): Template | undefined {
  const parsed = templateFrom(written);
  if (parsed.ok) return parsed.template;
  refuse(fields, parsed.problem);
  return undefined;
}

/** What is left of the entry. As in BIND, quotes around all of it are there to hold its spaces, and are no data. */
function restAsWritten(fields: Fields): string {
  const isOne = fields.next === fields.scanner.fieldsCount - 1;
  if (isOne && hasFlag(fields, fields.next, fieldFlags.quoted)) {
    return rawField(fields, fields.next++).replaceAll('\\"', '"');
  }
  const words: string[] = [];
  while (hasMore(fields)) {
    const word = rawField(fields, fields.next);
    const isGlued = hasFlag(fields, fields.next, fieldFlags.glued);
    const shown = hasFlag(fields, fields.next, fieldFlags.quoted) ? `"${word}"` : word;
    words.push(isGlued ? shown : ` ${shown}`);
    fields.next += 1;
  }
  return words.join("");
}

/** RFC 2181 §5.2: the records of an RRset have one TTL: that of the first. */
function uniteTtls(reading: Reading): void {
  const { records, owners, warnings } = reading;
  const common = records[0]?.ttlSeconds;
  // Mostly all TTLs are that of $TTL, and then there is nothing to look for.
  if (records.every((record) => record.ttlSeconds === common)) return;
  const ownerNumbers = new Map<string, number>();
  const firsts = new Map<number, number>();
  for (const [index, record] of records.entries()) {
    const owner = owners[index] ?? "";
    let ownerNumber = ownerNumbers.get(owner);
    if (ownerNumber === undefined) {
      ownerNumber = ownerNumbers.size;
      ownerNumbers.set(owner, ownerNumber);
    }
    const key = ownerNumber * 65_536 + typeNumberOf(record);
    const firstIndex = firsts.get(key);
    if (firstIndex === undefined) {
      firsts.set(key, index);
      continue;
    }
    const ttlSeconds = records[firstIndex]?.ttlSeconds ?? 0;
    if (record.ttlSeconds === ttlSeconds) continue;
    if (warnings.length < zoneFileBounds.problems) {
      const where = `${reading.files[reading.fileOfRecord[firstIndex] ?? 0]}:${reading.lineOfRecord[firstIndex]}`;
      const message =
        `the TTL ${record.ttlSeconds} of ${record.name} ${record.type} is taken as ${ttlSeconds}, ` +
        `which the first record of this RRset has (${where})`;
      const file = reading.files[reading.fileOfRecord[index] ?? 0] ?? "";
      warnings.push({ file, line: reading.lineOfRecord[index] ?? 0, column: 0, message });
    }
    records[index] = Object.freeze({ ...record, ttlSeconds });
  }
}

function addProblem(reading: Reading, file: File, line: number, column: number, message: string): void {
  if (reading.problems.length >= zoneFileBounds.problems) return;
  reading.problems.push({ file: reading.files[file.index] ?? "", line, column, message });
  if (reading.problems.length === zoneFileBounds.problems) reading.isOver = true;
}

function addFieldProblem(reading: Reading, file: File): void {
  const { scanner, fields } = file;
  const line = scanner.lines[fields.problemField] ?? scanner.entryLine;
  addProblem(reading, file, line, scanner.columns[fields.problemField] ?? 0, fields.problem);
}
