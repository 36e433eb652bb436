/**
 * A fleet document's text → a frozen Fleet, or the list of all its problems: of the YAML, of the schema, and what no
 * schema can say (names that must be unique, must exist, or must fit each other).
 *
 * `nearcast fleet check`, the origin and every edge read it through here.
 */
import { type Document, isScalar, Lexer, LineCounter, parseDocument, visit } from "yaml";
import { check, type Checked, type ValueProblem } from "#base/schema.ts";
import { type LineOf, lineReader, withLine } from "#base/yaml-lines.ts";
import { yamlProblem } from "#base/yaml-problem.ts";
import { canonicalName } from "#record/domain-names.ts";
import { type Fleet, fleetSchema } from "./document.ts";
import { contradictionsOfSites } from "./site-checks.ts";
import { contradictionsOfPlans, contradictionsOfPolicy, withTtlFloors } from "./steering-checks.ts";
import { type ReadZone, type ReadZoneText, readZones } from "#record/written-zones.ts";
import { contradictionsOfSteeredName, contradictionsOfZones } from "#record/zone-checks.ts";
import { namesOfZones } from "#record/zone-names.ts";

/** 4 MiB of zone files (some 100,000 records) take 0.3 to 0.5 s to read; edges and the origin do that in a thread. */
export const fleetBytesMax = 4 * 1024 * 1024;
/**
 * The cost of YAML depends on its keys and values: 1 MiB of them (ten thousand records) take about as long as 4 MiB of
 * zone files. Long values, such as zone files, count only up to a limit.
 */
const yamlBytesMax = 1024 * 1024;
const yamlValueBytesMax = 1024;
/** Invalid YAML is reported by its first errors; most others follow from them. */
const yamlErrorsMax = 20;
/** The same limit as in base/schema.ts; also for warnings. */
const contradictionsMax = 1000;

export interface FleetReader {
  /** Reads the zone files that the document names. Undefined: it may name none. */
  readZoneText?: ReadZoneText;
  /** Called for what works but is unwise. The document is still valid. */
  warn?: (warning: ValueProblem) => void;
}

/** Reads the YAML text of a fleet document; all its problems at once, or the frozen document. */
export function parseFleet(yamlText: string, reader: FleetReader = {}): Checked<Fleet> {
  if (Buffer.byteLength(yamlText) > fleetBytesMax) {
    return {
      ok: false,
      problems: [{ path: "", message: `the document is too large; at most ${fleetBytesMax} bytes are allowed` }],
    };
  }
  if (yamlText.length > yamlBytesMax && yamlLengthOf(yamlText) > yamlBytesMax) {
    const message = `the document is too large: at most ${yamlBytesMax} bytes are allowed, not counting zone files`;
    return { ok: false, problems: [{ path: "", message }] };
  }
  const lineCounter = new LineCounter();
  const at = (offset: number, message: string): ValueProblem => {
    const { line, col } = lineCounter.linePos(offset);
    return { path: "", message: `${message} at line ${line}, column ${col}` };
  };
  try {
    // Neither pretty errors nor the parser's own look for doubled keys: both take quadratic time.
    const document = parseDocument(yamlText, { prettyErrors: false, uniqueKeys: false, lineCounter });
    const problems = document.errors.slice(0, yamlErrorsMax).map((error) => at(error.pos[0], yamlProblem(error)));
    if (problems.length === 0) {
      for (const { key, offset } of doubledKeysOf(document)) problems.push(at(offset, `the key ${key} appears twice`));
    }
    if (problems.length > 0) return { ok: false, problems };
    return checkLocated(document.toJS({ maxAliasCount: 100 }), reader, lineReader(document, lineCounter));
  } catch (error) {
    // Aliases that would expand without end, or brackets nested too deep for the stack.
    const message = error instanceof Error ? (error.message.split("\n", 1)[0] ?? "") : String(error);
    return { ok: false, problems: [{ path: "", message }] };
  }
}

/** As checkFleet(), with the lines of what it finds. */
function checkLocated(value: unknown, reader: FleetReader, lineOf: LineOf): Checked<Fleet> {
  const checked = checkFleet(value, { ...reader, warn: (warning) => reader.warn?.(withLine(warning, lineOf)) });
  if (checked.ok) return checked;
  return { ok: false, problems: checked.problems.map((problem) => withLine(problem, lineOf)) };
}

