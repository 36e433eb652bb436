/**
 * Reads the version in the status lines of an origin's responses (RFC 9112 §4), which undici's parser does not tell:
 * it takes HTTP/2.0 and HTTP/0.9 for HTTP/1.1. A server that says so does not speak the protocol of this connection
 * (§2.3), so where its messages end is a guess.
 *
 *   status line ─▶ 1xx: to the empty line after its fields ─▶ the next status line
 *              └─▶ other: done, everything after it is ignored
 *
 * Bytes come in any pieces. At most 13 bytes of a line are kept. Pure.
 */

/** Of one response and the interim responses before it. */
export interface StatusLine {
  /** The bytes so far of the line at which the reader is. "": at its beginning. */
  line: string;
  isInFields: boolean;
  isDone: boolean;
}

/** "HTTP/1.1 200", with the blank after it. */
const prefixBytes = 13;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

export function createStatusLine(): StatusLine {
  return { line: "", isInFields: false, isDone: false };
}

/**
 * Reads the next bytes of the response.
 * @returns what the origin sent in place of HTTP/1.0 or HTTP/1.1; undefined: nothing is wrong so far
 */
export function wrongVersion(state: StatusLine, bytes: Uint8Array): string | undefined {
  for (const byte of bytes) {
    if (state.isDone) return undefined;
    if (byte === carriageReturn) continue;
    if (byte !== lineFeed) {
      if (state.line.length < prefixBytes) state.line += String.fromCharCode(byte);
      if (state.isInFields || state.line.length < prefixBytes) continue;
    } else if (state.isInFields) {
      if (state.line === "") state.isInFields = false;
      state.line = "";
      continue;
    } else if (state.line === "") {
      continue; // the parser ignores empty lines before a status line
    }
    const [version = "", status = ""] = state.line.split(" ", 2);
    if (version !== "HTTP/1.1" && version !== "HTTP/1.0") return version.replace(/[^\x21-\x7e]/g, "?");
    // After 101 comes another protocol, which undici refuses.
    state.isDone = !status.startsWith("1") || status === "101";
    state.isInFields = true;
    if (byte === lineFeed) state.line = "";
    else state.line = "status line";
  }
  return undefined;
}
