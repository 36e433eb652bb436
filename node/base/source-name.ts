/**
 * The names of sources: paths such as `shop/2024/chair.jpg`. A name is never used as a path on a disk, but edges and
 * people put it into URLs. So a name that some parser would read as a different one is rejected here, once.
 *
 *   request target ──split at "/"──▶ segments ──percent-decode each──▶ UTF-8 ──NFC──▶ name
 *
 * The target is read raw: a router that decodes first can't distinguish `a%2fb` (one segment, rejected) from `a/b`
 * (two).
 */

/** In bytes of UTF-8. A URL with every byte percent-encoded stays below 2 KiB. */
export const nameBytesMax = 500;

export type ParsedName = { ok: true; name: string } | { ok: false; reason: string };

/** Control characters, line separators, half surrogates, noncharacters, and marks that reverse the reading order. */
// oxlint-disable-next-line no-control-regex -- these are what is looked for
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\p{Noncharacter_Code_Point}\u202A-\u202E\u2066-\u2069]/u;

/** Reads a name that is already decoded, such as one in a JSON body. */
export function parseName(text: string): ParsedName {
  if (text === "") return { ok: false, reason: "the name is empty" };
  const name = text.normalize("NFC");
  for (const segment of name.split("/")) {
    const reason = whyBadSegment(segment);
    if (reason !== undefined) return { ok: false, reason };
  }
  const sizeBytes = Buffer.byteLength(name);
  if (sizeBytes > nameBytesMax)
    return { ok: false, reason: `the name has ${sizeBytes} bytes, at most ${nameBytesMax} are allowed` };
  return { ok: true, name };
}

/**
 * Reads the name from a raw request target.
 * @param mount the prefix before it, such as `/api/v1/images/`
 */
export function nameFromTarget(target: string, mount: string): ParsedName {
  const path = target.split("?", 1)[0] ?? "";
  // A target whose prefix is percent-encoded or has another form reaches the route but fails this test.
  if (!path.startsWith(mount)) return { ok: false, reason: `the path does not start with ${mount}` };
  const segments: string[] = [];
  for (const encoded of path.slice(mount.length).split("/")) {
    const segment = decodeSegment(encoded);
    if (segment === undefined)
      return { ok: false, reason: "the path has a percent sign that encodes no UTF-8 character" };
    if (segment.includes("/")) return { ok: false, reason: "the path has an encoded slash (%2F) inside a segment" };
    segments.push(segment);
  }
  return parseName(segments.join("/"));
}

/** A prefix of names: `shop/`, `shop/2024/ch`, or empty. */
export function parsePrefix(text: string): ParsedName {
  const prefix = text.normalize("NFC");
  if (unprintable.test(prefix) || prefix.includes("\\"))
    return { ok: false, reason: "the prefix has a character that no name has" };
  if (Buffer.byteLength(prefix) > nameBytesMax)
    return { ok: false, reason: `the prefix has more than ${nameBytesMax} bytes` };
  return { ok: true, name: prefix };
}

function whyBadSegment(segment: string): string | undefined {
  if (segment === "") return "the name has an empty segment (a slash at an end, or two in a row)";
  if (segment === "." || segment === "..") return `the name has a segment "${segment}"`;
  if (segment.includes("\\")) return "the name has a backslash";
  if (unprintable.test(segment)) return "the name has a control or another unprintable character";
  return undefined;
}

/** `decodeURIComponent` rejects invalid UTF-8, including overlong forms and surrogates (RFC 3629 §3). */
function decodeSegment(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}
