/**
 * The terms of a fleet document that a release understands, in a form that another release can compare; pure.
 *
 *   schema ──vocabularyOf()──▶ { "limits.renderQueueMax": { types: ["integer"], range: [1, 100000] }, … }
 *   document + vocabulary ──unknownTo()──▶ what a node with this vocabulary would refuse
 *
 * A term is the path of a key: `[]` stands for any entry of a list, `.*` for any name of a map, and `(assets)` for the
 * kind on which the keys behind it depend, as in `hosts[](assets).origin`. What a path allows is compared fact by fact.
 * Patterns can't be compared by what they let through, so a value under a pattern that was changed counts as unknown:
 * a wider value is better given a new key (deploy/docs/architecture.md, "Mixed releases").
 */
import { type Static, Type } from "typebox";
import type { JsonSchema } from "#base/json-schema.ts";

const bound = Type.Union([Type.Number(), Type.Null()]);
const termSchema = Type.Object({
  types: Type.Optional(Type.Array(Type.String({ maxLength: 16 }), { maxItems: 8 })),
  values: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 256 })),
  /** Of a number; the length of a text or a list; the number of a map's names. */
  range: Type.Optional(Type.Tuple([bound, bound])),
  pattern: Type.Optional(Type.String({ maxLength: 512 })),
});
type Term = Static<typeof termSchema>;

/** The vocabulary as a node reports it, with ample room for growth. */
export const vocabularySchema = Type.Record(Type.String({ pattern: "^[^\\s]{1,200}$" }), termSchema, {
  additionalProperties: false,
  maxProperties: 2000,
});
export type Vocabulary = Readonly<Record<string, Term>>;

/** Everything that documents of this schema may say. */
export function vocabularyOf(schema: object): Vocabulary {
  const terms: Record<string, Term> = {};
  for (const [path, term] of termsOf(schema, "")) terms[path] = term;
  return terms;
}

function* termsOf(schema: JsonSchema, path: string): Generator<[string, Term]> {
  if (schema.oneOf !== undefined) {
    const tag = schema.discriminator?.propertyName ?? "";
    yield [join(path, tag), { values: schema.oneOf.map((kind) => kindOf(kind, tag)) }];
    for (const kind of schema.oneOf) yield* keysOf(kind, `${path}(${kindOf(kind, tag)})`, tag);
    return;
  }
  if (path !== "") yield [path, termOf(schema)];
  yield* keysOf(schema, path);
}

function* keysOf(schema: JsonSchema, path: string, tag?: string): Generator<[string, Term]> {
  for (const [key, inner] of Object.entries(schema.properties ?? {})) {
    if (key !== tag) yield* termsOf(inner, join(path, key));
  }
  for (const inner of Object.values(schema.patternProperties ?? {})) yield* termsOf(inner, `${path}.*`);
  if (schema.items !== undefined) yield* termsOf(schema.items, `${path}[]`);
}

function termOf(schema: JsonSchema): Term {
  const { type, enum: words, const: word, minimum, maximum, minLength, maxLength, minItems, maxItems } = schema;
  const values = word === undefined ? words : [word];
  const [least, most] = [minimum ?? minLength ?? minItems, maximum ?? maxLength ?? maxItems ?? schema.maxProperties];
  // The names that a map may have are a pattern, too.
  const names = Object.keys(schema.patternProperties ?? {}).join(" ");
  const pattern = schema.pattern ?? (schema.format === undefined ? names : `format ${schema.format}`);
  return {
    ...(type === undefined ? {} : { types: [type].flat() }),
    ...(values === undefined ? {} : { values: values.map(String) }),
    ...(least === undefined && most === undefined ? {} : { range: [least ?? null, most ?? null] }),
    ...(pattern === "" ? {} : { pattern }),
  };
}

function kindOf(schema: JsonSchema, tag: string): string {
  return String(schema.properties?.[tag]?.const);
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

/** A value of a document that a vocabulary does not cover: its path, and the reason. */
export interface UnknownWord {
  readonly path: string;
  readonly message: string;
}

/**
 * The values of a document that a node with this `vocabulary` would reject.
 * @param value the document as it is written, without defaults; it must have passed `schema`
 * @param schema this release's own, which maps each value to its term
 */
export function* unknownTo(vocabulary: Vocabulary, value: unknown, schema: object): Generator<UnknownWord> {
  const own = vocabularyOf(schema);
  for (const { path, term, value: inner } of valuesOf(value, schema, "", "")) {
    const known = Object.hasOwn(vocabulary, term) ? vocabulary[term] : undefined;
    const message = known === undefined ? "is not a known key" : whyUnknown(inner, known, own[term]);
    if (message !== undefined) yield { path, message };
  }
}

interface PlacedValue {
  path: string;
  term: string;
  value: unknown;
}

/** Values below an unknown key are not reported: the key is enough. */
function* valuesOf(value: unknown, schema: JsonSchema, path: string, term: string): Generator<PlacedValue> {
  if (schema.oneOf !== undefined) {
    const tag = schema.discriminator?.propertyName ?? "";
    const kind = String(fieldsOf(value)[tag]);
    yield { path: join(path, tag), term: join(term, tag), value: kind };
    const member = schema.oneOf.find((one) => kindOf(one, tag) === kind);
    if (member !== undefined) yield* insideOf(value, member, path, `${term}(${kind})`, tag);
    return;
  }
  if (term !== "") yield { path, term, value };
  yield* insideOf(value, schema, path, term);
}

function* insideOf(
  value: unknown,
  schema: JsonSchema,
  path: string,
  term: string,
  tag?: string,
): Generator<PlacedValue> {
  if (schema.items !== undefined && Array.isArray(value)) {
    for (const [index, one] of value.entries()) yield* valuesOf(one, schema.items, `${path}[${index}]`, `${term}[]`);
    return;
  }
  const [named] = Object.values(schema.patternProperties ?? {});
  for (const [key, inner] of Object.entries(fieldsOf(value))) {
    const property = schema.properties?.[key];
    if (property !== undefined && key !== tag) yield* valuesOf(inner, property, join(path, key), join(term, key));
    else if (property === undefined && named !== undefined) yield* valuesOf(inner, named, join(path, key), `${term}.*`);
  }
}

function whyUnknown(value: unknown, known: Term, own: Term | undefined): string | undefined {
  if (known.types !== undefined && !known.types.some((type) => isOfType(value, type))) {
    return `must be ${known.types.join(" or ")}`;
  }
  if (known.values !== undefined && !known.values.includes(String(value))) {
    return `${JSON.stringify(value)} is not one of ${known.values.join(", ")}`;
  }
  const size = sizeOf(value);
  const [least, most] = known.range ?? [null, null];
  if (size !== undefined && least !== null && size < least) return `${size} is below ${least}`;
  if (size !== undefined && most !== null && size > most) return `${size} is above ${most}`;
  return known.pattern === own?.pattern ? undefined : "has a form that the release may not accept";
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case "integer":
      return Number.isInteger(value);
    case "array":
      return Array.isArray(value);
    case "null":
      return value === null;
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    default:
      return typeof value === type;
  }
}

/** What a range is of. JSON Schema counts the code points of a text. */
function sizeOf(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "string") return value.length - (value.match(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g)?.length ?? 0);
  if (Array.isArray(value)) return value.length;
  return typeof value === "object" && value !== null ? Object.keys(value).length : undefined;
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
