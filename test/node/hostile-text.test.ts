/**
 * Every reader of text from outside takes linear time: each gets the texts that patterns are slow at, in the largest
 * size that reaches it, and 20 ms of CPU. (test/e2e/request-fields and response-fields ask running processes the same.)
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createEventStreamReader } from "#follow/event-stream.ts";
import { readHealthBody } from "#health/health-answer.ts";
import { nameFromTarget, parseName } from "#base/source-name.ts";
import { readZoneFile } from "#record/zone-file/read-zone-file.ts";
import { createReplyReader } from "../../deploy/cli/verbs/bgp/bird-control.ts";
import { bfdSessionsOf, sessionsOf } from "../../deploy/cli/verbs/bgp/bird-state.ts";
import { socketsOf } from "../../deploy/cli/verbs/bgp/machine-facts.ts";
import { parsePrefix } from "../../dns/wire/address.ts";
import { nameFromText } from "../../dns/wire/name.ts";
import { parseCacheControl, parseHttpDate, parseVary } from "../../node/cache/freshness.ts";
import { codingsOf } from "../../node/fetch/asset.ts";
import { judgeConditions } from "../../node/deliver/conditions.ts";
import { hostOf, parseTarget } from "../../node/http/target.ts";
import { endToEndPairs, isAbout, lengthOf, tagsOf } from "../../node/serve/asset-answer.ts";
import { fieldNames, readHash, readKnown, readLog, readTold } from "../../node/serve/wire.ts";
import { parseVariant } from "../../node/variant/grammar.ts";
import { parseCanonicalForm } from "../../node/variant/key.ts";
import { formatClassOf } from "../../node/variant/negotiate.ts";
import { isKnownTo, parsePrecondition } from "../../origin/precondition.ts";
import { leastOwnCpuMs } from "../support/cpu.ts";
import { hostileText, shapes } from "../support/hostile-text.ts";

const cpuMsMax = 20;
/** What a head of a request has room for, and one of an origin's or a peer's answer. */
const requestBytes = 95_000;
const answerBytes = 31_000;
const targetBytes = 8192;
/** Of zone files and the replies of programs: no bound, but enough for quadratic work to take a second. */
const textBytes = 31_000;

const noConditions = {
  ifMatch: undefined,
  ifNoneMatch: undefined,
  ifModifiedSince: undefined,
  ifUnmodifiedSince: undefined,
  range: undefined,
  ifRange: undefined,
};
const selected = { status: 200, etag: '"a"', lastModified: "Sat, 29 Oct 1994 19:43:31 GMT", lengthBytes: 10 };
const date = "Sat, 29 Oct 1994 19:43:31 GMT";
const birdLine = (text: string) => [{ code: 1002, text }];
const zoneOf = (text: string) => () =>
  readZoneFile({ file: "x.zone", text: `$TTL 300\n@ SOA ns1 host.ns1 7 3600 600 86400 60\n${text}`, zone: "a.test" });

/** What is read, what stands before the hostile text, the reader, and the largest size that reaches it. */
type Row = readonly [what: string, opening: string, read: (text: string) => unknown, sizeBytes: number];

