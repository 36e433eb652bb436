import assert from "node:assert/strict";
import { test } from "node:test";
import { type Conditions, judgeConditions, type Selected, type Verdict } from "../../../node/deliver/conditions.ts";

const none: Conditions = {
  ifMatch: undefined,
  ifNoneMatch: undefined,
  ifModifiedSince: undefined,
  ifUnmodifiedSince: undefined,
  range: undefined,
  ifRange: undefined,
};
const before = "Sat, 29 Oct 1994 19:43:30 GMT";
const modified = "Sat, 29 Oct 1994 19:43:31 GMT";
const after = "Sat, 29 Oct 1994 19:43:32 GMT";
const strong: Selected = { status: 200, etag: '"a"', lastModified: modified, lengthBytes: 10 };
const weak: Selected = { ...strong, etag: 'W/"a"' };
const noEtag: Selected = { ...strong, etag: null };
const undated: Selected = { ...strong, lastModified: null };
const empty: Selected = { ...strong, lengthBytes: 0 };

/** `whole`, `304`, `412`, `416`, or the part as `start-end` with an exclusive end. */
function short(verdict: Verdict): string {
  switch (verdict.verdict) {
    case "whole":
      return "whole";
    case "not-modified":
      return "304";
    case "precondition-failed":
      return "412";
    case "unsatisfiable":
      return "416";
    case "part":
      return `${verdict.start}-${verdict.end}`;
  }
}

type Row = [section: string, conditions: Partial<Conditions>, selected: Selected, wanted: string];

function checkRows(rows: readonly Row[]): void {
  for (const [section, conditions, selected, wanted] of rows) {
    const row = `${section}: ${JSON.stringify(conditions)} against ${JSON.stringify(selected)}`;
    assert.equal(short(judgeConditions({ ...none, ...conditions }, selected)), wanted, row);
  }
}

test("If-Match compares strongly", () => {
  checkRows([
    ["§13.1.1 no condition", {}, strong, "whole"],
    ["§13.1.1 the same tag", { ifMatch: '"a"' }, strong, "whole"],
    ["§13.1.1 another tag", { ifMatch: '"b"' }, strong, "412"],
    ["§13.1.1 one of a list", { ifMatch: '"b", "a"' }, strong, "whole"],
    ["§13.1.1 none of a list", { ifMatch: '"b","c"' }, strong, "412"],
    ["§13.1.1 * and an answer", { ifMatch: "*" }, strong, "whole"],
    ["§13.1.1 * and an answer without tag", { ifMatch: "*" }, noEtag, "whole"],
    ["§13.1.1 a tag, and the answer has none", { ifMatch: '"a"' }, noEtag, "412"],
    ["§8.8.3.2 the client's tag is weak", { ifMatch: 'W/"a"' }, strong, "412"],
    ["§8.8.3.2 the answer's tag is weak", { ifMatch: '"a"' }, weak, "412"],
    ["§8.8.3.2 both are weak", { ifMatch: 'W/"a"' }, weak, "412"],
    ["§8.8.3 no entity tag", { ifMatch: "a" }, strong, "412"],
    ["§8.8.3 upper and lower case differ", { ifMatch: '"A"' }, strong, "412"],
    ["§8.8.3 the empty tag is a tag", { ifMatch: '""' }, { ...strong, etag: '""' }, "whole"],
    ["§8.8.3 a comma inside of a tag", { ifMatch: '"a,b"' }, { ...strong, etag: '"a,b"' }, "whole"],
    ["§8.8.3 a part of a tag is no tag", { ifMatch: '"a,b"' }, strong, "412"],
  ]);
});

test("If-None-Match compares weakly", () => {
  checkRows([
    ["§13.1.2 the same tag", { ifNoneMatch: '"a"' }, strong, "304"],
    ["§13.1.2 another tag", { ifNoneMatch: '"b"' }, strong, "whole"],
    ["§13.1.2 one of a list", { ifNoneMatch: '"b", W/"c" ,"a"' }, strong, "304"],
    ["§13.1.2 none of a list", { ifNoneMatch: '"b", "c"' }, strong, "whole"],
    ["§5.6.1 empty members of a list", { ifNoneMatch: ',, "a",' }, strong, "304"],
    ["§13.1.2 * and an answer", { ifNoneMatch: "*" }, strong, "304"],
    ["§13.1.2 * with space around it", { ifNoneMatch: " * " }, strong, "304"],
    ["§13.1.2 * and an answer without tag", { ifNoneMatch: "*" }, noEtag, "304"],
    ["§13.1.2 a tag, and the answer has none", { ifNoneMatch: '"a"' }, noEtag, "whole"],
    ["§8.8.3.2 the client's tag is weak", { ifNoneMatch: 'W/"a"' }, strong, "304"],
    ["§8.8.3.2 the answer's tag is weak", { ifNoneMatch: '"a"' }, weak, "304"],
    ["§8.8.3.2 both are weak", { ifNoneMatch: 'W/"a"' }, weak, "304"],
    ["§8.8.3 the mark of weakness is a capital W", { ifNoneMatch: 'w/"b"' }, strong, "whole"],
    ["§8.8.3 without quotes", { ifNoneMatch: "a" }, strong, "whole"],
    ["a list longer than 4 KB is not looked at", { ifNoneMatch: `"a", "${"b".repeat(4096)}"` }, strong, "whole"],
  ]);
});

