/**
 * The request target (RFC 9112 §3.2), read raw. Pure.
 *
 * Nothing here decodes what it passes on. For pictures, each segment is decoded by the rules for source names. For
 * assets, the target goes to the origin as the client wrote it, after a check that it does not lead upwards.
 */
import { splitAbsolute } from "#base/absolute-form.ts";

/** Longer targets get a 414: the longest legitimate one (a name of 500 encoded bytes and all parameters) has 2 KB. */
export const targetLengthMax = 8192;

export type ParsedTarget =
  | { outcome: "target"; path: string; query: string; authority: string | null }
  | { outcome: "rejected"; code: "URI_TOO_LONG" | "BAD_REQUEST" | "BAD_PATH"; reason: string };

/** Splits origin-form (`/a?b`) and absolute-form (`http://host/a?b`); other forms are rejected. */
export function parseTarget(target: string): ParsedTarget {
  if (target.length > targetLengthMax) {
    const reason = `the request target has ${target.length} characters, at most ${targetLengthMax} are allowed`;
    return { outcome: "rejected", code: "URI_TOO_LONG", reason };
  }
  const { authority, rest } = splitAbsolute(target);
  const originForm = rest === "" || rest.startsWith("?") ? `/${rest}` : rest;
  if (!originForm.startsWith("/")) {
    return { outcome: "rejected", code: "BAD_REQUEST", reason: "the request target does not begin with a slash" };
  }
  const mark = originForm.indexOf("?");
  const path = mark === -1 ? originForm : originForm.slice(0, mark);
  const reason = whyBadPath(path);
  if (reason !== null) return { outcome: "rejected", code: "BAD_PATH", reason };
  return { outcome: "target", path, query: mark === -1 ? "" : originForm.slice(mark + 1), authority };
}

/** Matches most paths, which are valid: plain characters, and no segment begins with a dot. */
const plainPath = /^(?:\/[\w~-][\w.~-]*)+\/?$/;

/** Why a path is rejected: a server behind could read it as leading upwards, or can't read it at all. */
function whyBadPath(path: string): string | null {
  if (plainPath.test(path)) return null;
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) return "the path has a percent sign without two hexadecimal digits";
  if (/%00/.test(path)) return "the path has a NUL";
  // Browsers send `|` and `^` as they are (WHATWG URL, path percent-encode set); RFC 3986 would have them encoded.
  // oxlint-disable-next-line no-control-regex -- these are what is looked for
  if (/[\u0000-\u0020\u007f-\uffff"#<>\\`{}]/.test(path))
    return "the path has a character that must be percent-encoded";
  for (const segment of path.split("/")) {
    // Some servers remove `;…` from a segment before they look at it.
    const dots = (segment.split(";", 1)[0] ?? "").replaceAll(/%2e/gi, ".");
    if (dots === "." || dots === "..") return "the path has a `.` or `..` segment";
    if (/%(?:2f|5c)/i.test(segment) && /\.\./.test(segment.replaceAll(/%2e/gi, ".")))
      return "the path has an encoded slash next to dots";
  }
  return null;
}

/** The host of a Host field or an authority: lower case, without port and final dot; null when it is malformed. */
export function hostOf(authority: string | undefined): string | null {
  if (authority === undefined) return null;
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]/?#@\s]+)(?::\d{0,5})?$/.exec(authority);
  return match?.[1]?.toLowerCase().replace(/\.$/, "") ?? null;
}
