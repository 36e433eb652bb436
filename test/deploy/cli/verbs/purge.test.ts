import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFleet } from "#document/read-document.ts";
import { CommandFailure } from "../../../../deploy/cli/exit-codes.ts";
import { doubledPrefix, selectorOfUrl, slashHint, urlWithoutScheme } from "../../../../deploy/cli/verbs/purge.ts";

const parsed = parseFleet(`
zones: [{ name: cdn.test, nameservers: [{ name: ns1, addresses: [192.0.2.1] }] }]
sites:
  - { name: fra, place: { latitude: 50, longitude: 8 }, addresses: [192.0.2.1], nodes: [{ name: a, http: "http://a" }] }
hosts:
  - { name: static.cdn.test, kind: assets, origin: "http://10.0.0.1" }
  - { name: img.cdn.test, kind: images, sourcePrefix: shop/ }
`);

test("a URL becomes the picture that it shows, or the tag of an asset's address", () => {
  assert.ok(parsed.ok);
  const cases: [url: string, expected: ReturnType<typeof selectorOfUrl>][] = [
    ["http://img.cdn.test/chair.jpg?w=300&auto=format", { name: "shop/chair.jpg", sourcePrefix: "shop/" }],
    ["https://IMG.cdn.test/a%20b/%C3%BC.jpg", { name: "shop/a b/ü.jpg", sourcePrefix: "shop/" }],
    ["http://127.0.0.1:8080/chair.jpg", { name: "shop/chair.jpg", sourcePrefix: "shop/" }],
    ["http://[::1]:8080/chair.jpg", { name: "shop/chair.jpg", sourcePrefix: "shop/" }],
    ["http://static.cdn.test/app.js?v=2", { tag: "url:static.cdn.test/app.js" }],
  ];
  for (const [url, expected] of cases) assert.deepEqual(selectorOfUrl(url, parsed.value), expected, url);
});

test("a URL of another host, or one that can't be read, is refused", () => {
  assert.ok(parsed.ok);
  for (const url of ["http://other.test/x", "http://img.cdn.test/%ff", "http://"]) {
    assert.throws(() => selectorOfUrl(url, parsed.value), CommandFailure, url);
  }
});

test("a URL that has its host's prefix a second time is reported, with the URL that was probably meant", () => {
  const sourcePrefix = "shop ä/";
  const url = "http://img.cdn.test:8080/shop%20%C3%A4/chair.jpg?w=300";
  assert.equal(
    doubledPrefix("shop ä/shop ä/chair.jpg", { url, sourcePrefix }),
    'the host adds its sourcePrefix "shop ä/" to each path, and the URL contains it again; ' +
      "did you mean http://img.cdn.test:8080/chair.jpg?w=300?",
  );
  assert.equal(doubledPrefix("shop ä/chair.jpg", { url: "http://img.cdn.test/chair.jpg", sourcePrefix }), undefined);
  assert.equal(doubledPrefix("chair.jpg", { url, sourcePrefix: "" }), undefined);
});

test("a URL without its scheme, and a prefix with the slash of a path, get a hint at what was meant", () => {
  const hosts = ["img.cdn.test", "static.cdn.test"];
  assert.equal(
    urlWithoutScheme("img.cdn.test/shop/chair.jpg", hosts),
    'names of pictures do not start with a host; did you mean "http://img.cdn.test/shop/chair.jpg"?',
  );
  assert.equal(urlWithoutScheme("shop/img.cdn.test", hosts), undefined);
  assert.equal(slashHint("/shop"), 'names of pictures do not start with a slash; did you mean "shop"?');
  assert.equal(slashHint("shop/"), undefined);
});
