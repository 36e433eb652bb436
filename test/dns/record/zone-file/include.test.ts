import assert from "node:assert/strict";
import { test } from "node:test";
import { readZoneFile, type ZoneFileOutcome } from "#record/zone-file/read-zone-file.ts";
import type { IncludedFile } from "#record/zone-file/reading-state.ts";
import { linesOf, read, recordLine, zoneStart } from "./zone-text.ts";

/** Reads `main` among files that are called by their names. */
function readAmong(files: Readonly<Record<string, string>>): ZoneFileOutcome {
  const include = (path: string): IncludedFile => {
    const text = files[path];
    return text === undefined ? { ok: false, problem: "is not there" } : { ok: true, file: path, text };
  };
  return readZoneFile({ file: "main", text: files["main"] ?? "", zone: "cdn.test", include });
}

function filesAndLines(outcome: ZoneFileOutcome): string[] {
  return outcome.ok ? [] : outcome.problems.map(({ file, line, message }) => `${file}:${line} ${message}`);
}

test("included files have an origin of their own, and the one before holds after them", () => {
  const outcome = readAmong({
    main: `${zoneStart}$INCLUDE hosts\r\nm1 A 192.0.2.1\n$INCLUDE "other hosts" sub ; comment\nm2 A 192.0.2.2`,
    hosts: "\ufeffh1 A 192.0.2.3\n$ORIGIN deep\nh2 A 192.0.2.4\n$TTL 9 ; goes on\n$INCLUDE inner\nh3 A 192.0.2.5 ; end",
    "other hosts": "@ A 192.0.2.6\n  AAAA ::6\n",
    inner: "$ORIGIN x.cdn.test.\ni\\.1 A 192.0.2.7",
  });
  assert(outcome.ok, linesOf(outcome).join("\n"));
  const { records, places, flatText } = outcome.value;
  assert.deepEqual(records.slice(1).map(recordLine), [
    "h1.cdn.test. 300 IN A 192.0.2.3",
    "h2.deep.cdn.test. 300 IN A 192.0.2.4",
    "i\\.1.x.cdn.test. 9 IN A 192.0.2.7",
    "h3.deep.cdn.test. 9 IN A 192.0.2.5",
    "m1.cdn.test. 9 IN A 192.0.2.1",
    "sub.cdn.test. 9 IN A 192.0.2.6",
    "sub.cdn.test. 9 IN AAAA ::6",
    "m2.cdn.test. 9 IN A 192.0.2.2",
  ]);
  assert.deepEqual(
    places.fileOfRecord.map((file, index) => `${places.files[file]}:${places.lineOfRecord[index]}`),
    ["main:3", "hosts:1", "hosts:3", "inner:2", "hosts:6", "main:5", "other hosts:1", "other hosts:2", "main:7"],
  );
  assert(!flatText.includes("$INCLUDE") && !flatText.includes("\r") && !flatText.includes("\ufeff"));
  const flat = read(flatText);
  assert(flat.ok, linesOf(flat).join("\n"));
  assert.deepEqual(flat.value.records, records);
  assert.deepEqual(flat.value.soa, outcome.value.soa);
});

test("problems of included files say which file, and those of the including one which line", () => {
  const files = {
    main: `${zoneStart}$INCLUDE a sub\n  A 192.0.2.1\nx A y\n$INCLUDE missing\n$INCLUDE a b c\n$INCLUDE\n`,
    a: '  A 192.0.2.1\nb TXT "open\nc A (\n',
  };
  assert.deepEqual(filesAndLines(readAmong(files)), [
    "a:1 the record needs an owner: it is the first one in this file or after an $INCLUDE",
    'a:2 the quoted string "open" must be closed on its line',
    "a:3 this ( is never closed",
    "main:5 the record needs an owner: it is the first one in this file or after an $INCLUDE",
    'main:6 the address must be an IPv4 address (got "y")',
    'main:7 "missing" is not there',
    'main:8 unexpected "c" at the end of the directive',
    "main:9 a file name is missing",
  ]);
});

test("files that include without end are refused by depth, by count and by size", () => {
  const deep = readAmong({ main: `${zoneStart}$INCLUDE a\n`, a: "$INCLUDE a\n" });
  assert.deepEqual(filesAndLines(deep), ['a:1 $INCLUDE must not be nested more than 8 deep (got "a")']);
  const wide = readAmong({ main: zoneStart + "$INCLUDE a\n".repeat(64), a: "b A 192.0.2.1\n" });
  assert.deepEqual(filesAndLines(wide), ["main:67 a zone must not have more than 64 files"]);
  const allowed = readAmong({ main: zoneStart + "$INCLUDE a\n".repeat(63), a: "b A 192.0.2.1\n" });
  assert(allowed.ok);
  const doubling = readAmong({
    main: `${zoneStart}$INCLUDE a\n`,
    a: "$INCLUDE b\n$INCLUDE b\n$INCLUDE b\n",
    b: "$INCLUDE c\n$INCLUDE c\n$INCLUDE c\n",
    c: ";".repeat(2 * 1024 * 1024),
  });
  assert.deepEqual(filesAndLines(doubling), ["c:0 the files of a zone must not have more than 16777216 characters"]);
});
