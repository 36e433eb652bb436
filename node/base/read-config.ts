/**
 * Reads the settings of one process from a YAML file and environment variables, checks them against one schema, reports
 * all problems at once, and freezes the result.
 *
 * An environment variable overrides one key: PREFIX_CACHE__DISK_BYTES=5 sets `cache.diskBytes` (two underscores descend
 * a level, one separates words). A variable with the prefix that names no key is fatal, so that no typo goes unnoticed.
 * Settings contain paths of secret files, never secrets.
 */
import { readFile } from "node:fs/promises";
import type { Static, TSchema } from "typebox";
import { LineCounter, parse, parseDocument } from "yaml";
import { check, type Checked, pathOf, problemLines, type ValueProblem } from "./schema.ts";
import { systemReason } from "./system-reason.ts";
import { type LineOf, lineReader, withLine } from "./yaml-lines.ts";
import { yamlProblem } from "./yaml-problem.ts";

/** Problems that the user must fix. `main` prints the message and exits with status 2. */
export class ConfigError extends Error {
  readonly problems: readonly ValueProblem[];
  constructor(where: string, problems: readonly ValueProblem[]) {
    super([`${where} has problems:`, ...problemLines(problems).map((line) => `  ${line}`)].join("\n"));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/**
 * @param file path of the YAML file, or undefined for defaults and environment alone
 * @param prefix of the environment variables, such as `NEARCAST_EDGE`
 */
export async function loadConfig<Schema extends TSchema>(
  schema: Schema,
  file: string | undefined,
  prefix: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Static<Schema>> {
  const { value, lineOf } = file === undefined ? { value: {}, lineOf: () => undefined } : await readYamlFile(file);
  const checked = checkConfig(schema, value, prefix, environment);
  if (checked.ok) return checked.value;
  const isFromEnvironment = pathsSetBy(prefix, environment);
  const problems = checked.problems.map((one) => (isFromEnvironment(one.path) ? one : withLine(one, lineOf)));
  throw new ConfigError(file ?? "the configuration", problems);
}

/** @throws ConfigError if it can't be read or is not YAML */
async function readYamlFile(file: string): Promise<{ value: unknown; lineOf: LineOf }> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new ConfigError(file, [{ path: "", message: `can't be read: ${systemReason(error)}` }]);
  }
  try {
    const lineCounter = new LineCounter();
    const document = parseDocument(text, { lineCounter });
    const [error] = document.errors;
    if (error !== undefined) {
      const { line, col } = lineCounter.linePos(error.pos[0]);
      throw new ConfigError(file, [{ path: "", message: `${yamlProblem(error)} at line ${line}, column ${col}` }]);
    }
    return { value: document.toJS() ?? {}, lineOf: lineReader(document, lineCounter) };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(file, [{ path: "", message: (error as Error).message }]);
  }
}

/** Whether a variable set the value at this path, or a value that contains it: then the file is not at fault. */
function pathsSetBy(
  prefix: string,
  environment: Readonly<Record<string, string | undefined>>,
): (path: string) => boolean {
  const paths = Object.keys(environment)
    .filter((variable) => variable.startsWith(`${prefix}_`))
    .map((variable) => pathOf(stepsOf(variable, prefix)));
  return (path) => paths.some((one) => path === one || path.startsWith(`${one}.`) || path.startsWith(`${one}[`));
}

/** The pure part of loadConfig(): takes a value and the environment, returns the checked settings or all problems. */
export function checkConfig<Schema extends TSchema>(
  schema: Schema,
  value: unknown,
  prefix: string,
  environment: Readonly<Record<string, string | undefined>>,
): Checked<Static<Schema>> {
  const settings: unknown = structuredClone(value);
  const problems: ValueProblem[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (text === undefined || !variable.startsWith(`${prefix}_`)) continue;
    const steps = stepsOf(variable, prefix);
    const scalar = readScalar(text);
    if (scalar === undefined) problems.push({ path: variable, message: "is not a valid YAML value; put it in quotes" });
    else if (!set(settings, steps, scalar.value)) {
      problems.push({ path: variable, message: "can't be set: a part of its path is not an object" });
    }
  }
  const checked = check(schema, settings);
  if (problems.length === 0) return checked;
  return { ok: false, problems: checked.ok ? problems : [...problems, ...checked.problems] };
}

/** `PREFIX_CACHE__DISK_BYTES` → `cache`, `diskBytes`. */
function stepsOf(variable: string, prefix: string): string[] {
  return variable
    .slice(prefix.length + 1)
    .split("__")
    .map(camelCase);
}

function camelCase(words: string): string {
  return words.toLowerCase().replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Parses the text as a YAML scalar: a number, boolean or string; undefined if it is not valid. */
function readScalar(text: string): { value: unknown } | undefined {
  try {
    return { value: parse(text) as unknown };
  } catch {
    return undefined;
  }
}

/** Sets a nested value. */
function set(target: unknown, steps: readonly string[], value: unknown): boolean {
  const [step, ...deeper] = steps;
  if (typeof target !== "object" || target === null || step === undefined || step === "__proto__") return false;
  const inside = target as Record<string, unknown>;
  if (deeper.length === 0) {
    inside[step] = value;
    return true;
  }
  inside[step] ??= {};
  return set(inside[step], deeper, value);
}
