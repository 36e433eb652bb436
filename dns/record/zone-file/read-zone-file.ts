/**
 * Reads the text of a zone file into the zone's records and SOA, or a list of problems (RFC 1035 §5.1, RFC 2308 §4).
 *
 *   text ─scan─▶ entry ─┬─▶ $ORIGIN $TTL             defaults for later entries
 *                       ├─▶ $INCLUDE ─▶ the same for another file, one level deeper
 *                       ├─▶ $GENERATE ─▶ many records
 *                       └─▶ owner, TTL, class, type ─▶ take-record.ts ─▶ a record
 *
 * Never throws, whatever the text is. The work is linear in the text and in the output of $GENERATE. Everything that
 * could grow has a bound in `zoneFileBounds`; exceeding one is a problem.
 *
 * Choices where servers differ or RFC 1035 is silent:
 *   - An RRset has the TTL of its first record, as in BIND. A warning names each record with another TTL.
 *   - A record without a TTL gets the TTL of $TTL, else of the last record that stated one, else the minimum of the
 *     preceding SOA, as in BIND.
 *   - The first record after $INCLUDE, and of an included file, must state its owner. So a file reads the same wherever
 *     it is included, and the text with all files inlined (`flatText`) reads the same as the files.
 *   - No record may lie outside the zone. A quoted string ends on its line. The class is always IN.
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

/** File and line of each record, in the same order as the records. */
interface Places {
  readonly files: readonly string[];
  readonly fileOfRecord: readonly number[];
  readonly lineOfRecord: readonly number[];
}

export interface ZoneFile {
  readonly records: readonly ZoneRecord[];
  /** Owner of each record in the form of canonicalName(), in the same order: computing it again would be slow. */
  readonly owners: readonly string[];
  readonly soa: ZoneSoa;
  readonly places: Places;
  readonly warnings: readonly ZoneFileProblem[];
  /** The text with all included files inlined. */
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
    if (soa === undefined) problems.push({ ...whole, message: `the zone needs a SOA record at ${apex}` });
    if (!reading.hasApexNs) problems.push({ ...whole, message: `the zone needs at least one NS record at ${apex}` });
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
    const message = `the files of a zone must not have more than ${zoneFileBounds.charactersMax} characters`;
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
    if (file.owner === "")
      refuse(fields, "the record needs an owner: it is the first one in this file or after an $INCLUDE", 0);
  } else if (scanner.text.charCodeAt(scanner.starts[0] ?? 0) === 0x24 && !hasFlag(fields, 0, fieldFlags.quoted)) {
    readDirective(reading, file);
    return;
  } else {
    const owner = takeName(fields, "an owner");
    if (fields.problem !== "") {
      // Report a bad owner once: later records that inherit it are read as if it were the apex.
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
    refuse(fields, `the SOA must be at the apex ${reading.apex} (got ${quote(file.owner)})`, 0);
    return;
  }
  if (reading.soa !== undefined) {
    refuse(fields, "a zone has only one SOA: remove this second one", 0);
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
  if (hasMore(fields))
    refuse(fields, `unexpected ${quote(rawField(fields, fields.next))} at the end of the directive`, fields.next);
}

/** $INCLUDE file [origin]: reads the file's records here. Its origin is its own; this file's origin stays. */
function include(reading: Reading, file: File): void {
  const { fields, scanner } = file;
  const written = takeOctets(fields, "a file name", 1024);
  const path = typeof written === "string" ? written : Buffer.from(written).toString();
  const origin = hasMore(fields) ? takeLastName(fields, "an origin") : fields.origin;
  if (fields.problem !== "" || origin === undefined) return;
  const { includeDepth, files } = zoneFileBounds;
  if (reading.source.include === undefined) {
    refuse(fields, "$INCLUDE is allowed only in zone files that the document names with `file`", 0);
    return;
  }
  if (file.depth === includeDepth) {
    refuse(fields, `$INCLUDE must not be nested more than ${includeDepth} deep (got ${quote(path)})`, 1);
    return;
  }
  if (reading.files.length === files) {
    refuse(fields, `a zone must not have more than ${files} files`, 1);
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
  // Zone files ignore carriage returns, and YAML would have to escape the whole text because of them.
  reading.flat.push(file.scanner.text.slice(file.flatUntil, until).replaceAll("\r\n", "\n"));
}
