/**
 * A zone file's text → the zone's records and its SOA, or the list of its problems (RFC 1035 §5.1, RFC 2308 §4).
 *
 *   text ─scan─▶ entry ─┬─▶ $ORIGIN $TTL             what later entries start from
 *                       ├─▶ $INCLUDE ─▶ the same for another file, one level deeper
 *                       ├─▶ $GENERATE ─▶ many records
 *                       └─▶ owner, TTL, class, type ─▶ take-record.ts ─▶ a record
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
import { nameFrom, whyNoName } from "../name-text.ts";
import type { ZoneRecord } from "../types.ts";
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
import { generateRecords } from "./generate-records.ts";
import {
  addFieldProblem,
  addProblem,
  type File,
  type Reading,
  readRecord,
  takeTtlAndClass,
  zoneFileBounds,
  type ZoneFileProblem,
  type ZoneFileSource,
} from "./reading-state.ts";
import { fieldFlags, newScanner, scanEntry } from "./scan.ts";
import { isSoa, takeSoa } from "./take-record.ts";
import { uniteTtls } from "./unite-ttls.ts";
import { quote } from "./words.ts";

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
      generateRecords(reading, file);
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
