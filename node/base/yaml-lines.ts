/**
 * Finds the line of a YAML text with the value at a path such as `sites[0].place.latitude`, for the problems that
 * schema.ts and the rules of the fleet document report; pure.
 */
import { type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import type { ValueProblem } from "./schema.ts";

export type LineOf = (path: string) => number | undefined;

/** The values of a mapping or a list, by key or index. */
type Inside = ReadonlyMap<string, { readonly offset: number | undefined; readonly value: unknown }>;

/**
 * Lines count from 1. A missing key has the line of the mapping that lacks it. A path into another file, such as a zone
 * file, has no line.
 * @param lineCounter the one with which the document was parsed
 */
export function lineReader(document: Document, lineCounter: LineCounter): LineOf {
  const seen = new Map<unknown, Inside>();
  const insideOf = (value: unknown): Inside => {
    const node = isAlias(value) ? value.resolve(document) : value;
    const inside = seen.get(node) ?? readInside(node);
    seen.set(node, inside);
    return inside;
  };
  return (path) => {
    // The path leads into the text of a zone, which has its own line numbers.
    if (path.includes(", line ")) return undefined;
    let [at, offset]: [unknown, number | undefined] = [document.contents, undefined];
    const steps = path.split(/\.|\[(\d+)\]\.?/).filter((step) => step !== undefined && step !== "");
    for (const [index, step] of steps.entries()) {
      const found = insideOf(at).get(step);
      if (found === undefined && index < steps.length - 1) return undefined;
      if (found !== undefined) [at, offset] = [found.value, found.offset];
    }
    return offset === undefined ? undefined : lineCounter.linePos(offset).line;
  };
}

function readInside(node: unknown): Inside {
  if (isMap(node)) {
    return new Map(
      node.items.map(({ key, value }) => [isScalar(key) ? String(key.value) : "", { offset: startOf(key), value }]),
    );
  }
  if (isSeq(node)) {
    return new Map(node.items.map((value, index) => [String(index), { offset: startOf(value), value }]));
  }
  return new Map();
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

/** The same for text that was parsed before. @param yamlText YAML text without errors */
export function linesOfYaml(yamlText: string): LineOf {
  const lineCounter = new LineCounter();
  return lineReader(parseDocument(yamlText, { prettyErrors: false, uniqueKeys: false, lineCounter }), lineCounter);
}

/** The problem with its line, if there is one. */
export function withLine<Problem extends ValueProblem>(problem: Problem, lineOf: LineOf): Problem {
  const line = lineOf(problem.path);
  return line === undefined ? problem : { ...problem, line };
}
