/**
 * JSON from another machine: a client, a node, the origin. JSON.parse() accepts any depth, but code that handles the
 * value (JSON.stringify(), structuredClone(), a walk) recurses, and a few kilobytes of `[` overflow its stack. So the
 * depth is limited where the text is parsed.
 */
import type { FastifyInstance } from "fastify";
import { NearcastError } from "./errors.ts";

type JsonApp = Pick<FastifyInstance, "getDefaultJsonParser" | "addContentTypeParser">;

/** Our deepest document, the origin's OpenAPI description, has about twenty levels. */
export const jsonDepthMax = 64;

/**
 * The caller must bound the text's length, for instance when it reads from a socket.
 * @throws SyntaxError if the text is not JSON, or is nested deeper than `depthMax` levels
 */
export function parseForeignJson(text: string, depthMax = jsonDepthMax): unknown {
  if (isTooDeep(text, depthMax)) throw new SyntaxError(`JSON is nested deeper than ${depthMax} levels`);
  return JSON.parse(text) as unknown;
}

/** Applies the same limit to Fastify's JSON bodies. Fastify still rejects what it rejects by default (`__proto__`). */
export function boundJsonBodies(app: JsonApp): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    const text = body.toString();
    if (isTooDeep(text, jsonDepthMax)) {
      done(
        new NearcastError("BAD_REQUEST", `the JSON body must not be nested deeper than ${jsonDepthMax} levels`),
        undefined,
      );
    } else void parse(request, text, done);
  });
}

/** One pass. Correct for valid JSON; other text does not matter, because JSON.parse() rejects it. */
function isTooDeep(text: string, depthMax: number): boolean {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (isInString) {
      if (code === backslash) at += 1;
      else if (code === quote) isInString = false;
    } else if (code === quote) isInString = true;
    else if (code === openBracket || code === openBrace) {
      depth += 1;
      if (depth > depthMax) return true;
    } else if (code === closeBracket || code === closeBrace) depth -= 1;
  }
  return false;
}

const [quote, backslash] = [0x22, 0x5c];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];
