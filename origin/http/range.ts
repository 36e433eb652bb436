/** Single byte ranges (RFC 9110 §14). Pure. */

export type ByteRange =
  { outcome: "whole" } | { outcome: "part"; start: number; sizeBytes: number } | { outcome: "unsatisfiable" };

/**
 * What to send of a body of `sizeBytes` (at least 1). Ranges that are malformed, of another unit, or several are
 * ignored, as RFC 9110 §14.2 lets a server do: the whole body is always a right answer.
 */
export function pickRange(header: string | undefined, sizeBytes: number): ByteRange {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? "");
  const [, first = "", last = ""] = match ?? [];
  if (match === null || (first === "" && last === "")) return { outcome: "whole" };
  if (first === "") {
    const wanted = Math.min(Number(last), sizeBytes);
    return wanted === 0 ? { outcome: "unsatisfiable" } : part(sizeBytes - wanted, sizeBytes - 1);
  }
  const start = Number(first);
  const end = last === "" ? sizeBytes - 1 : Number(last);
  if (end < start && last !== "") return { outcome: "whole" };
  if (start >= sizeBytes) return { outcome: "unsatisfiable" };
  return part(start, Math.min(end, sizeBytes - 1));
}

function part(start: number, end: number): ByteRange {
  return { outcome: "part", start, sizeBytes: end - start + 1 };
}
