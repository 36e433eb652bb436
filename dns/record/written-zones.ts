/**
 * The zones of a fleet document as they are written → as the rest of the program knows them (document.ts): zone files
 * become records here, and nobody else meets them.
 *
 *   { name, nameservers, records }   taken as it is
 *   { name, text }                   a zone file: read
 *   { name, file }                   the same beside the document: read where the reader has files (the command line),
 *                                    refused where it has not (origin, edges)
 */
import type { ValueProblem } from "#base/schema.ts";
import type { WrittenZone, Zone } from "./zone.ts";
import { readZoneFile } from "./zone-file/read-zone-file.ts";
import type { IncludedFile, ZoneFileProblem } from "./zone-file/reading-state.ts";

/**
 * Records of all zone files of a document; $GENERATE makes many of little text. An edge reads them in its main thread,
 * which does nothing else meanwhile, for 2 to 4 µs each.
 */
const zoneFileRecordsMax = 200_000;

/** Gives a zone file. `from`: the zone file that includes it; undefined: the document names it. */
export type ReadZoneText = (path: string, from: string | undefined) => IncludedFile;

export interface ReadZone {
  readonly zone: Zone;
  /** `zones[0]` */
  readonly path: string;
  /** Where a record stands, for problems; `key` is one of its keys. */
  readonly placeOf: (record: number, key?: string) => string;
  /** Of a zone file: the records' owners as canonicalName() has them. */
  readonly owners: readonly string[] | undefined;
}

export interface ReadZones {
  readonly zones: readonly ReadZone[];
  readonly problems: readonly ValueProblem[];
  readonly warnings: readonly ValueProblem[];
}

/**
 * @param written checked by its schema
 * @param value the document before that, without the defaults that the schema fills in
 */
export function readZones(
  written: readonly WrittenZone[],
  value: unknown,
  options: { readText: ReadZoneText | undefined; textBytesMax: number },
): ReadZones {
  const zones: ReadZone[] = [];
  const problems: ValueProblem[] = [];
  const warnings: ValueProblem[] = [];
  const left = { records: zoneFileRecordsMax, characters: options.textBytesMax };
  for (const [index, one] of written.entries()) {
    const path = `zones[${index}]`;
    if (one.text === undefined && one.file === undefined) {
      if (one.nameservers === undefined) problems.push({ path: `${path}.nameservers`, message: "is missing" });
      const zone: Zone = Object.freeze({ ...one, nameservers: one.nameservers ?? [] });
      const placeOf = (record: number, key?: string): string =>
        `${path}.records[${record}]${key === undefined ? "" : `.${key}`}`;
      zones.push({ zone, path, placeOf, owners: undefined });
      continue;
    }
    const key = one.text === undefined ? "file" : "text";
    for (const extra of keysBeside(value, index, key)) {
      problems.push({ path: `${path}.${extra}`, message: `has no place beside ${key}: the zone file says it all` });
    }
    const source = sourceOf(one, path, options.readText);
    if (!source.ok) {
      problems.push({ path: `${path}.file`, message: source.problem });
      continue;
    }
    left.characters -= source.text.length;
    if (left.characters < 0) {
      // Reached by aliases only: a text that stands in the document is counted with it.
      problems.push({
        path: `${path}.${key}`,
        message: `all zone files together are over ${options.textBytesMax} bytes`,
      });
      break;
    }
    const { readText } = options;
    const read = readZoneFile({
      file: source.file,
      text: source.text,
      zone: one.name,
      recordsMax: left.records,
      include: one.text === undefined ? readText : undefined,
    });
    if (!read.ok) {
      left.records -= read.recordsRead;
      problems.push(...read.problems.map(problemAt));
      continue;
    }
    const { records, owners, soa, places } = read.value;
    left.records -= records.length;
    warnings.push(...read.value.warnings.map(problemAt));
    const zone: Zone = Object.freeze({
      name: one.name,
      ttlSeconds: soa.ttlSeconds,
      negativeTtlSeconds: soa.minimumSeconds,
      nameservers: Object.freeze([]),
      records: Object.freeze(records),
      soa,
    });
    const placeOf = (record: number): string =>
      `${places.files[places.fileOfRecord[record] ?? 0]}, line ${places.lineOfRecord[record]}`;
    zones.push({ zone, path, placeOf, owners });
  }
  return { zones, problems, warnings };
}

function sourceOf(zone: WrittenZone, path: string, readText: ReadZoneText | undefined): IncludedFile {
  if (zone.text !== undefined) return { ok: true, file: `${path}.text`, text: zone.text };
  const shown = JSON.stringify(zone.file);
  if (readText === undefined) {
    return {
      ok: false,
      problem: `${shown} is a file: publish with \`nearcast fleet apply\`, which puts its text here`,
    };
  }
  const found = readText(zone.file ?? "", undefined);
  return found.ok ? found : { ok: false, problem: `${shown} ${found.problem}` };
}

/** Keys that the author wrote, defaults not among them. */
function keysBeside(value: unknown, index: number, key: "file" | "text"): string[] {
  const zones = (value as { zones?: unknown } | null)?.zones;
  const zone: unknown = Array.isArray(zones) ? zones[index] : undefined;
  return typeof zone === "object" && zone !== null
    ? Object.keys(zone).filter((one) => one !== "name" && one !== key)
    : [];
}

function problemAt({ file, line, column, message }: ZoneFileProblem): ValueProblem {
  if (line === 0) return { path: file, message };
  return { path: column === 0 ? `${file}, line ${line}` : `${file}, line ${line}, column ${column}`, message };
}
