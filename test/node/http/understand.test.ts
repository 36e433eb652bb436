import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, NearcastError } from "#base/errors.ts";
import type { Fleet } from "#document/document.ts";
import { type Order, understand } from "../../../node/http/understand.ts";
import { fleetWith } from "../../support/fleet.ts";

const document = fleetWith({
  hosts: [
    { name: "static.cdn.test", kind: "assets", origin: "http://192.0.2.9/base" },
    { name: "img.cdn.test", kind: "images" },
    { name: "Shop.CDN.test.", kind: "images", sourcePrefix: "shop/2024/" },
  ],
  presets: { thumb: { w: 100, h: 100, fit: "crop", auto: "format" }, small: { w: 50, fm: "webp" } },
});
const img = { host: "img.cdn.test" };

/** An order in one line: `images HOST NAME` or `assets HOST METHOD TARGET`. */
function short({ kind, order }: Order): string {
  return kind === "images"
    ? `images ${order.host.name} ${order.name}`
    : `assets ${order.host.name} ${order.method} ${order.target}`;
}

function read(target: string, fields: Record<string, string | string[]>, fleet: Fleet = document): Order {
  return understand(fleet, { method: "GET", target, fields });
}

function refusal(target: string, fields: Record<string, string | string[]>, fleet: Fleet = document): NearcastError {
  try {
    assert.fail(`it was understood: ${short(read(target, fields, fleet))}`);
  } catch (error) {
    if (error instanceof NearcastError) return error;
    throw error;
  }
}

test("the host decides what is served: its own name, a bare address, the authority of an absolute target", () => {
  const rows: [host: string | undefined, target: string, wanted: string][] = [
    ["img.cdn.test", "/a.jpg", "images img.cdn.test a.jpg"],
    ["IMG.cdn.TEST:8080", "/a.jpg", "images img.cdn.test a.jpg"],
    ["img.cdn.test.", "/a.jpg", "images img.cdn.test a.jpg"],
    ["shop.cdn.test", "/a.jpg", "images Shop.CDN.test. shop/2024/a.jpg"],
    ["static.cdn.test", "/a.jpg", "assets static.cdn.test GET /a.jpg"],
    // A bare address means the first host of pictures, though an assets host stands before it.
    ["127.0.0.1:8080", "/a.jpg", "images img.cdn.test a.jpg"],
    ["192.0.2.1", "/a.jpg", "images img.cdn.test a.jpg"],
    ["[::1]:8080", "/a.jpg", "images img.cdn.test a.jpg"],
    ["[2001:DB8::1]", "/a.jpg", "images img.cdn.test a.jpg"],
    ["localhost:8080", "/a.jpg", "images img.cdn.test a.jpg"],
    [undefined, "/a.jpg", "images img.cdn.test a.jpg"], // only HTTP/1.0 has no Host
    // RFC 9112 §3.2.2: an absolute target's authority holds against the Host field.
    ["img.cdn.test", "http://static.cdn.test/a.jpg", "assets static.cdn.test GET /a.jpg"],
    [undefined, "http://static.cdn.test:80/a?b", "assets static.cdn.test GET /a?b"],
    ["other.test", "http://127.0.0.1/a.jpg", "images img.cdn.test a.jpg"],
  ];
  for (const [host, target, wanted] of rows) {
    assert.equal(short(read(target, host === undefined ? {} : { host })), wanted, `${host} ${target}`);
  }
});

