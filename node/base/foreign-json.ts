/**
 * JSON that comes from another machine: a client, a node, the origin. JSON.parse() itself takes nesting of any depth,
 * but what is done with a value afterwards (JSON.stringify(), structuredClone(), a walk) recurses, and a few kilobytes of
 * `[` then overflow the stack of whoever handles it. So the depth is bounded where the text is read.
 */

/** Our deepest, the origin's OpenAPI document, has some twenty levels. */
export const jsonDepthMax = 64;

/**
 * Whoever calls bounds the text's length, as it bounds what it reads from a socket.
 * @throws SyntaxError when the text is no JSON, or is nested deeper than 64 levels
 */
export function parseForeignJson(text: string): unknown {
  if (isTooDeep(text)) throw new SyntaxError(`JSON is nested deeper than ${jsonDepthMax} levels`);
  return JSON.parse(text) as unknown;
}

/** One pass; right for every text that is JSON, and for others it doesn't matter: they are refused by JSON.parse(). */
function isTooDeep(text: string): boolean {
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
      if (depth > jsonDepthMax) return true;
    } else if (code === closeBracket || code === closeBrace) depth -= 1;
  }
  return false;
}

const [quote, backslash] = [0x22, 0x5c];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];
