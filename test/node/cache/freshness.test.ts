/** RFC 9111 as tables: what may be stored, for how long, and how it may be used. Each row names its section. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type AnswerFields,
  type BypassReason,
  judgeStorability,
  judgeUse,
  parseCacheControl,
  parseHttpDate,
  parseVary,
  secondsOf,
  type Use,
} from "../../../node/cache/freshness.ts";

const now = Date.UTC(2026, 5, 1, 12, 0, 0);
const httpDate = (ms: number): string => new Date(ms).toUTCString();
const defaults = { freshSeconds: 7, negativeSeconds: 3, staleWhileRevalidateSeconds: 11, staleIfErrorSeconds: 13 };

type Fields = Partial<{
  status: number;
  cc: string;
  cdn: string;
  expires: string;
  date: string | undefined;
  age: string;
  vary: string;
  cookie: boolean;
  tookMs: number;
}>;

function judgeFields(fields: Fields) {
  const answer: AnswerFields = {
    status: fields.status ?? 200,
    cacheControl: fields.cc,
    cdnCacheControl: fields.cdn,
    expires: fields.expires,
    date: "date" in fields ? fields.date : httpDate(now),
    age: fields.age,
    vary: fields.vary,
    hasSetCookie: fields.cookie ?? false,
  };
  return judgeStorability(answer, { requestedAtMs: now - (fields.tookMs ?? 0), receivedAtMs: now }, defaults);
}

test("how long an answer is fresh, and how old it was when it came", () => {
  const rows: [section: string, fields: Fields, lifetimeSeconds: number, ageSeconds: number][] = [
    ["4.2.1 max-age", { cc: "max-age=60" }, 60, 0],
    ["5.2.2.10 s-maxage before max-age", { cc: "max-age=60, s-maxage=90" }, 90, 0],
    ["5.2.2.10 in any order", { cc: "s-maxage=90, max-age=60" }, 90, 0],
    ["5.2.2.10 s-maxage that is no number: stale, not max-age", { cc: "s-maxage=x, max-age=60" }, 0, 0],
    ["5.2.2.10 s-maxage=0", { cc: "s-maxage=0, max-age=60" }, 0, 0],
    ["4.2.1 max-age=0", { cc: "max-age=0" }, 0, 0],
    ["5.3 max-age before Expires", { cc: "max-age=60", expires: httpDate(now + 999_000) }, 60, 0],
    ["5.3 Expires less Date", { expires: httpDate(now + 30_000) }, 30, 0],
    ["5.3 Expires with an old Date", { expires: httpDate(now + 30_000), date: httpDate(now - 10_000) }, 40, 10],
    ["5.3 Expires without Date", { expires: httpDate(now + 30_000), date: undefined }, 30, 0],
    ["5.3 Expires in the past", { expires: httpDate(now - 5000) }, 0, 0],
    ["5.3 Expires that is no date", { expires: "0" }, 0, 0],
    ["5.3 Expires in another zone", { expires: "Mon, 01 Jun 2026 13:00:00 UTC" }, 0, 0],
    ["5.3 Expires at its Date", { expires: httpDate(now) }, 0, 0],
    ["5.3 Expires as RFC 850 wrote it", { expires: "Monday, 01-Jun-26 12:00:30 GMT" }, 30, 0],
    ["5.3 Expires as asctime wrote it", { expires: "Mon Jun  1 12:00:30 2026" }, 30, 0],
    ["5.3 Date that is none: as of its arrival", { expires: httpDate(now + 30_000), date: "now" }, 30, 0],
    ["5.3 Expires twice", { expires: `${httpDate(now + 5000)}, ${httpDate(now + 5000)}` }, 0, 0],
    ["4.2.2 nothing said: the host's default", {}, 7, 0],
    ["4.2.2 public is no lifetime", { cc: "public" }, 7, 0],
    ["5.2.2.4 no-cache: revalidate each time", { cc: "no-cache, max-age=60" }, 0, 0],
    ["5.2.2.4 no-cache with a field name", { cc: 'no-cache="set-cookie", max-age=60' }, 0, 0],
    ["4.2.1 no number counts as stale", { cc: "max-age=abc" }, 0, 0],
    ["4.2.1 a negative number", { cc: "max-age=-1" }, 0, 0],
    ["1.2.2 a fraction", { cc: "max-age=1.5" }, 0, 0],
    ["1.2.2 a plus sign", { cc: "max-age=+60" }, 0, 0],
    ["1.2.2 other characters behind", { cc: "max-age=60s" }, 0, 0],
    ["1.2.2 leading zeros", { cc: "max-age=0060" }, 60, 0],
    ["4.2.1 no value", { cc: "max-age" }, 0, 0],
    ["4.2.1 the first of two", { cc: "max-age=5, max-age=60" }, 5, 0],
    ["4.2.1 the first of two, also where it is no number", { cc: "max-age=x, max-age=60" }, 0, 0],
    ["5.2 quoted", { cc: 'max-age="60"' }, 60, 0],
    ["5.2 quoted, with an escape", { cc: 'max-age="6\\0"' }, 60, 0],
    ["5.2 quoted, and no number", { cc: 'max-age="60, 61"' }, 0, 0],
    ["5.2 white space around", { cc: " ,, max-age = 60 , " }, 60, 0],
    ["5.2 a name that ends like another", { cc: "x-max-age=5, max-age=60, max-age-x=7" }, 60, 0],
    ["5.2.3 words that nobody knows", { cc: "max-age=60, frobnicate=yes, x" }, 60, 0],
    ["5.2.2.6 no-transform has no say in it", { cc: "max-age=60, no-transform, immutable" }, 60, 0],
    ["5.2 names in any case", { cc: "Max-Age=60" }, 60, 0],
    ["5.2 an extension with a comma in quotes", { cc: 'x="no-store, private", max-age=60' }, 60, 0],
    ["1.2.2 more than 2^31", { cc: `max-age=${"9".repeat(30)}` }, 2_147_483_648, 0],
    ["4.2.3 Age", { cc: "max-age=60", age: "20" }, 60, 20],
    ["4.2.3 Age that is none", { cc: "max-age=60", age: "-5" }, 60, 0],
    ["5.1 the first of several Ages", { cc: "max-age=60", age: "20, 7" }, 60, 20],
    ["5.1 the first of several Ages, and it is none", { cc: "max-age=60", age: "x, 7" }, 60, 0],
    ["5.1 an empty Age", { cc: "max-age=60", age: "" }, 60, 0],
    ["1.2.2 Age above 2^31", { cc: "max-age=60", age: "9".repeat(20) }, 60, 2_147_483_648],
    ["4.2.3 Age above the lifetime", { cc: "max-age=60", age: "90" }, 60, 90],
    ["4.2.3 Age and the delay of the answer", { cc: "max-age=60", age: "20", tookMs: 4000 }, 60, 24],
    ["4.2.3 the larger of Age and Date", { cc: "max-age=60", age: "20", date: httpDate(now - 30_000) }, 60, 30],
    ["4.2.3 Date in the future", { cc: "max-age=60", date: httpDate(now + 3_600_000) }, 60, 0],
    ["4.2.3 the delay alone", { cc: "max-age=60", tookMs: 4000 }, 60, 4],
    ["RFC 9213 CDN-Cache-Control before Cache-Control", { cc: "no-store", cdn: "max-age=50" }, 50, 0],
    ["RFC 9213 it takes Expires with it", { cdn: "public", expires: httpDate(now + 30_000) }, 7, 0],
    ["RFC 9213 2.1 it takes s-maxage with it", { cc: "s-maxage=90", cdn: "max-age=50" }, 50, 0],
    ["RFC 9213 2.1 and private", { cc: "private", cdn: "max-age=50" }, 50, 0],
    ["RFC 9213 2.1 and no-cache", { cc: "no-cache", cdn: "max-age=50" }, 50, 0],
    ["RFC 9213 2.1 its own no-cache", { cc: "max-age=60", cdn: "no-cache, max-age=50" }, 0, 0],
    ["RFC 9213 2.1 a parameter is passed over", { cc: "max-age=60", cdn: "max-age=50;x=1" }, 50, 0],
    ["RFC 9213 its no number counts as stale", { cc: "max-age=60", cdn: "max-age=x" }, 0, 0],
    ["RFC 9213 an empty one counts for nothing", { cc: "max-age=60", cdn: "" }, 60, 0],
    ["negative answers", { status: 404 }, 3, 0],
    ["negative answers, 410", { status: 410 }, 3, 0],
    ["negative answers that state a lifetime", { status: 404, cc: "max-age=60" }, 60, 0],
    ["9110 15.4.2 301 without a lifetime: revalidate", { status: 301 }, 0, 0],
    ["3 302 with a lifetime", { status: 302, cc: "max-age=60" }, 60, 0],
    ["3 302 that says public: revalidate", { status: 302, cc: "public" }, 0, 0],
    ["9110 15.4.9 308 without a lifetime: revalidate", { status: 308 }, 0, 0],
    ["9110 15.1 204", { status: 204 }, 7, 0],
    ["9110 15.1 300", { status: 300 }, 7, 0],
    ["negative answers, 501", { status: 501 }, 3, 0],
    ["negative answers, 405 and 414", { status: 414 }, 3, 0],
    ["3 307 with Expires", { status: 307, expires: httpDate(now + 30_000) }, 30, 0],
    ["5.2.2.8 must-revalidate has no say in it", { cc: "must-revalidate, max-age=60" }, 60, 0],
  ];
  for (const [section, fields, lifetimeSeconds, ageSeconds] of rows) {
    const judged = judgeFields(fields);
    assert(judged.outcome === "store", `${section}: ${JSON.stringify(judged)}`);
    assert.equal(judged.freshness.lifetimeSeconds, lifetimeSeconds, section);
    assert.equal((now - judged.freshness.bornAtMs) / 1000, ageSeconds, section);
  }
});

test("what may not be stored, and the word for it", () => {
  const long = `max-age=60, ${"x".repeat(5000)}, no-store`;
  const rows: [section: string, fields: Fields, reason: BypassReason][] = [
    ["5.2.2.5", { cc: "no-store, max-age=60" }, "no-store"],
    ["5.2.2.5 beside must-understand", { cc: "must-understand, no-store" }, "no-store"],
    ["5.2.2.7", { cc: "private, max-age=60" }, "private"],
    ["5.2.2.7 with a field name", { cc: 'private="x-user", max-age=60' }, "private"],
    ["5.2.2.7 beside public", { cc: "public, private" }, "private"],
    ["5.2.2.5 in capitals, quoted for nothing", { cc: 'NO-STORE="x"' }, "no-store"],
    ["5.2.2.5 before private", { cc: "private, no-store" }, "no-store"],
    ["5.2.2.5 of a 404", { status: 404, cc: "no-store" }, "no-store"],
    ["a quote that never ends hides nothing", { cc: 'x="a, no-store' }, "no-store"],
    ["a field too long to be read is taken to forbid", { cc: long }, "no-store"],
    ["RFC 9213 for us alone", { cc: "max-age=60", cdn: "no-store" }, "no-store"],
    ["RFC 9213 for us alone, private", { cc: "public, max-age=60", cdn: "private" }, "private"],
    ["RFC 9213 one too long to be read", { cc: "max-age=60", cdn: long }, "no-store"],
    ["7.3 Set-Cookie, whatever CDN-Cache-Control says", { cdn: "max-age=60", cookie: true }, "set-cookie"],
    ["7.3 Set-Cookie is one client's", { cc: "max-age=60", cookie: true }, "set-cookie"],
    ["7.3 also where it says public", { cc: "public, max-age=60", cookie: true }, "set-cookie"],
    ["4.1 Vary: *", { cc: "max-age=60", vary: "accept, *" }, "vary-any"],
    ["4.1 Vary: * alone", { cc: "max-age=60", vary: "*" }, "vary-any"],
    ["4.1 Vary: * beside Cookie", { cc: "max-age=60", vary: "cookie,*" }, "vary-any"],
    ["4.1 Vary too long to be read", { cc: "max-age=60", vary: "a, ".repeat(3000) }, "vary-any"],
    ["4.1 Vary: Cookie", { cc: "max-age=60", vary: "Accept, Cookie" }, "vary-cookie"],
    ["4.1 Vary: Authorization", { cc: "max-age=60", vary: "authorization" }, "vary-cookie"],
    ["4.1 Vary: COOKIE", { cc: "max-age=60", vary: "COOKIE" }, "vary-cookie"],
    ["3 304 has nothing to store", { status: 304, cc: "max-age=60" }, "status"],
    ["3 303", { status: 303, cc: "max-age=60" }, "status"],
    ["3 503", { status: 503, cc: "max-age=60" }, "status"],
    ["3.3 206", { status: 206, cc: "max-age=60" }, "partial"],
    ["3 a status that is not understood", { status: 299, cc: "max-age=60" }, "status"],
    ["3 500", { status: 500, cc: "max-age=60" }, "status"],
    ["3 403", { status: 403, cc: "max-age=60" }, "status"],
    ["3 302 without a lifetime", { status: 302 }, "no-lifetime"],
    ["3 307 without a lifetime", { status: 307, cc: "x=1" }, "no-lifetime"],
  ];
  for (const [section, fields, reason] of rows) {
    assert.deepEqual(judgeFields(fields), { outcome: "bypass", reason }, section);
  }
});

test("how long a stale answer may be used (RFC 5861)", () => {
  const rows: [section: string, fields: Fields, whileRevalidate: number, ifError: number][] = [
    ["nothing said: the host's defaults", { cc: "max-age=60" }, 11, 13],
    ["3 and 4 its own", { cc: "max-age=60, stale-while-revalidate=1, stale-if-error=2" }, 1, 2],
    ["9111 5.2.2.8 must-revalidate", { cc: "max-age=60, must-revalidate, stale-if-error=9" }, 0, 0],
    ["9111 5.2.2.2 must-revalidate with a value", { cc: "max-age=60, must-revalidate=0" }, 0, 0],
    [
      "9111 5.2.2.8 of its own words, too",
      { cc: "proxy-revalidate, stale-while-revalidate=9, stale-if-error=9" },
      0,
      0,
    ],
    ["9111 5.2.2.4 no-cache, of its own words, too", { cc: "no-cache, stale-if-error=9" }, 0, 0],
    ["3 its own 0 before the host's", { cc: "max-age=60, stale-while-revalidate=0, stale-if-error=0" }, 0, 0],
    ["RFC 9213 its words count alone", { cc: "stale-if-error=99, must-revalidate", cdn: "max-age=60" }, 11, 13],
    ["9111 5.2.2.9 proxy-revalidate", { cc: "max-age=60, proxy-revalidate" }, 0, 0],
    ["9111 5.2.2.4 no-cache", { cc: "no-cache" }, 0, 0],
    ["9111 5.2.2.10 s-maxage implies proxy-revalidate", { cc: "s-maxage=60" }, 0, 0],
    ["s-maxage beside both words", { cc: "s-maxage=60, stale-while-revalidate=5, stale-if-error=6" }, 5, 6],
    ["s-maxage beside words of its own", { cc: "s-maxage=60, stale-while-revalidate=5" }, 5, 0],
    ["no number is 0", { cc: "max-age=60, stale-if-error=soon" }, 11, 0],
  ];
  for (const [section, fields, whileRevalidate, ifError] of rows) {
    const judged = judgeFields(fields);
    assert(judged.outcome === "store", section);
    const { staleWhileRevalidateSeconds, staleIfErrorSeconds } = judged.freshness;
    assert.deepEqual([staleWhileRevalidateSeconds, staleIfErrorSeconds], [whileRevalidate, ifError], section);
  }
});

test("the use of a stored answer at each age", () => {
  const freshness = { bornAtMs: now, lifetimeSeconds: 10, staleWhileRevalidateSeconds: 5, staleIfErrorSeconds: 20 };
  const rows: [afterMs: number, use: Use][] = [
    [0, { state: "fresh", ageSeconds: 0, ttlSeconds: 10 }],
    [9999, { state: "fresh", ageSeconds: 9, ttlSeconds: 1 }],
    [10_000, { state: "stale-revalidate", ageSeconds: 10, ttlSeconds: 0 }],
    [14_999, { state: "stale-revalidate", ageSeconds: 14, ttlSeconds: -4 }],
    [15_000, { state: "stale-if-error", ageSeconds: 15, ttlSeconds: -5 }],
    [29_999, { state: "stale-if-error", ageSeconds: 29, ttlSeconds: -19 }],
    [30_000, { state: "expired", ageSeconds: 30, ttlSeconds: -20 }],
    [-60_000, { state: "fresh", ageSeconds: 0, ttlSeconds: 10 }], // the clock was set back
  ];
  for (const [afterMs, use] of rows) {
    const actual = judgeUse(freshness, now + afterMs);
    assert.deepEqual({ ...actual, ttlSeconds: actual.ttlSeconds + 0 }, use, String(afterMs));
  }
  const errorsFirst = { ...freshness, staleWhileRevalidateSeconds: 20, staleIfErrorSeconds: 5 };
  assert.equal(judgeUse(errorsFirst, now + 29_999).state, "stale-revalidate", "the longer window holds");
  assert.equal(judgeUse(errorsFirst, now + 30_000).state, "expired");
  const strict = { ...freshness, staleWhileRevalidateSeconds: 0, staleIfErrorSeconds: 0 };
  assert.equal(judgeUse(strict, now + 9999).state, "fresh");
  assert.equal(judgeUse(strict, now + 10_000).state, "expired", "no window: not used at its lifetime's end");
  const never = { ...freshness, lifetimeSeconds: 0, staleWhileRevalidateSeconds: 0, staleIfErrorSeconds: 0 };
  assert.equal(judgeUse(never, now).state, "expired", "a lifetime of 0 is never fresh");
});

test("dates of HTTP and nothing else (RFC 9110 §5.6.7)", () => {
  const ms = Date.UTC(1994, 10, 6, 8, 49, 37);
  for (const text of ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]) {
    assert.equal(parseHttpDate(text), ms, text);
  }
  for (const text of [
    undefined,
    "",
    "0",
    "-1",
    "Sun, 06 Nov 1994 08:49:37 +0100",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08.49.37 GMT",
    "Sun, 06 Nov 1994 25:49:37 GMT",
    "sun, 06 nov 1994 08:49:37 gmt",
    "1994-11-06T08:49:37Z",
    "Sun, 06 Nov 1994 08:49:37 GMT; length=3",
  ]) {
    assert.equal(parseHttpDate(text), undefined, String(text));
  }
});

test("Vary is a set of names in one order", () => {
  assert.deepEqual(parseVary("Accept-Encoding, accept ,ACCEPT"), ["accept", "accept-encoding"]);
  assert.deepEqual(parseVary(undefined), []);
  assert.deepEqual(parseVary(" , ,"), []);
  assert.equal(parseVary("accept, *"), "any");
});

test("directives keep their values without quotes", () => {
  const directives = parseCacheControl('A=1, b="x\\"y", c, d=, e = 5 ,,;f');
  assert.deepEqual(
    [...directives],
    [
      ["a", "1"],
      ["b", 'x"y'],
      ["c", null],
      ["d", ""],
      ["e", "5"],
      ["f", null],
    ],
  );
  assert.equal(secondsOf(directives, "none"), undefined);
  assert.equal(secondsOf(directives, "e"), 5);
});
