/**
 * JSON from another machine: a client, a node, the origin. JSON.parse() accepts any depth, but code that handles the
 * value (JSON.stringify(), structuredClone(), a walk) recurses, and a few kilobytes of `[` overflow its stack. So the
 * depth is bounded where the text is read.
 */
import type { FastifyInstance } from "fastify";
import { NearcastError } from "./errors.ts";

type JsonApp = Pick<FastifyInstance, "getDefaultJsonParser" | "addContentTypeParser">;

/** Our deepest, the origin's OpenAPI document, has some twenty levels. */
export const jsonDepthMax = 64;

/**
 * Whoever calls bounds the text's length, as it bounds what it reads from a socket.
 * @throws SyntaxError when the text is no JSON, or is nested deeper than `depthMax` levels
 */
export function parseForeignJson(text: string, depthMax = jsonDepthMax): unknown {
  if (isTooDeep(text, depthMax)) throw new SyntaxError(`JSON is nested deeper than ${depthMax} levels`);
  return JSON.parse(text) as unknown;
}

/**
 * For Fastify: bodies of JSON with the same bound. What else Fastify refuses in them (`__proto__`) it still refuses.
 */
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

/** One pass; right for every text that is JSON, and for others it doesn't matter: they are refused by JSON.parse(). */
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
