/**
 * How Fastify validates bodies and query strings: strictly, with all problems in one sentence. Only query strings are
 * coerced, because their values are all strings.
 */
import { valueFormats } from "#base/schema.ts";
import { Ajv } from "ajv";
import type { FastifySchemaCompiler, FastifySchemaValidationError } from "fastify";

const rules = {
  allErrors: true,
  useDefaults: true,
  removeAdditional: false,
  strict: false,
  formats: { ...valueFormats },
} as const;
const bodies = new Ajv(rules);
const queries = new Ajv({ ...rules, coerceTypes: true });

export const compileValidator: FastifySchemaCompiler<object> = ({ schema, httpPart }) =>
  (httpPart === "querystring" ? queries : bodies).compile(schema);

/** Such as `version: must be >= 1; colour: is not known`. */
export function describeProblems(errors: FastifySchemaValidationError[], part: string): Error {
  const lines = errors.map(({ instancePath, keyword, message, params }) => {
    const unknown = params["additionalProperty"];
    const path = instancePath.slice(1).replaceAll("/", ".");
    if (keyword === "additionalProperties") return `${path === "" ? "" : `${path}.`}${String(unknown)}: is not known`;
    const allowed = params["allowedValues"];
    const range = Array.isArray(allowed) ? ` (${allowed.join(", ")})` : "";
    return `${path === "" ? `the ${part}` : path}: ${message ?? "is not allowed"}${range}`;
  });
  return new Error(lines.slice(0, 20).join("; "));
}
