/**
 * Zone files next to a fleet document: `check` and `apply` read them and embed them in the published text.
 *
 * Paths are relative to the file that names them. After resolving links, they must be plain files in the directory of
 * the fleet document or below it: a document from somebody else must not publish other files.
 */
import { readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, relative, sep } from "node:path";
import type { Checked, ValueProblem } from "#base/schema.ts";
import { type LineOf, linesOfYaml } from "#base/yaml-lines.ts";
import type { Fleet } from "#document/document.ts";
import { inlineZoneFiles } from "#document/inline-zone-files.ts";
import { fleetBytesMax, parseFleet } from "#document/read-document.ts";
import type { ReadZoneText } from "#record/written-zones.ts";

type FoundText = ReturnType<ReadZoneText>;

export interface WholeFleet {
  readonly checked: Checked<Fleet>;
  /** Warnings, except those that the roster may resolve (node/review/warnings.ts). */
  readonly warnings: readonly ValueProblem[];
  /** The document with its zone files embedded: this text is published. */
  readonly text: string;
  /** Line numbers in the document as its author wrote it. */
  readonly lineOf: LineOf;
}

/**
 * Reads a fleet document and its zone files.
 * @param document its path
 * @param written its text
 * @throws Error when a zone file changes while it is read
 */
export function readWholeFleet(document: string, written: string): WholeFleet {
  const readZoneText = zoneTextReader(document);
  const warnings: ValueProblem[] = [];
  const checked = parseFleet(written, { readZoneText, warn: (warning) => warnings.push(warning) });
  if (!checked.ok) return { checked, warnings, text: written, lineOf: () => undefined };
  const text = inlineZoneFiles(written, readZoneText);
  // As the origin will see it: with the files, it may be too large. Problems in the files were reported above, per
  // file.
  const lineOf = linesOfYaml(written);
  return { checked: text === written ? checked : parseFleet(text), warnings, text, lineOf };
}

/**
 * Files are named by their path relative to the directory of the document, in problems too.
 * @param document path of the fleet document
 */
function zoneTextReader(document: string): ReadZoneText {
  return (path, from) => {
    try {
      return readBeside(realpathSync(dirname(document)), path, from);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return { ok: false, problem: code === "ENOENT" ? "does not exist" : `can't be read: ${message}` };
    }
  };
}

/** @throws Error of the file system */
function readBeside(root: string, path: string, from: string | undefined): FoundText {
  if (isAbsolute(path)) return { ok: false, problem: "must be a relative path" };
  const place = realpathSync(join(root, from === undefined ? "" : dirname(from), path));
  const file = relative(root, place);
  if (file === ".." || file.startsWith(`..${sep}`) || isAbsolute(file)) {
    return { ok: false, problem: "must be in the directory of the fleet document or below it" };
  }
  // Checked before opening: opening a pipe would wait for its writer.
  const found = statSync(place);
  if (!found.isFile()) return { ok: false, problem: "is not a regular file" };
  if (found.size > fleetBytesMax)
    return { ok: false, problem: `has ${found.size} bytes; at most ${fleetBytesMax} are allowed` };
  try {
    return { ok: true, file, text: new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(place)) };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return { ok: false, problem: "is not valid UTF-8; write other octets as \\DDD" };
  }
}
