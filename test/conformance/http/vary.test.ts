/** Vary: RFC 9111 §4.1, and the fields that this cache lets an origin choose by. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cacheStatus, startEdge } from "./running-edge.ts";
import { held, type Said, type Script } from "./scripted-origin.ts";

const by =
  (field: string, vary = field): Script =>
  (asked): Said => ({
    fields: [
      ["Cache-Control", "max-age=60"],
      ["Vary", vary],
    ],
    body: `for ${String(asked.fields[field.toLowerCase()] ?? "none")}`,
  });

test("each selection has its own answer, and all stay fresh side by side (§4.1)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", by("Accept-Language"));
  for (const word of ["miss", "hit", "hit"]) {
    for (const language of ["de", "fr", undefined]) {
      const got = await edge.ask("/a", { fields: language === undefined ? {} : { "accept-language": language } });
      assert.deepEqual([got.body, got.word], [`for ${language ?? "none"}`, word]);
      assert.equal(got.fields.vary, "Accept-Language");
    }
  }
  assert.equal(edge.origin.asked("/a").length, 3);
});

test("a variant that is missing beside others is a vary-miss (RFC 9211 §2.2)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", by("Accept"));
  const first = await edge.ask("/a", { fields: { accept: "image/webp" } });
  const second = await edge.ask("/a", { fields: { accept: "image/avif" } });
  assert.equal(cacheStatus(first).get("fwd"), "uri-miss");
  assert.equal(cacheStatus(second).get("fwd"), "vary-miss");
});

test("white space and several lines do not make another selection (§4.1)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", by("Accept"));
  await edge.ask("/a", { fields: { accept: "image/webp, image/png" } });
  for (const accept of ["image/webp,  image/png", "  image/webp, image/png "]) {
    assert.equal((await edge.ask("/a", { fields: { accept } })).word, "hit", JSON.stringify(accept));
  }
  assert.equal((await edge.ask("/a", { fields: { accept: "image/png, image/webp" } })).word, "miss");
});

test("an empty field is not the same as none (§4.1)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", by("Accept-Language"));
  await edge.ask("/a");
  assert.equal((await edge.ask("/a", { fields: { "accept-language": "" } })).word, "miss");
  assert.equal((await edge.ask("/a")).word, "hit");
});

test("Accept-Encoding is put in order before anybody chooses by it", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", by("Accept-Encoding"));
  const rows: [field: string | undefined, seen: string, word: string][] = [
    ["gzip, br", "br, gzip", "miss"],
    ["br;q=0.9, gzip;q=1.0, x-own", "br, gzip", "hit"],
    ["GZIP , deflate, BR", "br, gzip", "hit"],
    ["gzip", "gzip", "miss"],
    ["gzip, br;q=0", "gzip", "hit"],
    [undefined, "identity", "miss"],
    ["identity", "identity", "hit"],
    ["x-own, deflate", "identity", "hit"],
    ["gzip;q=0, br;q=0.000", "identity", "hit"],
  ];
  for (const [field, seen, word] of rows) {
    const got = await edge.ask("/a", { fields: field === undefined ? {} : { "accept-encoding": field } });
    assert.deepEqual([got.body, got.word], [`for ${seen}`, word], field ?? "none");
  }
  assert.equal(edge.origin.asked("/a").length, 3);
});

test("an encoded body that says nothing of Vary is given only to who accepts it", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (asked) => {
    const isEncoded = asked.fields["accept-encoding"] === "gzip";
    return {
      fields: [["Cache-Control", "max-age=60"], ...(isEncoded ? [["Content-Encoding", "gzip"] as const] : [])],
      body: isEncoded ? "encoded" : "plain",
    };
  });
  const gzip = { fields: { "accept-encoding": "gzip" } };
  for (const word of ["miss", "hit"]) {
    const got = await edge.ask("/a", gzip);
    assert.deepEqual([got.body, got.word], ["encoded", word]);
    assert.deepEqual(got.lines["vary"], ["Accept-Encoding"], "caches behind this one are told (RFC 9110 §12.5.5)");
  }
  assert.equal((await edge.ask("/a")).body, "plain");
});

test("a field that the origin never sees selects nothing", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", by("X-Version", "X-Version, Origin"));
  assert.equal((await edge.ask("/a", { fields: { "x-version": "1", origin: "https://a.test" } })).body, "for none");
  assert.equal((await edge.ask("/a", { fields: { "x-version": "2", origin: "https://b.test" } })).word, "hit");
  assert.equal((await edge.ask("/a")).word, "hit");
});

test("variants and their marker survive a restart of the tiers", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", by("Accept-Language"));
  for (const language of ["de", "fr"]) await edge.ask("/a", { fields: { "accept-language": language } });
  await edge.restart();
  for (const language of ["de", "fr"]) {
    const got = await edge.ask("/a", { fields: { "accept-language": language } });
    assert.deepEqual([got.body, got.word], [`for ${language}`, "hit"], language);
  }
  const other = await edge.ask("/a", { fields: { "accept-language": "it" } });
  assert.deepEqual([other.word, cacheStatus(other).get("fwd")], ["miss", "vary-miss"]);
});

test("when the origin begins to vary, what it said before is given to nobody else", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60"]], body: "for all" });
  await edge.ask("/a", { fields: { "accept-language": "de" } });
  edge.skip(60);
  edge.origin.say("/a", by("Accept-Language"));
  for (const language of ["de", "fr"]) {
    const got = await edge.ask("/a", { fields: { "accept-language": language } });
    assert.deepEqual([got.body, got.word], [`for ${language}`, "miss"], language);
  }
});

test("when the origin ends to vary, one answer is for all", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", by("Accept-Language"));
  for (const language of ["de", "fr"]) await edge.ask("/a", { fields: { "accept-language": language } });
  edge.skip(60);
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60"]], body: "for all" });
  await edge.ask("/a", { fields: { "accept-language": "de" } });
  const got = await edge.ask("/a", { fields: { "accept-language": "fr" } });
  assert.deepEqual([got.body, got.word], ["for all", "hit"]);
});

test("a 304 is for the variant that was asked about, with or without Vary (§4.3.4)", async (t) => {
  const edge = await startEdge(t);
  const selecting: Script = (asked) => {
    const language = String(asked.fields["accept-language"]);
    const fields: Said["fields"] = [
      ["Cache-Control", "max-age=60"],
      ["Vary", "Accept-Language"],
      ["ETag", `"${language}"`],
    ];
    if (asked.fields["if-none-match"] === `"${language}"`)
      return { status: 304, fields: language === "de" ? fields : fields.slice(0, 1) };
    return { fields, body: `for ${language}` };
  };
  edge.origin.say("/a", selecting);
  for (const turn of [0, 1, 2]) {
    for (const language of ["de", "fr"]) {
      const got = await edge.ask("/a", { fields: { "accept-language": language } });
      assert.deepEqual([got.body, got.fields.etag], [`for ${language}`, `"${language}"`]);
      assert.equal(cacheStatus(got).get("detail"), turn === 0 ? "fetched" : "revalidated");
    }
    edge.skip(60);
  }
});

test("who joined a fetch whose answer was chosen by other fields than theirs gets their own", async (t) => {
  const edge = await startEdge(t);
  const holding = held(by("Accept-Language"));
  edge.origin.say("/a", holding.script);
  // At first nobody knows that the origin will vary, so all wait for one fetch.
  const languages = ["de", "fr", "it", "de", "fr", "it"];
  const asking = languages.map((language) => edge.ask("/a", { fields: { "accept-language": language } }));
  await holding.arrived();
  holding.release();
  const bodies = (await Promise.all(asking)).map((got) => got.body);
  assert.deepEqual(
    bodies,
    languages.map((language) => `for ${language}`),
  );
  for (const language of languages) {
    assert.equal((await edge.ask("/a", { fields: { "accept-language": language } })).word, "hit", language);
  }
});
