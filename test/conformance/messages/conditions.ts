/** Conditional requests and ranges (RFC 9110 §13 and §14). */
import { ask, casesOf, etag, get, lastModified, type RawCase, type Row } from "./raw-case.ts";

const earlier = "Sun, 31 May 2026 23:59:59 GMT";
const later = "Tue, 02 Jun 2026 00:00:00 GMT";
const head = (...lines: readonly string[]): string => ask("HEAD /a HTTP/1.1", ...lines);

const conditions: readonly Row[] = [
  ["If-None-Match of this version", "9110 §13.1.2", get(`If-None-Match: ${etag}`), "304", "open"],
  ["If-None-Match, compared weakly", "9110 §13.1.2", get(`If-None-Match: W/${etag}`), "304", "open"],
  ["If-None-Match: *", "9110 §13.1.2", get("If-None-Match: *"), "304", "open"],
  ["If-None-Match, a list", "9110 §13.1.2", get(`If-None-Match: "x", ${etag}`), "304", "open"],
  [
    "If-None-Match on two lines",
    "9110 §13.1.2",
    get('If-None-Match: "x"', `If-None-Match: ${etag}`),
    "304|200",
    "open",
  ],
  ["If-None-Match of another version", "9110 §13.1.2", get('If-None-Match: "2"'), "200", "open"],
  ["If-None-Match without quotes", "9110 §8.8.3", get("If-None-Match: 1"), "200", "open"],
  ["If-None-Match of HEAD", "9110 §13.1.2", head(`If-None-Match: ${etag}`), "304", "open"],
  ["If-Modified-Since, equal", "9110 §13.1.3", get(`If-Modified-Since: ${lastModified}`), "304", "open"],
  ["If-Modified-Since, earlier", "9110 §13.1.3", get(`If-Modified-Since: ${earlier}`), "200", "open"],
  ["If-Modified-Since, later", "9110 §13.1.3", get(`If-Modified-Since: ${later}`), "304|200", "open"],
  ["If-Modified-Since, no date", "9110 §13.1.3", get("If-Modified-Since: x"), "200", "open"],
  [
    "If-Modified-Since in the form of RFC 850",
    "9110 §5.6.7",
    get("If-Modified-Since: Monday, 01-Jun-26 00:00:00 GMT"),
    "304",
    "open",
  ],
  [
    "If-Modified-Since in the form of asctime",
    "9110 §5.6.7",
    get("If-Modified-Since: Mon Jun  1 00:00:00 2026"),
    "304",
    "open",
  ],
  [
    "If-None-Match counts more than If-Modified-Since",
    "9110 §13.2.2",
    get('If-None-Match: "2"', `If-Modified-Since: ${lastModified}`),
    "200",
    "open",
  ],
  ["If-Match of this version", "9110 §13.1.1", get(`If-Match: ${etag}`), "200", "open"],
  ["If-Match of another version", "9110 §13.1.1", get('If-Match: "2"'), "412|200", "open"],
  ["If-Match, compared strongly", "9110 §13.1.1", get(`If-Match: W/${etag}`), "412|200", "open"],
  ["If-Match: *", "9110 §13.1.1", get("If-Match: *"), "200", "open"],
  [
    "If-Match counts before If-None-Match",
    "9110 §13.2.2",
    get('If-Match: "2"', `If-None-Match: ${etag}`),
    "412|304",
    "open",
  ],
  ["If-Unmodified-Since, equal", "9110 §13.1.4", get(`If-Unmodified-Since: ${lastModified}`), "200", "open"],
  ["If-Unmodified-Since, earlier", "9110 §13.1.4", get(`If-Unmodified-Since: ${earlier}`), "412|200", "open"],
  ["If-Unmodified-Since, no date", "9110 §13.1.4", get("If-Unmodified-Since: x"), "200", "open"],
];

const range = (value: string, ...lines: readonly string[]): string => get(`Range: ${value}`, ...lines);

