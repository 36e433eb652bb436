/**
 * Converts the zones of a fleet document from their written form to the form that the rest of the program uses
 * (zone.ts). Zone files become records here; no other code sees them.
 *
 *   { name, nameservers, records }   used as is
 *   { name, text }                   the text of a zone file
 *   { name, file }                   a zone file beside the document: only the command reads files; the origin and
 *                                    edges refuse it
 */
import type { ValueProblem } from "#base/schema.ts";
import type { WrittenZone, Zone } from "./zone.ts";
import { readZoneFile } from "./zone-file/read-zone-file.ts";
import type { IncludedFile, ZoneFileProblem } from "./zone-file/reading-state.ts";

/**
 * Bound on the records of all zone files of a document, since a short $GENERATE makes many. Reading takes 2 to 4 µs per
 * record.
 */
const zoneFileRecordsMax = 200_000;

/** Reads a zone file. `from` is the zone file that includes it; undefined when the document names it. */
export type ReadZoneText = (path: string, from: string | undefined) => IncludedFile;

export interface ReadZone {
  readonly zone: Zone;
  /** `zones[0]` */
  readonly path: string;
  /** The path of a record, for problems; `key` is one of its keys. */
  readonly placeOf: (record: number, key?: string) => string;
  /** Zone files only: the records' owners in the form of canonicalName(). */
  readonly owners: readonly string[] | undefined;
}

export interface ReadZones {
  readonly zones: readonly ReadZone[];
  readonly problems: readonly ValueProblem[];
  readonly warnings: readonly ValueProblem[];
}

/**
 * @param written valid by its schema, with defaults filled in
 * @param value the document as its author wrote it, without those defaults
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
      if (one.nameservers === undefined)
        problems.push({ path: `${path}.nameservers`, message: "is required: list the nameservers of the zone" });
      const zone: Zone = Object.freeze({ ...one, nameservers: one.nameservers ?? [] });
      const placeOf = (record: number, key?: string): string =>
        `${path}.records[${record}]${key === undefined ? "" : `.${key}`}`;
      zones.push({ zone, path, placeOf, owners: undefined });
      continue;
    }
    const key = one.text === undefined ? "file" : "text";
    for (const extra of keysBeside(value, index, key)) {
      problems.push({ path: `${path}.${extra}`, message: `must be removed: the zone file in ${key} replaces it` });
    }
    const source = sourceOf(one, path, options.readText);
    if (!source.ok) {
      problems.push({ path: `${path}.file`, message: source.problem });
      continue;
    }
    left.characters -= source.text.length;
    if (left.characters < 0) {
      // Only YAML aliases can exceed this bound: text in the document counts towards the document's own bound.
      problems.push({
        path: `${path}.${key}`,
        message: `all zone files together must not be larger than ${options.textBytesMax} bytes`,
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
      problem:
        `${shown} is a file on your machine: publish with \`nearcast fleet apply\`, which replaces it ` +
        `with its text`,
    };
  }
  const found = readText(zone.file ?? "", undefined);
  return found.ok ? found : { ok: false, problem: `${shown} ${found.problem}` };
}

/** Keys that the author wrote; defaults don't count. */
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