test("a host that is not served is 421, one that can't be read is 400 (RFC 9110 §7.4, RFC 9112 §3.2)", () => {
  const rows: [host: string | undefined, target: string, code: ErrorCode][] = [
    ["other.test", "/a.jpg", "UNKNOWN_HOST"],
    ["cdn.test", "/a.jpg", "UNKNOWN_HOST"],
    ["x.img.cdn.test", "/a.jpg", "UNKNOWN_HOST"],
    ["img.cdn.test.evil.test", "/a.jpg", "UNKNOWN_HOST"],
    ["1.2.3", "/a.jpg", "UNKNOWN_HOST"],
    ["img.cdn.test", "http://other.test/a.jpg", "UNKNOWN_HOST"],
    ["__proto__", "/a.jpg", "UNKNOWN_HOST"],
    ["", "/a.jpg", "BAD_REQUEST"],
    ["img.cdn.test, other.test", "/a.jpg", "BAD_REQUEST"],
    ["user@img.cdn.test", "/a.jpg", "BAD_REQUEST"],
    ["img.cdn.test", "http:///a.jpg", "BAD_REQUEST"],
    ["img.cdn.test", "http://user:password@img.cdn.test/a.jpg", "BAD_REQUEST"],
  ];
  for (const [host, target, code] of rows) {
    assert.equal(refusal(target, host === undefined ? {} : { host }).code, code, `${host} ${target}`);
  }
  const long = refusal("/a", { host: `${"a".repeat(8000)}.test` });
  assert.equal(long.code, "UNKNOWN_HOST");
  assert.ok(long.message.length < 300, "the answer does not grow with the question");
});

test("without a host of pictures a bare address means the first host there is", () => {
  const fleet = fleetWith({ hosts: [{ name: "static.cdn.test", kind: "assets", origin: "http://192.0.2.9" }] });
  assert.equal(short(read("/a", { host: "127.0.0.1" }, fleet)), "assets static.cdn.test GET /a");
});

test("the path of a picture, decoded, behind the host's prefix is the source's name", () => {
  const rows: [target: string, name: string][] = [
    ["/a.jpg", "a.jpg"],
    ["/a/b/c", "a/b/c"],
    ["/a%20b/%C3%BC.jpg", "a b/ü.jpg"],
    ["/u%CC%88.jpg", "ü.jpg"], // NFC
    ["/a+b.jpg", "a+b.jpg"],
    ["/%25.jpg", "%.jpg"],
    ["/a%3Fb", "a?b"],
    ["/a.jpg?x=../..", "a.jpg"],
    ["/..a", "..a"],
  ];
  for (const [target, name] of rows) {
    assert.equal(short(read(target, img)), `images img.cdn.test ${name}`, target);
    assert.equal(
      short(read(target, { host: "shop.cdn.test" })),
      `images Shop.CDN.test. shop/2024/${name}`,
      `${target} behind a prefix`,
    );
  }
});

test("no path leaves the host's prefix, and what is no name is refused", () => {
  const rows: [target: string, code: ErrorCode][] = [
    ["/", "BAD_PATH"],
    ["/a/", "BAD_PATH"],
    ["//a", "BAD_PATH"],
    ["/a//b", "BAD_PATH"],
    ["/../secret", "BAD_PATH"],
    ["/%2e%2e/secret", "BAD_PATH"],
    ["/..%2fsecret", "BAD_PATH"],
    ["/a%2fb", "BAD_PATH"], // one segment, not two
    ["/a%2Fb", "BAD_PATH"],
    ["/a%5cb", "BAD_PATH"],
    ["/a%0ab", "BAD_PATH"],
    ["/a%00", "BAD_PATH"],
    ["/%ff%fe.jpg", "BAD_PATH"],
    ["/%c0%ae%c0%ae/a", "BAD_PATH"], // overlong
    ["/%ed%a0%80.jpg", "BAD_PATH"], // half a surrogate pair
    ["/a%E2%80%AEgpj.exe", "BAD_PATH"],
    [`/${"a".repeat(501)}`, "BAD_PATH"],
    ["*", "BAD_REQUEST"],
    ["img.cdn.test:443", "BAD_REQUEST"],
    [`/${"a".repeat(8192)}`, "URI_TOO_LONG"],
  ];
  for (const [target, code] of rows) {
    for (const host of ["img.cdn.test", "shop.cdn.test"]) {
      assert.equal(refusal(target, { host }).code, code, `${host} ${target.slice(0, 60)}`);
    }
  }
});

