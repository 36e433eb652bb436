/**
 * Splits a zone file into entries, and entries into fields (RFC 1035 §5.1). An entry is a line, or several lines joined
 * by parentheses. A field is a word or a quoted string. A semicolon starts a comment.
 *
 *   www  300 ( IN ; comment       four fields from two lines:  www  300  IN  A  (the fifth is quoted: "x y")
 *        A ) "x y"                only the first line of an entry can start with an owner
 *
 * Each character is read once. Fields are offsets into the text, in arrays that every entry reuses.
 */
import { quote } from "./words.ts";

/** RDATA has at most 65,535 octets, so no record has more fields. */
const fieldsMax = 65_536;

export const fieldFlags = { escaped: 1, quoted: 2, glued: 4 } as const;

/** The last entry that was read, and the start of the next one. */
export interface Scanner {
  readonly text: string;
  /** Offset and line (from 1) of the next character. */
  at: number;
  line: number;
  lineStart: number;
  /** Offset and line of the entry. */
  entryStart: number;
  entryLine: number;
  /** The entry starts with white space, so it inherits the owner of the one before. */
  isOwnerBlank: boolean;
  fieldsCount: number;
  /** For each field: the offset of its first character, and the one after its last, without quotes. */
  readonly starts: number[];
  readonly ends: number[];
  readonly lines: number[];
  readonly columns: number[];
  /** Bits of fieldFlags. */
  readonly flags: number[];
  /** Why the entry can't be read, or empty. After a problem the rest of the line is skipped. */
  problem: string;
  problemLine: number;
  problemColumn: number;
}

export function newScanner(text: string): Scanner {
  return {
    text,
    at: text.charCodeAt(0) === 0xfeff ? 1 : 0,
    line: 1,
    lineStart: 0,
    entryStart: 0,
    entryLine: 0,
    isOwnerBlank: false,
    fieldsCount: 0,
    starts: [],
    ends: [],
    lines: [],
    columns: [],
    flags: [],
    problem: "",
    problemLine: 0,
    problemColumn: 0,
  };
}

/**
 * Reads the next entry that has a field or a problem.
 * @returns false at the end of the text
 */
export function scanEntry(scanner: Scanner): boolean {
  scanner.problem = "";
  scanner.fieldsCount = 0;
  while (scanner.at < scanner.text.length) {
    const first = scanner.text.charCodeAt(scanner.at);
    scanner.isOwnerBlank = first === space || first === tab;
    scanner.entryStart = scanner.at;
    scanner.entryLine = scanner.line;
    scanLine(scanner);
    if (scanner.problem !== "") {
      skipLine(scanner);
      return true;
    }
    if (scanner.fieldsCount > 0) return true;
  }
  return false;
}

const tab = 0x09;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const doubleQuote = 0x22;
const leftParenthesis = 0x28;
const rightParenthesis = 0x29;
const semicolon = 0x3b;
const backslash = 0x5c;

function scanLine(scanner: Scanner): void {
  const { text } = scanner;
  let depth = 0;
  let openLine = 0;
  let openColumn = 0;
  let fieldEnd = -1;
  while (scanner.at < text.length && scanner.problem === "") {
    const char = text.charCodeAt(scanner.at);
    switch (char) {
      case lineFeed:
        scanner.at += 1;
        scanner.line += 1;
        scanner.lineStart = scanner.at;
        if (depth === 0) return;
        break;
      case space:
      case tab:
      case carriageReturn:
        scanner.at += 1;
        break;
      case semicolon: {
        const end = text.indexOf("\n", scanner.at);
        scanner.at = end < 0 ? text.length : end;
        break;
      }
      case leftParenthesis:
        if (depth === 0) {
          openLine = scanner.line;
          openColumn = scanner.at - scanner.lineStart + 1;
        }
        depth += 1;
        scanner.at += 1;
        break;
      case rightParenthesis:
        if (depth === 0) fail(scanner, scanner.at, "this ) has no matching (");
        else depth -= 1;
        scanner.at += 1;
        break;
      default: {
        const isGlued = scanner.at === fieldEnd;
        if (scanner.fieldsCount === fieldsMax)
          fail(scanner, scanner.at, `an entry must not have more than ${fieldsMax} fields`);
        else if (char === doubleQuote) scanQuoted(scanner, isGlued);
        else scanWord(scanner, isGlued);
        fieldEnd = scanner.at;
      }
    }
  }
  if (depth > 0 && scanner.problem === "") {
    scanner.problem = "this ( is never closed";
    scanner.problemLine = openLine;
    scanner.problemColumn = openColumn;
  }
}

function scanWord(scanner: Scanner, isGlued: boolean): void {
  const { text } = scanner;
  const start = scanner.at;
  let at = start;
  let flags = isGlued ? fieldFlags.glued : 0;
  for (; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char > semicolon && char !== backslash) continue;
    if (char === backslash) {
      if (at + 1 >= text.length || text.charCodeAt(at + 1) === lineFeed) {
        fail(scanner, at, "a backslash must not end a line");
        break;
      }
      flags |= fieldFlags.escaped;
      at += 1;
    } else if (isEndOfWord(char)) break;
  }
  addField(scanner, start, at, flags);
  scanner.at = at;
}

function isEndOfWord(char: number): boolean {
  switch (char) {
    case space:
    case tab:
    case lineFeed:
    case carriageReturn:
    case semicolon:
    case leftParenthesis:
    case rightParenthesis:
    case doubleQuote:
      return true;
    default:
      return false;
  }
}

function scanQuoted(scanner: Scanner, isGlued: boolean): void {
  const { text } = scanner;
  const start = scanner.at + 1;
  let flags = fieldFlags.quoted | (isGlued ? fieldFlags.glued : 0);
  for (let at = start; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === doubleQuote) {
      addField(scanner, start, at, flags);
      scanner.at = at + 1;
      return;
    }
    if (char === lineFeed) break;
    if (char === backslash) {
      flags |= fieldFlags.escaped;
      // A backslash does not escape the end of the line: the quotes are still open there.
      if (text.charCodeAt(at + 1) !== lineFeed) at += 1;
    }
  }
  const shown = quote(text.slice(start, start + 80).split("\n", 1)[0] ?? "");
  fail(scanner, scanner.at, `the quoted string ${shown} must be closed on its line`);
}

function addField(scanner: Scanner, start: number, end: number, flags: number): void {
  const index = scanner.fieldsCount++;
  scanner.starts[index] = start;
  scanner.ends[index] = end;
  scanner.lines[index] = scanner.line;
  scanner.columns[index] = start - scanner.lineStart + 1;
  scanner.flags[index] = flags;
}

function fail(scanner: Scanner, at: number, problem: string): void {
  scanner.problem = problem;
  scanner.problemLine = scanner.line;
  scanner.problemColumn = at - scanner.lineStart + 1;
}

/** After a problem, reading continues at the next line. */
function skipLine(scanner: Scanner): void {
  const end = scanner.text.indexOf("\n", scanner.at);
  if (end < 0) {
    scanner.at = scanner.text.length;
    return;
  }
  scanner.at = end + 1;
  scanner.line += 1;
  scanner.lineStart = scanner.at;
}
