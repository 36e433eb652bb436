/**
 * Checks values against a TypeBox (JSON Schema) schema, for configuration files and the fleet document.
 *
 * All problems are reported at once, each with the path of the value, what it is and what is allowed. Unknown keys are
 * problems; nothing is coerced; defaults are filled in; the result is deeply frozen.
 */
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import { isIP } from "node:net";
import type { Static, TSchema } from "typebox";
import { nearest } from "./did-you-mean.ts";

export interface ValueProblem {
  /** Where, such as `sites[0].place.latitude`; empty for the whole document. */
  path: string;
  /** What is wrong and what is allowed, such as `95 is above 90`. */
  message: string;
  /** Line of the text, from 1; absent if there was no text, or if the line is unknown. */
  line?: number;
}

export type Checked<T> = { ok: true; value: T } | { ok: false; problems: ValueProblem[] };

/** The formats that schemas may use. */
export const valueFormats: Readonly<Record<string, (text: string) => boolean>> = {
  // An address with a zone (fe80::1%eth0) is meaningful on one machine only.
  ip: (text) => isIP(text) !== 0 && !text.includes("%"),
  prefix: isPrefix,
  "http-url"(text) {
    const url = URL.parse(text);
    const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
    // In a base URL, a query or fragment would be dropped silently, and a password would leak.
    return isHttp && !/[?#@\s]/.test(text);
  },
};

const ajv = new Ajv({
  allErrors: true,
  useDefaults: true,
  discriminator: true,
  strictSchema: true,
  allowUnionTypes: true, // a number or a keyword, such as `threads: auto`
  verbose: true,
});
ajv.addKeyword({ keyword: "unit", schemaType: "string" }); // documentation only: printed in configuration.md
for (const [name, isValid] of Object.entries(valueFormats)) ajv.addFormat(name, isValid);

/** An address and a length (RFC 4632 §3.1). Octets past the length are not checked here. */
function isPrefix(text: string): boolean {
  const [address = "", length = "", ...rest] = text.split("/");
  if (rest.length > 0 || !/^(?:0|[1-9]\d{0,2})$/.test(length)) return false;
  const family = isIP(address);
  return family !== 0 && Number(length) <= (family === 4 ? 32 : 128);
}

/** Nobody fixes more at once, and a document of a megabyte can have a hundred thousand. */
const problemsMax = 1000;

const compiled = new WeakMap<TSchema, ValidateFunction>();

/** Checks a copy of `value` and does not modify the caller's. Each schema is compiled once. */
export function check<Schema extends TSchema>(schema: Schema, value: unknown): Checked<Static<Schema>> {
  let validate = compiled.get(schema);
  if (validate === undefined) {
    validate = ajv.compile(schema);
    compiled.set(schema, validate);
  }
  const copy: unknown = structuredClone(value);
  if (validate(copy)) return { ok: true, value: deepFreeze(copy) as Static<Schema> };
  return { ok: false, problems: (validate.errors ?? []).slice(0, problemsMax).map((error) => describe(error, copy)) };
}

function describe(error: ErrorObject, root: unknown): ValueProblem {
  const steps = error.instancePath.split("/").slice(1).map(unescapePointer);
  const value = steps.reduce<unknown>((inside, step) => (inside as Record<string, unknown> | undefined)?.[step], root);
  // Called only when needed: a value can be a megabyte.
  const shown = (): string => show(value);
  const params = error.params as Record<string, unknown>;
  const bound = String(params["limit"]);
  switch (error.keyword) {
    case "additionalProperties":
      return unknownKey(error, steps);
    case "required":
      return { path: pathOf([...steps, String(params["missingProperty"])]), message: "is missing" };
    case "minimum":
      return { path: pathOf(steps), message: `${shown()} is below the minimum of ${bound}` };
    case "maximum":
      return { path: pathOf(steps), message: `${shown()} is above the maximum of ${bound}` };
    case "minLength":
    case "maxLength":
      return { path: pathOf(steps), message: `${shown()} must have ${atBound(error.keyword)} ${bound} characters` };
    case "minItems":
    case "maxItems":
      return {
        path: pathOf(steps),
        message: `must have ${atBound(error.keyword)} ${bound} ${bound === "1" ? "entry" : "entries"}${got(value)}`,
      };
    case "minProperties":
    case "maxProperties":
      return {
        path: pathOf(steps),
        message: `must have ${atBound(error.keyword)} ${bound} ${bound === "1" ? "key" : "keys"}${got(value)}`,
      };
    case "const":
      return { path: pathOf(steps), message: `${shown()} must be ${show(params["allowedValue"])}` };
    case "enum":
      return {
        path: pathOf(steps),
        message: `${shown()} is not one of ${(params["allowedValues"] as unknown[]).join(", ")}`,
      };
    case "discriminator":
      return unknownKind(error, steps);
    case "type":
      return { path: pathOf(steps), message: `${shown()} must be ${typeWords(params["type"], error)}${wanted(error)}` };
    case "format":
      return {
        path: pathOf(steps),
        message: `${shown()} is not ${formatWords[String(params["format"])] ?? "valid"}${wanted(error)}`,
      };
    case "pattern":
      return { path: pathOf(steps), message: `${shown()} must match ${String(params["pattern"])}${wanted(error)}` };
    default:
      return { path: pathOf(steps), message: `${shown()} ${error.message ?? "is not allowed"}${wanted(error)}` };
  }
}

/** The name of a value of each format, for messages. */
const formatWords: Readonly<Record<string, string>> = {
  ip: "an IPv4 or IPv6 address",
  prefix: "an address prefix such as 192.0.2.0/24",
  "http-url": "an http:// or https:// URL without user, query and fragment",
};

/** `a string`, `an integer from 0 to 10 or a string`. @param types as in JSON Schema */
function typeWords(types: unknown, { parentSchema }: ErrorObject): string {
  const { minimum, maximum } = (parentSchema ?? {}) as { minimum?: number; maximum?: number };
  const range = minimum === undefined || maximum === undefined ? "" : ` from ${minimum} to ${maximum}`;
  return [types]
    .flat()
    .flatMap((type) => String(type).split(","))
    .map((type) => {
      if (type === "null") return type;
      const isNumber = type === "integer" || type === "number";
      return `${/^[aeiou]/.test(type) ? "an" : "a"} ${type}${isNumber ? range : ""}`;
    })
    .join(" or ");
}

/** How many entries or keys the value has. */
function got(value: unknown): string {
  return ` (got ${Object.keys(value as object).length})`;
}

/** The value of the key that tells the variants of an object apart. */
function unknownKind(error: ErrorObject, steps: readonly string[]): ValueProblem {
  const { tag, tagValue } = error.params as { tag: string; tagValue: unknown };
  const { oneOf = [] } = (error.parentSchema ?? {}) as {
    oneOf?: readonly { properties?: Record<string, { const?: unknown }> }[];
  };
  const kinds = oneOf.map((variant) => String(variant.properties?.[tag]?.const));
  const problem = tagValue === undefined ? "is missing" : `${show(tagValue)} is not a known kind`;
  return { path: pathOf([...steps, tag]), message: `${problem} (allowed: ${kinds.join(", ")})` };
}

function unknownKey({ params, parentSchema }: ErrorObject, steps: readonly string[]): ValueProblem {
  const key = String((params as Record<string, unknown>)["additionalProperty"]);
  const { properties = {} } = (parentSchema ?? {}) as { properties?: object };
  const meant = nearest(key, Object.keys(properties));
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
  return { path: pathOf([...steps, key]), message: `is not a known key${hint}` };
}

/** The schema's requirement in words, since a pattern alone tells people little. */
function wanted(error: ErrorObject): string {
  const { description } = (error.parentSchema ?? {}) as { description?: string };
  return description === undefined ? "" : ` (expected: ${description})`;
}

function atBound(keyword: string): string {
  return keyword.startsWith("min") ? "at least" : "at most";
}

/** `sites`, `0`, `name` → `sites[0].name`. */
export function pathOf(steps: readonly string[]): string {
  return steps.map((step, index) => (/^\d+$/.test(step) ? `[${step}]` : index === 0 ? step : `.${step}`)).join("");
}

function unescapePointer(step: string): string {
  return step.replaceAll("~1", "/").replaceAll("~0", "~");
}

/** A value as people would write it, shortened: configuration may contain long text. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}

/** Freezes the value deeply, in place. Typed arrays can't be frozen and stay as they are. */
export function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== "object" || value === null || value instanceof SharedArrayBuffer) return value;
  if (Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inside of Object.values(value)) deepFreeze(inside);
  return value;
}

/** The problems as lines of text, for a terminal or an error's detail: `hosts[0].kind (line 7): is missing`. */
export function problemLines(problems: readonly ValueProblem[]): string[] {
  return problems.map(({ path, message, line }) => {
    const where = line === undefined ? path : `${path} (line ${line})`;
    return path === "" ? message : `${where}: ${message}`;
  });
}