test("the target of an assets host goes on as the client wrote it", () => {
  const rows: string[] = [
    "/",
    "/a",
    "/a/",
    "//a//b",
    "/a%2Fb%2fc",
    "/%ff%fe",
    "/%41?q=%41&q=a+b",
    "/a?w=0&w=abc&preset=none",
    "/a;b=c,d/e:f@g!$&'()*+~",
  ];
  const fields = { host: "static.cdn.test", accept: "text/html", cookie: "a=1" };
  for (const target of rows) {
    const understood = read(target, fields);
    assert.equal(short(understood), `assets static.cdn.test GET ${target}`, target);
    assert(understood.kind === "assets");
    assert.equal(understood.order.fields, fields);
  }
  assert.equal(short(read("/a?", fields)), "assets static.cdn.test GET /a");
  assert.equal(short(understand(document, { method: "HEAD", target: "/a", fields })), "assets static.cdn.test HEAD /a");
  for (const target of ["/../a", "/a/%2e%2e", "/a%00", "/a%zz", "/..;/a"]) {
    assert.equal(refusal(target, fields).code, "BAD_PATH", target);
  }
});

test("the query is the variant: presets, Accept where auto=format asks for it, unknown parameters ignored", () => {
  const plain = { fit: "clip", quality: 75, format: "source" };
  const accept = "image/avif,image/webp,*/*";
  const rows: [query: string, accept: string | undefined, variant: object, varies: boolean][] = [
    ["", undefined, plain, false],
    ["w=200&q=50", undefined, { ...plain, widthPx: 200, quality: 50 }, false],
    ["w=200&utm_source=x&ixlib=js", undefined, { ...plain, widthPx: 200 }, false],
    ["w=200", accept, { ...plain, widthPx: 200 }, false],
    ["auto=format", accept, { ...plain, format: "avif", insteadOfAvif: "webp" }, true],
    ["auto=format", "image/webp", { ...plain, format: "webp" }, true],
    ["auto=format", undefined, { ...plain, format: "compatible" }, true],
    ["preset=thumb", "image/webp", { ...plain, widthPx: 100, heightPx: 100, fit: "crop", format: "webp" }, true],
    ["preset=small&w=60", undefined, { ...plain, widthPx: 60, format: "webp" }, false],
  ];
  for (const [query, field, variant, varies] of rows) {
    const understood = read(`/a.jpg?${query}`, field === undefined ? img : { ...img, accept: field });
    assert(understood.kind === "images", query);
    assert.deepEqual(understood.order.variant, variant, `${query}, ${field}`);
    assert.equal(understood.order.varies, varies, `${query}, ${field}`);
  }
});

test("a bad parameter is reported by name, value and range, in words and as facts", () => {
  const rows: [query: string, parameter: string, value: string, allowed: RegExp][] = [
    ["w=0", "w", "0", /a whole number of pixels from 1 to 8192/],
    ["w=abc", "w", "abc", /a whole number of pixels from 1 to 8192/],
    ["h=8193", "h", "8193", /a whole number of pixels from 1 to 8192/],
    ["q=101", "q", "101", /a whole number from 1 to 100/],
    ["fit=sideways", "fit", "sideways", /clip, crop/],
    ["fm=exe", "fm", "exe", /jpg, png, webp, avif/],
    ["dpr=9", "dpr", "9", /between 0\.1 and 5/],
    ["bg=zz", "bg", "zz", /hexadecimal/],
    ["preset=nope", "preset", "nope", /preset/],
    ["preset=__proto__", "preset", "__proto__", /preset/],
    ["w=1&w=2", "w", "2", /once/],
    ["w=%zz", "w", "w=%zz", /percent-encoded/],
    [`w=${"9".repeat(200)}`, "w", "9".repeat(100), /a whole number of pixels from 1 to 8192/],
  ];
  for (const [query, parameter, value, allowed] of rows) {
    const error = refusal(`/a.jpg?${query}`, img);
    assert.equal(error.code, "BAD_PARAMETER", query);
    assert.match(String(error.facts["allowed"]), allowed, query);
    assert.deepEqual(error.facts, { parameter, value, allowed: error.facts["allowed"] }, query);
    assert.equal(error.message, `${parameter} must be ${String(error.facts["allowed"])} (got "${value}")`, query);
  }
});
