/**
 * Range (RFC 9110 §14), parsed in one pass over the field and without a regular expression, so that its cost is linear
 * in its length. Edge and origin both use it. Pure.
 *
 * Only a single range of bytes is served. Several ranges, another unit, or a malformed field get the whole body: RFC
 * 9110 §14.2 allows a server to ignore Range.
 */

export type ByteRange =
  | { outcome: "whole" }
  /** `end` is exclusive. */
  | { outcome: "part"; start: number; end: number }
  | { outcome: "unsatisfiable" };

/** A range of two 15-digit numbers takes 31 characters: 32 of them fit. A longer field is ignored. */
const fieldLengthMax = 1024;
/**
 * More ranges than any player requests. RFC 9110 §14.2 allows a server to ignore them. Empty list members count, too.
 */
const rangesMax = 32;

/** The part of a body of `sizeBytes` that the field selects. @param field undefined: there is no Range field */
export function pickByteRange(field: string | undefined, sizeBytes: number): ByteRange {
  const asked = field === undefined || field.length > fieldLengthMax ? undefined : readSingleRange(field);
  if (asked === undefined) return { outcome: "whole" };
  const { first, last } = asked;
  if (first === undefined) {
    const suffixBytes = last ?? 0;
    if (suffixBytes === 0 || sizeBytes === 0) return { outcome: "unsatisfiable" };
    return { outcome: "part", start: Math.max(0, sizeBytes - suffixBytes), end: sizeBytes };
  }
  if (last !== undefined && last < first) return { outcome: "whole" }; // invalid (§14.1.1), so ignored
  if (first >= sizeBytes) return { outcome: "unsatisfiable" };
  return { outcome: "part", start: first, end: last === undefined ? sizeBytes : Math.min(last + 1, sizeBytes) };
}

/** At least one of the two is present: `first-last`, `first-`, or `-suffix`. */
interface AskedRange {
  first: number | undefined;
  last: number | undefined;
}

/** Undefined if the field is not exactly one range of bytes. */
function readSingleRange(field: string): AskedRange | undefined {
  const equals = field.indexOf("=");
  if (equals === -1 || field.slice(0, equals).trim().toLowerCase() !== "bytes") return undefined;
  const members = field.slice(equals + 1).split(",", rangesMax + 1);
  if (members.length > rangesMax) return undefined;
  // A recipient accepts empty members of a list (RFC 9110 §5.6.1.2).
  const ranges = members.map((member) => member.trim()).filter((member) => member !== "");
  return ranges.length === 1 ? readRange(ranges[0] ?? "") : undefined;
}

function readRange(text: string): AskedRange | undefined {
  const dash = text.indexOf("-");
  if (dash === -1) return undefined;
  const first = readPosition(text.slice(0, dash).trim());
  const last = readPosition(text.slice(dash + 1).trim());
  if (first === "unreadable" || last === "unreadable") return undefined;
  return first === undefined && last === undefined ? undefined : { first, last };
}

/** Undefined for an empty text. Very many digits give an inexact number, or Infinity. */
function readPosition(text: string): number | undefined | "unreadable" {
  if (text === "") return undefined;
  return /^\d+$/.test(text) ? Number(text) : "unreadable";
}