const readers: readonly Row[] = [
  ["Range", "bytes=", (range) => judgeConditions({ ...noConditions, range }, selected), requestBytes],
  ["Range, behind a digit", "bytes=1", (range) => judgeConditions({ ...noConditions, range }, selected), requestBytes],
  ["If-Match", '"b', (ifMatch) => judgeConditions({ ...noConditions, ifMatch }, selected), requestBytes],
  ["If-None-Match", 'W/"b', (ifNoneMatch) => judgeConditions({ ...noConditions, ifNoneMatch }, selected), requestBytes],
  [
    "If-Modified-Since",
    date,
    (ifModifiedSince) => judgeConditions({ ...noConditions, ifModifiedSince }, selected),
    requestBytes,
  ],
  [
    "If-Range",
    '"b',
    (ifRange) => judgeConditions({ ...noConditions, range: "bytes=0-1", ifRange }, selected),
    requestBytes,
  ],
  ["Accept", "image/avif", formatClassOf, requestBytes],
  ["Accept-Encoding", "br;q=0", codingsOf, requestBytes],
  ["Host", "img.cdn.test", hostOf, requestBytes],
  ["Host, an address", "[::1", hostOf, requestBytes],
  ["a request target", "/", parseTarget, targetBytes],
  ["a request target in absolute form", "http://", parseTarget, targetBytes],
  ["a query", "w=", (query) => parseVariant(query, {}), targetBytes],
  ["a query of fractions", "dpr=0.", (query) => parseVariant(query, {}), targetBytes],
  ["the name of a source", "a", parseName, targetBytes],
  ["a target of the origin", "/api/v1/images/", (target) => nameFromTarget(target, "/api/v1/images/"), targetBytes],
  ["a write's If-Match", '"b"', (text) => parsePrecondition(text, undefined), requestBytes],
  ["the origin's If-None-Match", 'W/"b"', (text) => isKnownTo(text, "a"), requestBytes],
  ["Cache-Control", "max-age=", parseCacheControl, answerBytes],
  ["Cache-Control, within quotes", 'a="', parseCacheControl, answerBytes],
  ["Vary", "accept", parseVary, answerBytes],
  ["a date", date, parseHttpDate, answerBytes],
  ["Connection", "close", (connection) => endToEndPairs({ connection }), answerBytes],
  ["Cache-Tag", "a", (text) => tagsOf("a.test", "/", new Map([["cache-tag", text]])), answerBytes],
  ["the target of an asset", "/", (target) => tagsOf("a.test", target, new Map()), targetBytes],
  ["ETag", 'W/"a', (etag) => isAbout('"a"', { headers: { etag } }), answerBytes],
  ["Content-Length", "1", (text) => lengthOf({ statusCode: 200, headers: { "content-length": text } }), answerBytes],
  ["a peer's age", "1", (text) => readTold({ [fieldNames.age]: text }), answerBytes],
  ["a peer's status", "a", (text) => readTold({ [fieldNames.age]: "1", [fieldNames.status]: text }), answerBytes],
  ["a peer's log", "a/1", (text) => readLog({ [fieldNames.log]: text }), answerBytes],
  ["a peer's hash", "0", (text) => readHash({ [fieldNames.source]: text }), answerBytes],
  ["a peer's hashes", "0".repeat(64), (text) => readKnown({ [fieldNames.known]: text }), answerBytes],
  ["a peer's variant", "w=100&fit=", parseCanonicalForm, answerBytes],
  ["a health answer", '{"node":"', readHealthBody, textBytes],
  ["a stream of events", "data: ", (text) => createEventStreamReader()(Buffer.from(text)), textBytes],
  ["a name of DNS", "a.", nameFromText, textBytes],
  ["a network", "192.0.2.0/", parsePrefix, textBytes],
  ["BIRD's reply", "2002-", (text) => createReplyReader()(text), textBytes],
  ["BIRD's sessions", "edge0 BGP ", (text) => sessionsOf(birdLine(text)), textBytes],
  ["BIRD's routes", "Routes: ", (text) => sessionsOf([...birdLine("edge0 BGP"), ...birdLine(text)]), textBytes],
  ["BIRD's BFD sessions", "192.0.2.1 eth0 Up ", (text) => bfdSessionsOf(birdLine(text)), textBytes],
  ["BIRD's BFD times", "192.0.2.1 eth0 Up 1 0.1 ", (text) => bfdSessionsOf(birdLine(text)), textBytes],
  ["the kernel's sockets", "0: 0100007F:0035 ", (text) => socketsOf(text, "tcp"), textBytes],
  ["a zone file", "", (text) => zoneOf(text)(), textBytes],
  ["a zone file's owner", "a", (text) => zoneOf(text)(), textBytes],
  ["a zone file's TTL", "a 1h", (text) => zoneOf(text)(), textBytes],
  ["a zone file's address", "a A ", (text) => zoneOf(text)(), textBytes],
  ["a zone file's text", 'a TXT "', (text) => zoneOf(text)(), textBytes],
  ["a zone file's parameters", "a HTTPS 1 . alpn=", (text) => zoneOf(text)(), textBytes],
  ["a zone file's data", "a TYPE65280 \\# ", (text) => zoneOf(text)(), textBytes],
  ["a zone file's ranges", "$GENERATE 1-1 ", (text) => zoneOf(text)(), textBytes],
];

for (const [what, opening, read, sizeBytes] of readers) {
  test(`reading ${what} takes linear time, whatever stands there`, () => {
    // The first texts pay for compiling the reader.
    for (const shape of shapes) read(hostileText(opening, shape, 2000));
    for (const shape of shapes) {
      const text = hostileText(opening, shape, sizeBytes);
      const cpuMs = leastOwnCpuMs(cpuMsMax, () => read(text));
      assert.ok(cpuMs <= cpuMsMax, `${opening}${JSON.stringify(shape)} again and again took ${cpuMs.toFixed(1)} ms`);
    }
  });
}
