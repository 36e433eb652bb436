/**
 * A reader of Cache-Status that is strict where RFC 9211 is: a structured-field List of Items (RFC 9651 §3.1, §3.3)
 * whose parameters have the types and words of RFC 9211 §2.
 */

export interface CacheStatus {
  /** The cache's name. */
  name: string;
  parameters: ReadonlyMap<string, string | number | boolean>;
}

type Bare = { text: string; value: string | number | boolean; isToken: boolean };

const forwards = ["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"];

/** @throws Error that says which rule is broken */
export function readCacheStatus(field: string): CacheStatus[] {
  const members: CacheStatus[] = [];
  let left = field;
  for (;;) {
    const [name, behindName] = bare(left);
    if (typeof name.value !== "string") throw new Error(`a cache is named by a Token or a String: ${field}`);
    const parameters = new Map<string, Bare>();
    left = behindName;
    for (;;) {
      const key = /^; *([a-z*][a-z0-9_.*-]*)(=?)/.exec(left);
      if (key === null) break;
      left = left.slice(key[0].length);
      let value: Bare = { text: "", value: true, isToken: false };
      if (key[2] === "=") [value, left] = bare(left);
      if (parameters.has(key[1] ?? "")) throw new Error(`${key[1]} is there twice: ${field}`);
      parameters.set(key[1] ?? "", value);
    }
    checkParameters(parameters, field);
    members.push({
      name: name.value,
      parameters: new Map([...parameters].map(([key, { value }]) => [key, value])),
    });
    if (left === "") return members;
    const comma = /^[ \t]*,[ \t]*(?=.)/.exec(left);
    if (comma === null) throw new Error(`no comma at ${JSON.stringify(left)}: ${field}`);
    left = left.slice(comma[0].length);
  }
}

function bare(text: string): [Bare, left: string] {
  const integer = /^-?\d{1,15}(?![\d.])/.exec(text)?.[0];
  if (integer !== undefined) {
    return [{ text: integer, value: Number(integer), isToken: false }, text.slice(integer.length)];
  }
  const string = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"/.exec(text);
  if (string !== null) {
    const value = (string[1] ?? "").replaceAll(/\\(.)/g, "$1");
    return [{ text: string[0], value, isToken: false }, text.slice(string[0].length)];
  }
  const token = /^[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*/.exec(text)?.[0];
  if (token !== undefined) return [{ text: token, value: token, isToken: true }, text.slice(token.length)];
  const boolean = /^\?[01]/.exec(text)?.[0];
  if (boolean !== undefined) {
    return [{ text: boolean, value: boolean === "?1", isToken: false }, text.slice(boolean.length)];
  }
  throw new Error(`neither Integer, String, Token nor Boolean: ${JSON.stringify(text)}`);
}

function checkParameters(parameters: ReadonlyMap<string, Bare>, field: string): void {
  for (const [key, { value, isToken }] of parameters) {
    const isRight = {
      hit: typeof value === "boolean",
      fwd: isToken && forwards.includes(String(value)),
      "fwd-status": Number.isInteger(value),
      ttl: Number.isInteger(value),
      stored: typeof value === "boolean",
      collapsed: typeof value === "boolean",
      key: typeof value === "string" && !isToken,
      detail: typeof value === "string",
    }[key];
    if (isRight !== true) throw new Error(`${key} is unknown to RFC 9211 §2 or has another type: ${field}`);
  }
  // RFC 9211 §2.2: fwd says that hit is false.
  if (parameters.has("hit") && parameters.has("fwd")) throw new Error(`hit beside fwd: ${field}`);
  for (const key of ["stored", "collapsed", "fwd-status"]) {
    if (parameters.has(key) && !parameters.has("fwd")) throw new Error(`${key} goes with fwd: ${field}`);
  }
}