test("dates are compared to the second, and what is no date of HTTP is as if it were not there", () => {
  checkRows([
    ["§13.1.3 since then unchanged", { ifModifiedSince: modified }, strong, "304"],
    ["§13.1.3 a later date", { ifModifiedSince: after }, strong, "304"],
    ["§13.1.3 changed since", { ifModifiedSince: before }, strong, "whole"],
    ["§13.1.3 an answer without date", { ifModifiedSince: after }, undated, "whole"],
    ["§13.1.3 no date", { ifModifiedSince: "yesterday" }, strong, "whole"],
    ["§13.1.3 a date of another kind", { ifModifiedSince: "1994-10-29T19:43:31Z" }, strong, "whole"],
    ["§13.1.3 another zone", { ifModifiedSince: "Sat, 29 Oct 1994 19:43:31 +0100" }, strong, "whole"],
    ["§13.1.3 a number", { ifModifiedSince: "0" }, strong, "whole"],
    ["§5.6.7 rfc850-date, unchanged", { ifModifiedSince: "Saturday, 29-Oct-94 19:43:31 GMT" }, strong, "304"],
    ["§5.6.7 rfc850-date, changed", { ifModifiedSince: "Saturday, 29-Oct-94 19:43:30 GMT" }, strong, "whole"],
    ["§5.6.7 asctime-date, unchanged", { ifModifiedSince: "Sat Oct 29 19:43:31 1994" }, strong, "304"],
    ["§5.6.7 asctime-date, changed", { ifModifiedSince: "Sat Oct 29 19:43:30 1994" }, strong, "whole"],
    ["§5.6.7 asctime-date, a day of one digit", { ifModifiedSince: "Sun Nov  6 08:49:37 1994" }, strong, "304"],
    [
      "§5.6.7 the answer's date in an obsolete form",
      { ifModifiedSince: modified },
      { ...strong, lastModified: "Sat Oct 29 19:43:31 1994" },
      "304",
    ],
    ["§13.1.4 unchanged", { ifUnmodifiedSince: modified }, strong, "whole"],
    ["§13.1.4 a later date", { ifUnmodifiedSince: after }, strong, "whole"],
    ["§13.1.4 changed since", { ifUnmodifiedSince: before }, strong, "412"],
    ["§13.1.4 no date", { ifUnmodifiedSince: "yesterday" }, strong, "whole"],
    ["§13.1.4 an answer without date", { ifUnmodifiedSince: before }, undated, "whole"],
  ]);
});

test("conditions are judged in the order of RFC 9110 §13.2.2", () => {
  checkRows([
    [
      "step 1 before 2: If-Match holds, the date does not",
      { ifMatch: '"a"', ifUnmodifiedSince: before },
      strong,
      "whole",
    ],
    ["step 1 before 2: the date holds, If-Match does not", { ifMatch: '"b"', ifUnmodifiedSince: after }, strong, "412"],
    ["step 1 before 3", { ifMatch: '"b"', ifNoneMatch: '"a"' }, strong, "412"],
    ["step 1 then 3", { ifMatch: '"a"', ifNoneMatch: '"a"' }, strong, "304"],
    ["step 2 before 3", { ifUnmodifiedSince: before, ifNoneMatch: '"a"' }, strong, "412"],
    ["step 2 before 4", { ifUnmodifiedSince: before, ifModifiedSince: after }, strong, "412"],
    ["step 3 before 4: the tag differs", { ifNoneMatch: '"b"', ifModifiedSince: after }, strong, "whole"],
    ["step 3 before 4: the tag is the same", { ifNoneMatch: '"a"', ifModifiedSince: before }, strong, "304"],
    ["step 3 before 4: the answer has no tag", { ifNoneMatch: '"a"', ifModifiedSince: after }, noEtag, "whole"],
    ["step 3 before 5", { ifNoneMatch: '"a"', range: "bytes=0-1" }, strong, "304"],
    ["step 4 before 5", { ifModifiedSince: after, range: "bytes=0-1" }, strong, "304"],
    ["step 1 before 5", { ifMatch: '"b"', range: "bytes=0-1" }, strong, "412"],
    ["step 3 then 5", { ifNoneMatch: '"b"', range: "bytes=0-1" }, strong, "0-2"],
    ["step 1 before 5, where the range lies outside", { ifMatch: '"b"', range: "bytes=99-" }, strong, "412"],
  ]);
});

