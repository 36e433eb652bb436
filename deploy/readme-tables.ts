/**
 * The README's configuration tables, printed from the schemas, so that they can't say anything else.
 *
 *   <!-- table: edge -->      settings of an edge       (node/config.ts)
 *   <!-- table: origin -->    settings of the origin    (origin/config.ts)
 *   <!-- table: fleet -->     the fleet document        (node/document/document.ts)
 *   …  | Key | Value | Default | Meaning |  …
 *   <!-- end of table -->
 *
 * `node deploy/readme-tables.ts` prints all tables, `--write` replaces those in README.md; a test compares.
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { JsonSchema } from "#base/json-schema.ts";
import { fleetSchema } from "#document/document.ts";
import { format } from "prettier";
import { edgeConfigSchema } from "../node/config.ts";
import { originConfigSchema } from "../origin/config.ts";

// TypeBox's types say more than JsonSchema does; what is read here is the JSON Schema that they are at run time.
const asNode = (schema: object): JsonSchema => schema;

const schemas: Readonly<Record<string, JsonSchema>> = {
  edge: asNode(edgeConfigSchema),
  origin: asNode(originConfigSchema),
  fleet: asNode(fleetSchema),
};

/** Returns the README's text with every marked table as its schema says. @throws for a marker of no known table */
export async function withTables(readme: string): Promise<string> {
  const marked = /<!-- table: (\w+) -->[\s\S]*?<!-- end of table -->/g;
  const tables = new Map<string, string>();
  for (const [name, schema] of Object.entries(schemas)) tables.set(name, await printTable(schema));
  return readme.replaceAll(marked, (_all, name: string) => {
    const table = tables.get(name);
    if (table === undefined)
      throw new Error(`README.md marks a table "${name}", there is: ${[...tables.keys()].join(", ")}`);
    return `<!-- table: ${name} -->\n\n${table}\n\n<!-- end of table -->`;
  });
}

/** Laid out as prettier wants a file of Markdown. */
async function printTable(schema: JsonSchema): Promise<string> {
  const rows = [...rowsOf(schema, "")];
  const lines = rows.map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`);
  const table = ["| Key | Value | Default | Meaning |", "| --- | --- | --- | --- |", ...lines].join("\n");
  return (await format(table, { parser: "markdown", printWidth: 120 })).trimEnd();
}

function* rowsOf(node: JsonSchema, path: string): Generator<string[]> {
  if (node.oneOf !== undefined) {
    yield* rowsOfKinds(node.oneOf, node.discriminator?.propertyName ?? "", path);
    return;
  }
  for (const [key, inner] of Object.entries(node.properties ?? {})) {
    yield* rowsOfKey(inner, path === "" ? key : `${path}.${key}`, isNeeded(node, key, inner));
  }
}

/** Keys that several kinds have alike stand once; the kinds that have one, unless all do, stand beside it. */
function* rowsOfKinds(members: readonly JsonSchema[], tag: string, path: string): Generator<string[]> {
  const kindOf = (member: JsonSchema): string => String(member.properties?.[tag]?.const);
  const shared = new Map<string, { key: string; inner: JsonSchema; isRequired: boolean; kinds: string[] }>();
  for (const member of members) {
    for (const [key, inner] of Object.entries(member.properties ?? {})) {
      const isRequired = isNeeded(member, key, inner);
      const identity = key === tag ? key : JSON.stringify([key, inner, isRequired]);
      const known = shared.get(identity) ?? { key, inner, isRequired, kinds: [] };
      known.kinds.push(kindOf(member));
      shared.set(identity, known);
    }
  }
  for (const { key, inner, isRequired, kinds } of shared.values()) {
    if (key === tag) {
      yield [
        code(`${path}.${key}`),
        kinds.map(code).join(", "),
        "required",
        "the kind, on which the other keys depend",
      ];
      continue;
    }
    const only = kinds.length === members.length ? "" : ` (${kinds.join(", ")})`;
    for (const [name = "", ...cells] of rowsOfKey(inner, `${path}.${key}`, isRequired)) yield [name + only, ...cells];
  }
}

function isNeeded(owner: JsonSchema, key: string, inner: JsonSchema): boolean {
  return owner.required?.includes(key) === true && inner.default === undefined;
}

function* rowsOfKey(node: JsonSchema, path: string, isRequired: boolean): Generator<string[]> {
  if (node.properties !== undefined || node.oneOf !== undefined) {
    const isOptional = !isRequired && node.default === undefined;
    if (isOptional || node.description !== undefined) {
      yield [code(path), isOptional ? "section, may be left out" : "section", "", node.description ?? ""];
    }
    yield* rowsOf(node, path);
    return;
  }
  const { items } = node;
  if (node.type === "array" && items !== undefined) {
    const meaning = node.description ?? items.description ?? "";
    yield [code(path), `list of ${countText(node)}`, defaultText(node, isRequired), meaning];
    if (items.properties !== undefined || items.oneOf !== undefined) yield* rowsOf(items, `${path}[]`);
    return;
  }
  const [inner] = Object.values(node.patternProperties ?? {});
  if (inner !== undefined) {
    const count = node.maxProperties === undefined ? "" : `, at most ${node.maxProperties}`;
    yield [code(path), `map by name${count}`, defaultText(node, isRequired), node.description ?? ""];
    yield* inner.properties === undefined
      ? [[code(`${path}.NAME`), valueText(inner), "", inner.description ?? ""]]
      : rowsOf(inner, `${path}.NAME`);
    return;
  }
  yield [code(path), valueText(node), defaultText(node, isRequired), node.description ?? ""];
}

function countText({ minItems, maxItems }: JsonSchema): string {
  if (minItems !== undefined && minItems > 0)
    return maxItems === undefined ? `${minItems} or more` : `${minItems}–${maxItems}`;
  return maxItems === undefined ? "any number" : `at most ${maxItems}`;
}

function valueText(node: JsonSchema): string {
  const unit = node.unit === undefined ? "" : ` ${node.unit}`;
  if (node.enum !== undefined) return node.enum.map((word) => code(String(word))).join(", ");
  if (node.const !== undefined) return code(JSON.stringify(node.const));
  if (Array.isArray(node.type)) {
    // A number or a word; the pattern is that word.
    return `${node.minimum ?? ""}–${node.maximum ?? ""}${unit}, ${code((node.pattern ?? "").replaceAll(/[$^]/g, ""))}`;
  }
  if (node.type === "integer" || node.type === "number") {
    const kind = node.type === "integer" ? "" : "number, ";
    return `${kind}${node.minimum ?? ""}–${node.maximum ?? ""}${unit}`;
  }
  if (node.type === "boolean") return "`true`, `false`";
  if (node.format === "ip") return "IP address";
  if (node.format === "http-url") return "http:// or https:// URL";
  if (node.maxLength !== undefined) return `text, at most ${node.maxLength} characters`;
  return "text";
}

function defaultText(node: JsonSchema, isRequired: boolean): string {
  if (node.default !== undefined) return code(JSON.stringify(node.default));
  return isRequired ? "required" : "";
}

function code(text: string): string {
  return `\`${text}\``;
}

if (import.meta.main) {
  const file = fileURLToPath(new URL("../README.md", import.meta.url));
  if (process.argv.includes("--write")) {
    await writeFile(file, await withTables(await readFile(file, "utf8")));
  } else {
    for (const [name, schema] of Object.entries(schemas)) {
      process.stdout.write(`<!-- table: ${name} -->\n\n${await printTable(schema)}\n\n<!-- end of table -->\n\n`);
    }
  }
}
