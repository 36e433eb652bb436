import assert from "node:assert/strict";
import { test } from "node:test";
import { hostOf, type ParsedTarget, parseTarget, targetLengthMax } from "../../../node/http/target.ts";

test("origin-form and absolute-form are split into path, query and authority, undecoded (RFC 9112 §3.2)", () => {
  const rows: [target: string, path: string, query: string, authority: string | null][] = [
    ["/", "/", "", null],
    ["/a/b.jpg", "/a/b.jpg", "", null],
    ["/a?w=1", "/a", "w=1", null],
    ["/a?", "/a", "", null],
    ["/a?b?c", "/a", "b?c", null],
    ["/?/../", "/", "/../", null], // dots in a query lead nowhere
    ["/a?b=%00%zz", "/a", "b=%00%zz", null], // the query's grammar judges these
    ["/a%20b/%C3%BC", "/a%20b/%C3%BC", "", null],
    ["/a%2fb", "/a%2fb", "", null], // an asset's origin may mean something by it
    ["/a//b/", "/a//b/", "", null],
    ["//evil.test/a", "//evil.test/a", "", null], // a path, not an authority
    ["/http://evil.test/", "/http://evil.test/", "", null],
    ["/...", "/...", "", null],
    ["/..a/b..", "/..a/b..", "", null],
    ["/.hidden", "/.hidden", "", null],
    ["/%252e%252e/a", "/%252e%252e/a", "", null], // decoded once it is the name `%2e%2e`
    ["/a;v=1/b", "/a;v=1/b", "", null],
    ["/a:b@c!$&'()*+,=~", "/a:b@c!$&'()*+,=~", "", null],
    ["/a|b^c?|^", "/a|b^c", "|^", null], // as browsers send them
    ["http://host/a?b", "/a", "b", "host"],
    ["HTTPS://Host:8443/a", "/a", "", "Host:8443"],
    ["http://host", "/", "", "host"],
    ["http://host?b", "/", "b", "host"],
    ["http://[::1]:80/", "/", "", "[::1]:80"],
    ["", "/", "", null], // as an absolute-form without a path
    ["?a", "/", "a", null],
    ["http://user@host/a", "/a", "", "user@host"], // hostOf refuses it
    ["http:///a", "/a", "", ""], // and this
  ];
  for (const [target, path, query, authority] of rows) {
    assert.deepEqual(parseTarget(target), { outcome: "target", path, query, authority }, target);
  }
});

test("what some server could read as a way upwards, or can't read at all, is BAD_PATH", () => {
  const rows: string[] = [
    "/..",
    "/../",
    "/../a",
    "/a/../b",
    "/a/..",
    "/.",
    "/./a",
    "/a/./b",
    "/%2e%2e/a",
    "/%2E%2E/a",
    "/.%2e/a",
    "/%2E./a",
    "/a/%2e",
    "/a/%2e%2e",
    "/..;/a",
    "/..;x=1/a",
    "/%2e%2e;/a",
    "/.;/a",
    "/..%2fa",
    "/%2e%2e%2Fa",
    "/a%2f..%2fb",
    "/a%5c..%5cb",
    "/..%5Ca",
    "http://host/../a",
    "http://host/a/%2e%2e",
    "/a\\b",
    "/..\\a",
    "/a%00",
    "/%00",
    "/a%00.jpg",
    "/a\0b",
    "/a%",
    "/a%2",
    "/a%2/b",
    "/a%zz",
    "/a%g0",
    "/a%%41",
    "/a b",
    "/a\tb",
    "/a\r\nb",
    "/a\u007fb",
    "/ü",
    "/\u{1F600}",
    '/a"b',
    "/a#b",
    "/<script>",
    "/a`b",
    "/{a}",
  ];
  for (const target of rows) assert.equal(codeOf(parseTarget(target)), "BAD_PATH", JSON.stringify(target));
});

test("the forms of a target for proxies and whole servers are BAD_REQUEST (RFC 9112 §3.2.3, §3.2.4)", () => {
  const rows = ["*", "host:443", "a/b", "ftp://host/a", "http:/host/a", "http://host/a#b", " /a", "\\a"];
  for (const target of rows) assert.equal(codeOf(parseTarget(target)), "BAD_REQUEST", JSON.stringify(target));
});

test("a target is at most 8192 characters long, its query included", () => {
  const rows: [target: string, code: string][] = [
    [`/${"a".repeat(targetLengthMax - 1)}`, ""],
    [`/${"a".repeat(targetLengthMax)}`, "URI_TOO_LONG"],
    [`/a?${"b".repeat(targetLengthMax - 3)}`, ""],
    [`/a?${"b".repeat(targetLengthMax - 2)}`, "URI_TOO_LONG"],
    [`/../${"a".repeat(targetLengthMax)}`, "URI_TOO_LONG"], // too long to be looked at
  ];
  assert.equal(targetLengthMax, 8192);
  for (const [target, code] of rows) assert.equal(codeOf(parseTarget(target)), code, `${target.length} characters`);
});

test("a refusal says what is wrong", () => {
  const rows: [target: string, reason: RegExp][] = [
    ["/a%2", /percent sign without two hexadecimal digits/],
    ["/a%00", /NUL/],
    ["/a b", /must be percent-encoded/],
    ["/..", /`\.\.` segment/],
    ["/a%2f..", /encoded slash next to dots/],
    ["*", /begin with a slash/],
    ["/".repeat(9000), /9000 characters, at most 8192/],
  ];
  for (const [target, reason] of rows) {
    const parsed = parseTarget(target);
    assert(parsed.outcome === "rejected", target);
    assert.match(parsed.reason, reason, target.slice(0, 60));
  }
});

test("the host of a Host field: lower case, without port and final dot, or null (RFC 9110 §7.2)", () => {
  const rows: [authority: string | undefined, host: string | null][] = [
    [undefined, null],
    ["", null],
    ["img.cdn.test", "img.cdn.test"],
    ["IMG.CDN.Test", "img.cdn.test"],
    ["img.cdn.test.", "img.cdn.test"],
    ["img.cdn.test:8080", "img.cdn.test"],
    ["img.cdn.test.:8080", "img.cdn.test"],
    ["img.cdn.test:", "img.cdn.test"], // RFC 3986 §3.2.3: the port may be empty
    ["127.0.0.1:80", "127.0.0.1"],
    ["[::1]", "[::1]"],
    ["[::1]:80", "[::1]"],
    ["[2001:DB8::A]:80", "[2001:db8::a]"],
    ["[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"],
    ["::1", null],
    ["[::1", null],
    ["[::1]x", null],
    ["[]", null],
    ["[fe80::1%eth0]", null],
    ["img.cdn.test:port", null],
    ["img.cdn.test:123456", null],
    ["img.cdn.test:80:80", null],
    [":80", null],
    ["user@img.cdn.test", null],
    ["img.cdn.test/a", null],
    ["img.cdn.test?a", null],
    ["img.cdn.test#a", null],
    ["img.cdn.test other", null],
    ["img.cdn.test, other.test", null], // two Host fields, joined
  ];
  for (const [authority, host] of rows) assert.equal(hostOf(authority), host, String(authority));
});

function codeOf(parsed: ParsedTarget): string {
  return parsed.outcome === "rejected" ? parsed.code : "";
}