const ranges: readonly Row[] = [
  ["a range", "9110 §14.1.2", range("bytes=0-3"), "206", "open"],
  ["one byte", "9110 §14.1.2", range("bytes=0-0"), "206", "open"],
  ["an open range", "9110 §14.1.2", range("bytes=4-"), "206", "open"],
  ["a suffix", "9110 §14.1.2", range("bytes=-3"), "206", "open"],
  ["a suffix longer than the body", "9110 §14.1.2", range("bytes=-99"), "206|200", "open"],
  ["a suffix of 0 bytes", "9110 §14.1.2", range("bytes=-0"), "416", "open"],
  ["an end beyond the body", "9110 §14.1.2", range("bytes=4-99"), "206", "open"],
  ["an end of 30 digits", "9110 §14.1.2", range(`bytes=0-${"9".repeat(30)}`), "206|200|416", "open"],
  ["a beginning beyond the body", "9110 §14.1.2", range("bytes=10-"), "416", "open"],
  ["a beginning of 30 digits", "9110 §14.1.2", range(`bytes=${"9".repeat(30)}-`), "416|200", "open"],
  ["an end before the beginning", "9110 §14.1.1", range("bytes=5-2"), "200|416", "open"],
  ["no numbers", "9110 §14.2", range("bytes=a-b"), "200|416", "open"],
  ["no ranges", "9110 §14.2", range("bytes="), "200|416", "open"],
  ["only a hyphen", "9110 §14.2", range("bytes=-"), "200|416", "open"],
  ["another unit", "9110 §14.2", range("lines=0-3"), "200|416", "open"],
  ["the unit in upper case", "9110 §14.1", range("BYTES=0-3"), "206|200", "open"],
  ["a space before the range", "9110 §14.1.1", range("bytes= 0-3"), "206|200|416", "open"],
  ["a minus sign in a range", "9110 §14.1.1", range("bytes=0--3"), "200|416", "open"],
  ["two ranges", "9110 §14.2", range("bytes=0-0,2-3"), "200|206", "open"],
  ["overlapping ranges", "9110 §14.2", range("bytes=0-,0-,0-,0-,0-"), "200|206|416", "open"],
  [
    "1,000 ranges",
    "9110 §14.2",
    range(`bytes=${Array.from({ length: 1000 }, () => "0-0").join()}`),
    "200|206|416",
    "open",
  ],
  ["two Range fields", "9110 §5.3", get("Range: bytes=0-3", "Range: bytes=4-5"), "200|206|400", "open"],
  ["a range of HEAD", "9110 §14.2", head("Range: bytes=0-3"), "200-|206-", "open"],
  ["If-Range of this version", "9110 §13.1.5", range("bytes=0-3", `If-Range: ${etag}`), "206", "open"],
  ["If-Range of another version", "9110 §13.1.5", range("bytes=0-3", 'If-Range: "2"'), "200", "open"],
  ["If-Range, compared strongly", "9110 §13.1.5", range("bytes=0-3", `If-Range: W/${etag}`), "200", "open"],
  ["If-Range, a date", "9110 §13.1.5", range("bytes=0-3", `If-Range: ${lastModified}`), "206|200", "open"],
  ["If-Range, an earlier date", "9110 §13.1.5", range("bytes=0-3", `If-Range: ${earlier}`), "200", "open"],
  ["If-Range without Range", "9110 §13.1.5", get(`If-Range: ${etag}`), "200", "open"],
  ["If-None-Match counts before Range", "9110 §13.2.2", range("bytes=0-3", `If-None-Match: ${etag}`), "304", "open"],
  ["If-Match counts before Range", "9110 §13.2.2", range("bytes=0-3", 'If-Match: "2"'), "412|206", "open"],
];

export const conditionsAndRanges: readonly RawCase[] = casesOf([...conditions, ...ranges]);
