/** One purge of every kind, from the request to what nobody held. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { check } from "#base/schema.ts";
import { purgeKindNames } from "#purge/kinds.ts";
import { readPurgeEvent, targetsOf } from "#purge/purge-event.ts";
import { addHeld, heldOf, heldSchema, noPlaces, unheldOf, unheldSelectors } from "#purge/purge-report.ts";
import { canonicalSelectors, type PurgeSelectors, purgeRequestSchema } from "#purge/purge-request.ts";

const request: PurgeSelectors = {
  names: ["a.jpg", "u\u0308.jpg"],
  prefix: "shop/",
  hosts: ["IMG.test.", "other.test"],
  tags: ["red", "url:static.test/app.js"],
  all: true,
};

const imagesHost = {
  name: "img.test",
  kind: "images",
  sourcePrefix: "pictures/",
  freshSeconds: 1,
  staleWhileRevalidateSeconds: 0,
  staleIfErrorSeconds: 0,
  staleWaitMs: 1000,
  negativeSeconds: 0,
  enlargementMax: 1,
  outputPixelsMax: 33_554_432,
  cacheControl: "no-cache",
} as const;

test("every kind has its selectors in a request, in canonical form", () => {
  assert.deepEqual(purgeKindNames.toSorted(), Object.keys(request).toSorted());
  assert.equal(check(purgeRequestSchema, request).ok, true);
  assert.deepEqual(canonicalSelectors(request), {
    ...request,
    names: ["a.jpg", "ü.jpg"],
    hosts: ["img.test", "other.test"],
  });
  assert.throws(() => canonicalSelectors({}), /names, prefix, hosts, tags, all/);
});

test("what the origin accepts is an event that edges can read, in the longest form it takes", () => {
  const longest: PurgeSelectors = {
    names: Array.from({ length: 1000 }, () => "\ufb2c".repeat(83)),
    prefix: "\ufb2c".repeat(83),
    // In lower case twice as long; no host has such a name.
    hosts: Array.from({ length: 100 }, () => "\u0130".repeat(253)),
    tags: Array.from({ length: 1000 }, () => "~".repeat(256)),
    all: true,
  };
  for (const name of purgeKindNames) {
    const one: PurgeSelectors = { [name]: longest[name] };
    if (!check(purgeRequestSchema, one).ok) {
      assert.equal(name, "hosts");
      continue;
    }
    readPurgeEvent({ reason: "purge", ...canonicalSelectors(one) });
  }
});

test("only what a host can be called is taken for a host", () => {
  for (const host of ["img.test", "IMG.test.", "xn--bcher-kva.test", "a".repeat(63)]) {
    assert.equal(check(purgeRequestSchema, { hosts: [host] }).ok, true, host);
  }
  for (const host of ["", ".", "\u0130.test", "\u001b[2J", "img test", "a".repeat(64)]) {
    assert.equal(check(purgeRequestSchema, { hosts: [host] }).ok, false, host);
  }
});

test("every kind stands for something in the caches", () => {
  const targets = targetsOf(readPurgeEvent({ reason: "purge", ...canonicalSelectors(request) }), [imagesHost]);
  const none = { tags: [], tagPrefixes: [], isAll: false };
  assert.deepEqual(Object.fromEntries(targets), {
    names: [
      { ...none, tags: ["source:a.jpg"] },
      { ...none, tags: ["source:ü.jpg"] },
    ],
    prefix: [{ ...none, tagPrefixes: ["source:shop/"] }],
    hosts: [
      { ...none, tags: ["host:img.test"], tagPrefixes: ["source:pictures/"] },
      { ...none, tags: ["host:other.test"] },
    ],
    tags: [
      { ...none, tags: ["tag:red"] },
      { ...none, tags: ["url:static.test/app.js"] },
    ],
    all: [{ ...none, isAll: true }],
  });
});

test("what no node held is named, of all kinds but the one without words", () => {
  const selectors = canonicalSelectors(request);
  const targets = targetsOf(readPurgeEvent({ reason: "purge", ...selectors }), []);
  const places = noPlaces();
  assert.deepEqual(
    unheldSelectors(unheldOf(selectors, places)).map(({ kind, selector }) => `${kind} ${selector}`),
    [
      "names a.jpg",
      "names ü.jpg",
      "prefix shop/",
      "hosts img.test",
      "hosts other.test",
      "tags red",
      "tags url:static.test/app.js",
    ],
  );
  const reports = [
    heldOf(targets, ({ tags }) => tags.includes("source:ü.jpg") || tags.includes("host:img.test")),
    heldOf(targets, ({ tags, tagPrefixes }) => tags.includes("tag:red") || tagPrefixes.includes("source:shop/")),
  ];
  assert.deepEqual(reports[0], { names: [1], prefix: false, hosts: [0], tags: [] });
  for (const report of reports) {
    assert.equal(check(heldSchema, report).ok, true);
    addHeld(places, report);
  }
  const rest = unheldOf(selectors, places);
  assert.deepEqual(JSON.parse(JSON.stringify(rest)), {
    names: ["a.jpg"],
    hosts: ["other.test"],
    tags: ["url:static.test/app.js"],
  });
});
