/** The static table of HPACK (RFC 7541, Appendix A). */
import { meaningOf } from "./field-meaning.ts";

const entries = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language", ""],
  ["accept-ranges", ""],
  ["accept", ""],
  ["access-control-allow-origin", ""],
  ["age", ""],
  ["allow", ""],
  ["authorization", ""],
  ["cache-control", ""],
  ["content-disposition", ""],
  ["content-encoding", ""],
  ["content-language", ""],
  ["content-length", ""],
  ["content-location", ""],
  ["content-range", ""],
  ["content-type", ""],
  ["cookie", ""],
  ["date", ""],
  ["etag", ""],
  ["expect", ""],
  ["expires", ""],
  ["from", ""],
  ["host", ""],
  ["if-match", ""],
  ["if-modified-since", ""],
  ["if-none-match", ""],
  ["if-range", ""],
  ["if-unmodified-since", ""],
  ["last-modified", ""],
  ["link", ""],
  ["location", ""],
  ["max-forwards", ""],
  ["proxy-authenticate", ""],
  ["proxy-authorization", ""],
  ["range", ""],
  ["referer", ""],
  ["refresh", ""],
  ["retry-after", ""],
  ["server", ""],
  ["set-cookie", ""],
  ["strict-transport-security", ""],
  ["transfer-encoding", ""],
  ["user-agent", ""],
  ["vary", ""],
  ["via", ""],
  ["www-authenticate", ""],
] as const;

/** Entries have the indexes from 1 to this one. */
export const staticEntries = entries.length;

/** All names and values. */
export const staticBytes: Buffer = Buffer.from(entries.flat().join(""));
/** By index of the entry. */
export const staticNameAt = new Int32Array(entries.length + 1);
export const staticValueAt = new Int32Array(entries.length + 1);
export const staticValueEnd = new Int32Array(entries.length + 1);
export const staticMeanings = new Uint8Array(entries.length + 1);

let at = 0;
for (const [index, [name, value]] of entries.entries()) {
  const entry = index + 1;
  staticNameAt[entry] = at;
  at += name.length;
  staticValueAt[entry] = at;
  at += value.length;
  staticValueEnd[entry] = at;
  const valueAt = at - value.length;
  staticMeanings[entry] = meaningOf(staticBytes, valueAt - name.length, valueAt, staticBytes, valueAt, at);
}

const indexByName = new Map<string, number>();
for (const [index, [name]] of entries.entries()) if (!indexByName.has(name)) indexByName.set(name, index + 1);

/** The first entry with a name; 0: there is none. */
export function staticIndexOf(name: string): number {
  return indexByName.get(name) ?? 0;
}