/** Length of the text without its long values. Counts no further than needed. */
function yamlLengthOf(yamlText: string): number {
  let length = 0;
  for (const token of new Lexer().lex(yamlText)) {
    length += Math.min(token.length, yamlValueBytesMax);
    if (length > yamlBytesMax) break;
  }
  return length;
}

/** YAML 1.2 §3.2.1.1: the keys of a mapping are unique. */
function doubledKeysOf(document: Document): { key: string; offset: number }[] {
  const doubled: { key: string; offset: number }[] = [];
  visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) doubled.push({ key: String(key.value), offset: key.range?.[0] ?? 0 });
        seen.add(key.value);
      }
    },
  });
  return doubled.slice(0, yamlErrorsMax);
}

/** Checks a fleet document that is already a value, such as one read from JSON. */
export function checkFleet(value: unknown, reader: FleetReader = {}): Checked<Fleet> {
  const checked = check(fleetSchema, withTtlFloors(value));
  if (!checked.ok) return checked;
  const { zones, problems, warnings } = readZones(checked.value.zones, value, {
    readText: reader.readZoneText,
    textBytesMax: fleetBytesMax,
  });
  let warned = 0;
  const warn = (warning: ValueProblem): void => {
    if (warned++ < contradictionsMax) reader.warn?.(warning);
  };
  warnings.forEach(warn);
  // Without all records, the rules would report false problems.
  if (problems.length > 0) return { ok: false, problems: problems.slice(0, contradictionsMax) };
  const fleet: Fleet = Object.freeze({ ...checked.value, zones: Object.freeze(zones.map(({ zone }) => zone)) });
  const contradictions: ValueProblem[] = [];
  for (const problem of contradictionsOf(fleet, zones, warn)) {
    if (contradictions.push(problem) === contradictionsMax) break;
  }
  return contradictions.length === 0 ? { ok: true, value: fleet } : { ok: false, problems: contradictions };
}

/** What browsers demand of policies that they build in (https://hstspreload.org). */
const preloadSecondsMin = 31_536_000;

function* contradictionsOfHsts({ hosts }: Fleet): Generator<ValueProblem> {
  for (const [index, { hsts }] of hosts.entries()) {
    if (hsts?.preload !== true) continue;
    const path = `hosts[${index}].hsts`;
    if (!hsts.includeSubDomains) yield { path: `${path}.includeSubDomains`, message: "must be true with preload" };
    if (hsts.maxAgeSeconds < preloadSecondsMin) {
      const message = `${hsts.maxAgeSeconds} must be at least ${preloadSecondsMin} with preload`;
      yield { path: `${path}.maxAgeSeconds`, message };
    }
  }
}

/** What a schema can't say: names that must be unique, must exist, or must fit each other. */
function* contradictionsOf(
  fleet: Fleet,
  zones: readonly ReadZone[],
  warn: (warning: ValueProblem) => void,
): Generator<ValueProblem> {
  yield* twice(
    fleet.zones.map((one) => canonicalName(one.name)),
    (index) => `zones[${index}].name`,
  );
  yield* twice(
    fleet.sites.map((one) => one.name),
    (index) => `sites[${index}].name`,
  );
  yield* twice(
    fleet.hosts.map((one) => canonicalName(one.name)),
    (index) => `hosts[${index}].name`,
  );
  yield* contradictionsOfHsts(fleet);
  yield* twice(
    fleet.steering.map((one) => canonicalName(one.name)),
    (index) => `steering[${index}].name`,
  );
  const nodes = fleet.sites.flatMap((one, s) =>
    one.nodes.map((node, n) => ({ name: node.name, path: `sites[${s}].nodes[${n}].name` })),
  );
  yield* twice(
    nodes.map((one) => one.name),
    (index) => nodes[index]?.path ?? "",
  );

  yield* contradictionsOfSites(fleet, warn);
  const siteNames = new Set(fleet.sites.map((one) => one.name));
  const names = namesOfZones(zones, fleet.steering);
  yield* contradictionsOfZones(names, warn);
  for (const [index, steered] of fleet.steering.entries()) {
    const path = `steering[${index}]`;
    yield* contradictionsOfSteeredName(steered, names, path);
    yield* contradictionsOfPolicy(steered, fleet, siteNames, path);
  }
  yield* contradictionsOfPlans(fleet);
}

function* twice(names: readonly string[], pathAt: (index: number) => string): Generator<ValueProblem> {
  const seen = new Set<string>();
  for (const [index, name] of names.entries()) {
    if (seen.has(name)) yield { path: pathAt(index), message: `"${name}" appears twice` };
    seen.add(name);
  }
}