test("a single byte range is a part, and what is no such range is the whole", () => {
  checkRows([
    ["§14.1.2 first and last", { range: "bytes=0-4" }, strong, "0-5"],
    ["§14.1.2 one byte", { range: "bytes=9-9" }, strong, "9-10"],
    ["§14.1.2 all bytes", { range: "bytes=0-9" }, strong, "0-10"],
    ["§14.1.2 open end", { range: "bytes=3-" }, strong, "3-10"],
    ["§14.1.2 past the end", { range: "bytes=3-99" }, strong, "3-10"],
    ["§14.1.2 a last of many digits", { range: `bytes=3-${"9".repeat(400)}` }, strong, "3-10"],
    ["§14.1.2 suffix", { range: "bytes=-3" }, strong, "7-10"],
    ["§14.1.2 suffix longer than all", { range: "bytes=-99" }, strong, "0-10"],
    ["§14.1.2 suffix of nothing", { range: "bytes=-0" }, strong, "416"],
    ["§14.1.2 first behind the end", { range: "bytes=10-" }, strong, "416"],
    ["§14.1.2 both behind the end", { range: "bytes=10-12" }, strong, "416"],
    ["§14.1.2 a first of many digits", { range: `bytes=${"9".repeat(400)}-` }, strong, "416"],
    ["§14.1.2 empty body, from the start", { range: "bytes=0-" }, empty, "416"],
    ["§14.1.2 empty body, suffix", { range: "bytes=-1" }, empty, "416"],
    ["§14.1.1 last before first is invalid", { range: "bytes=4-3" }, strong, "whole"],
    ["§14.1.1 invalid also behind the end", { range: "bytes=12-10" }, strong, "whole"],
    ["§14.1.1 units in any case", { range: "Bytes=0-4" }, strong, "0-5"],
    ["§14.2 another unit", { range: "pages=0-4" }, strong, "whole"],
    ["§14.2 several ranges", { range: "bytes=0-1,3-4" }, strong, "whole"],
    ["§14.2 several overlapping ranges", { range: "bytes=0-,0-,0-,0-" }, strong, "whole"],
    ["§14.2 nothing between", { range: "bytes=-" }, strong, "whole"],
    ["§14.2 nothing", { range: "bytes=" }, strong, "whole"],
    ["§14.2 no unit", { range: "0-4" }, strong, "whole"],
    ["§14.2 negative", { range: "bytes=--1" }, strong, "whole"],
    ["§14.2 hexadecimal", { range: "bytes=0x1-" }, strong, "whole"],
    ["§14.2 an exponent", { range: "bytes=1e1-" }, strong, "whole"],
    ["§5.6.1.2 empty members of a list", { range: "bytes=, ,0-4," }, strong, "0-5"],
    ["§14.1.1 space around the parts", { range: "bytes = 0 - 4" }, strong, "0-5"],
    ["32 members", { range: `bytes=${",".repeat(31)}0-4` }, strong, "0-5"],
    ["33 members", { range: `bytes=${",".repeat(32)}0-4` }, strong, "whole"],
    ["1,024 characters", { range: `bytes=0-4${" ".repeat(1015)}` }, strong, "0-5"],
    ["1,025 characters", { range: `bytes=0-4${" ".repeat(1016)}` }, strong, "whole"],
    ["95,000 spaces", { range: `bytes=${" ".repeat(95_000)}` }, strong, "whole"],
  ]);
});

test("If-Range wants the strong validator, else the whole is sent", () => {
  const range = "bytes=0-4";
  checkRows([
    ["§13.1.5 the same tag", { range, ifRange: '"a"' }, strong, "0-5"],
    ["§13.1.5 another tag", { range, ifRange: '"b"' }, strong, "whole"],
    ["§13.1.5 the client's tag is weak", { range, ifRange: 'W/"a"' }, strong, "whole"],
    ["§13.1.5 the answer's tag is weak", { range, ifRange: '"a"' }, weak, "whole"],
    ["§13.1.5 the answer has no tag", { range, ifRange: '"a"' }, noEtag, "whole"],
    ["§13.1.5 the same date", { range, ifRange: modified }, strong, "0-5"],
    ["§13.1.5 an earlier date", { range, ifRange: before }, strong, "whole"],
    ["§13.1.5 a later date is not the same", { range, ifRange: after }, strong, "whole"],
    ["§13.1.5 no date", { range, ifRange: "yesterday" }, strong, "whole"],
    ["§13.1.5 neither has a date", { range, ifRange: "yesterday" }, undated, "whole"],
    ["§13.1.5 *", { range, ifRange: "*" }, strong, "whole"],
    ["§13.1.5 the answer changed: 200, not 416", { range: "bytes=99-", ifRange: '"b"' }, strong, "whole"],
    ["§13.1.5 the range lies outside", { range: "bytes=99-", ifRange: '"a"' }, strong, "416"],
    ["§13.1.5 without Range it says nothing", { ifRange: '"b"' }, strong, "whole"],
  ]);
});

test("answers other than 200 know no conditions and no ranges (RFC 9110 §13.2.1, §14.2)", () => {
  const all: Partial<Conditions>[] = [
    { ifMatch: '"b"' },
    { ifNoneMatch: "*" },
    { ifNoneMatch: '"a"' },
    { ifModifiedSince: after },
    { ifUnmodifiedSince: before },
    { range: "bytes=0-1" },
    { range: "bytes=99-" },
  ];
  for (const status of [0, 204, 206, 301, 404, 410, 500]) {
    checkRows(all.map((conditions): Row => [`status ${status}`, conditions, { ...strong, status }, "whole"]));
  }
});
