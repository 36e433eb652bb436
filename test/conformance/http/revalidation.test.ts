/** Revalidation: RFC 9111 §4.3 (validation), §3.2 (a 304 freshens what is stored), §5.2.2 (who must revalidate). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cacheStatus, eventually, startEdge } from "./running-edge.ts";
import type { Asked, Said } from "./scripted-origin.ts";

const lastModified = "Mon, 01 Jun 2026 00:00:00 GMT";

/** Answers 304 to whoever brings the validator, else the body. */
function versioned(fields: Said["fields"] = [], unchanged: Said["fields"] = fields) {
  return (asked: Asked): Said => {
    const isKnown = asked.fields["if-none-match"] !== undefined || asked.fields["if-modified-since"] !== undefined;
    return isKnown ? { status: 304, fields: unchanged } : { fields, body: "one" };
  };
}

test("a stale answer is revalidated by its validators; a 304 makes it fresh again (§4.3.1, §4.3.3)", async (t) => {
  const rows: [validator: readonly (readonly [string, string])[], conditions: (string | undefined)[]][] = [
    [[["ETag", '"1"']], ['"1"', undefined]],
    [[["ETag", 'W/"1"']], ['W/"1"', undefined]],
    [[["Last-Modified", lastModified]], [undefined, lastModified]],
    [
      [
        ["ETag", '"1"'],
        ["Last-Modified", lastModified],
      ],
      ['"1"', lastModified],
    ],
  ];
  for (const [validator, conditions] of rows) {
    const title = JSON.stringify(validator);
    const edge = await startEdge(t);
    edge.origin.say("/a", versioned([["Cache-Control", "max-age=60"], ...validator]));
    await edge.ask("/a");
    edge.skip(100);
    const got = await edge.ask("/a");
    assert.deepEqual([got.status, got.body, got.word, got.fields.age], [200, "one", "miss", undefined], title);
    assert.equal(cacheStatus(got).get("detail"), "revalidated", title);
    edge.skip(59);
    const hit = await edge.ask("/a");
    assert.deepEqual([hit.word, hit.body, hit.fields.age], ["hit", "one", "59"], title);
    const asked = edge.origin.asked("/a");
    assert.equal(asked.length, 2, title);
    assert.deepEqual(
      [asked[0]?.fields["if-none-match"], asked[0]?.fields["if-modified-since"]],
      [undefined, undefined],
    );
    const second = asked[1]?.fields;
    assert.deepEqual([second?.["if-none-match"], second?.["if-modified-since"]], conditions, title);
  }
});

test("a 304's fields replace the stored ones, others and the body stay (§3.2)", async (t) => {
  const edge = await startEdge(t);
  const before = [
    ["Cache-Control", "max-age=60"],
    ["ETag", '"1"'],
    ["Content-Type", "text/x-before"],
    ["X-Kept", "before"],
    ["X-Renewed", "before 1"],
    ["X-Renewed", "before 2"],
  ] as const;
  const after = [
    ["Cache-Control", "max-age=90"],
    ["ETag", '"1"'],
    ["Content-Type", "text/x-after"],
    ["Content-Encoding", "x-after"],
    ["Content-Range", "bytes 0-1/2"],
    ["X-Renewed", "after"],
    ["X-New", "after"],
  ] as const;
  edge.origin.say("/a", versioned(before, after));
  const first = await edge.ask("/a");
  edge.skip(60);
  const revalidated = await edge.ask("/a");
  edge.skip(89);
  const hit = await edge.ask("/a");
  for (const got of [revalidated, hit]) {
    assert.equal(got.body, "one");
    assert.equal(got.fields["content-length"], "3");
    assert.equal(got.fields["cache-control"], "max-age=90");
    assert.equal(got.fields["content-type"], "text/x-before", "what tells of the body stays with the body");
    assert.equal(got.fields["content-encoding"], undefined);
    assert.equal(got.fields["content-range"], undefined);
    assert.deepEqual(got.lines["x-renewed"], ["after"]);
    assert.deepEqual([got.fields["x-kept"], got.fields["x-new"]], ["before", "after"]);
    assert.notEqual(got.fields.date, first.fields.date, "Date is that of the 304");
  }
  assert.deepEqual([hit.word, hit.fields.age], ["hit", "89"]);
});

test("what a 304 made fresh is so also after a restart", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say(
    "/a",
    versioned([
      ["Cache-Control", "max-age=60"],
      ["ETag", '"1"'],
    ]),
  );
  await edge.ask("/a");
  edge.skip(60);
  await edge.ask("/a");
  await edge.restart();
  edge.skip(30);
  const got = await edge.ask("/a");
  assert.deepEqual([got.word, got.body, got.fields.age], ["hit", "one", "30"]);
});

test("an answer without Date is as of its arrival, and so is a 304 (RFC 9110 §6.6.1)", async (t) => {
  const edge = await startEdge(t);
  const fields = [
    ["Cache-Control", "max-age=60"],
    ["ETag", '"1"'],
  ] as const;
  edge.origin.say("/a", (asked) => ({ ...versioned(fields)(asked), date: null }));
  for (const word of ["miss", "miss"]) {
    const bornAt = new Date(edge.now()).toUTCString();
    assert.equal((await edge.ask("/a")).word, word);
    edge.skip(50);
    const hit = await edge.ask("/a");
    assert.deepEqual([hit.word, hit.fields.age, hit.lines["date"]], ["hit", "50", [bornAt]]);
    edge.skip(10);
  }
});

test("another body replaces the stored one whole (§4.3.3)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (_asked, turn) => ({
    fields: [
      ["Cache-Control", "max-age=60"],
      ["ETag", `"${turn}"`],
      [`X-Turn-${turn}`, "yes"],
    ],
    body: `turn ${turn}`,
  }));
  await edge.ask("/a");
  edge.skip(60);
  for (const word of ["miss", "hit"]) {
    const got = await edge.ask("/a");
    assert.deepEqual([got.word, got.body, got.fields.etag], [word, "turn 1", '"1"']);
    assert.deepEqual([got.fields["x-turn-0"], got.fields["x-turn-1"]], [undefined, "yes"]);
  }
});

test("a 304 that speaks of another version does not freshen this one: the whole is asked for (§4.3.4)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (asked, turn) =>
    asked.fields["if-none-match"] === undefined
      ? {
          fields: [
            ["Cache-Control", "max-age=60"],
            ["ETag", `"${turn}"`],
          ],
          body: `turn ${turn}`,
        }
      : {
          status: 304,
          fields: [
            ["Cache-Control", "max-age=60"],
            ["ETag", '"other"'],
          ],
        },
  );
  await edge.ask("/a");
  edge.skip(60);
  const got = await edge.ask("/a");
  assert.deepEqual([got.status, got.body, got.fields.etag], [200, "turn 2", '"2"']);
  assert.deepEqual(
    edge.origin.asked("/a").map(({ fields }) => fields["if-none-match"]),
    [undefined, '"0"', undefined],
  );
  assert.equal((await edge.ask("/a")).word, "hit");
});

test("a 304 to who asked without condition makes no sense: 502, and nothing is stored", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { status: 304, fields: [["Cache-Control", "max-age=60"]] });
  for (let turn = 1; turn <= 2; turn += 1) {
    const got = await edge.ask("/a");
    assert.equal(got.status, 502);
    assert.match(got.body, /ORIGIN_BAD_ANSWER/);
    assert.equal(edge.origin.asked("/a").length, turn);
    edge.skip(1); // past what is remembered of failures
  }
});

test("no-cache is stored but asked about each time (§5.2.2.4)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say(
    "/a",
    versioned([
      ["Cache-Control", "no-cache, max-age=60"],
      ["ETag", '"1"'],
    ]),
  );
  for (let turn = 0; turn < 3; turn += 1) {
    const got = await edge.ask("/a");
    assert.deepEqual([got.body, got.word], ["one", "miss"]);
    assert.equal(edge.origin.asked("/a").length, turn + 1);
  }
  assert.equal(edge.origin.asked("/a")[2]?.fields["if-none-match"], '"1"');
  await edge.origin.refuse();
  assert.equal((await edge.ask("/a")).status, 502, "and never used without");
});

test("who must revalidate is never served stale, also not while the origin fails (§5.2.2.2, .8, .10)", async (t) => {
  for (const word of ["must-revalidate", "proxy-revalidate", "s-maxage=60"]) {
    const edge = await startEdge(t, { host: { staleWhileRevalidateSeconds: 1000, staleIfErrorSeconds: 1000 } });
    const control = `max-age=60, ${word}`;
    edge.origin.say(
      "/a",
      versioned([
        ["Cache-Control", control],
        ["ETag", '"1"'],
      ]),
    );
    await edge.ask("/a");
    edge.skip(59);
    assert.equal((await edge.ask("/a")).word, "hit", word);
    edge.skip(1);
    await edge.origin.refuse();
    const got = await edge.ask("/a");
    assert.equal(got.status, 502, word);
    assert.equal(got.fields["cache-control"], "no-store", word);
    await edge.origin.resume();
    edge.skip(30); // past the wait of the breaker in front of the origin
    const back = await edge.ask("/a");
    assert.deepEqual([back.status, back.body, back.word], [200, "one", "miss"], word);
    assert.equal(cacheStatus(back).get("detail"), "revalidated", word);
    edge.skip(60);
    edge.origin.say("/a", { status: 500, body: "broken" });
    const failed = await edge.ask("/a");
    assert.deepEqual([failed.status, failed.body], [500, "broken"], word);
  }
});

test("what the origin takes back is not served again (§4.3.3)", async (t) => {
  const rows: [title: string, said: Said, again: { status: number; word: string }][] = [
    ["404", { status: 404, body: "gone" }, { status: 404, word: "hit" }],
    ["410", { status: 410, body: "gone" }, { status: 410, word: "hit" }],
    ["404 not to be stored", { status: 404, fields: [["Cache-Control", "no-store"]] }, { status: 404, word: "bypass" }],
    ["200 no-store", { fields: [["Cache-Control", "no-store"]], body: "new" }, { status: 200, word: "bypass" }],
    ["200 private", { fields: [["Cache-Control", "private"]], body: "new" }, { status: 200, word: "bypass" }],
    ["200 with Set-Cookie", { fields: [["Set-Cookie", "a=1"]], body: "new" }, { status: 200, word: "bypass" }],
    ["403", { status: 403 }, { status: 403, word: "bypass" }],
    ["304 with Set-Cookie", { status: 304, fields: [["Set-Cookie", "a=1"]] }, { status: 200, word: "bypass" }],
    ["304 private", { status: 304, fields: [["Cache-Control", "private"]] }, { status: 200, word: "bypass" }],
  ];
  for (const [title, said, again] of rows) {
    const edge = await startEdge(t);
    const control = "max-age=60, stale-if-error=100000";
    edge.origin.say("/a", (_asked, turn) => {
      if (turn === 0)
        return {
          fields: [
            ["Cache-Control", control],
            ["ETag", '"1"'],
          ],
          body: "old",
        };
      return said.status === 304 && turn > 1 ? { fields: said.fields ?? [], body: "new" } : said;
    });
    await edge.ask("/a");
    edge.skip(60);
    const first = await edge.ask("/a");
    assert.equal(first.status, again.status, title);
    const second = await edge.ask("/a");
    assert.deepEqual([second.status, second.word], [again.status, again.word], title);
    assert.notEqual(second.body, "old", title);
    await edge.restart();
    await edge.origin.refuse();
    edge.skip(1000);
    const third = await edge.ask("/a");
    assert.notEqual(third.body, "old", `${title}: also not when the origin fails later`);
  }
});

test("a body that has grown beyond what memory takes replaces the small one", async (t) => {
  for (const framing of ["length", "chunked"] as const) {
    const edge = await startEdge(t);
    const said = (version: string, body: string): Said => ({
      fields: [
        ["Cache-Control", "max-age=60, stale-while-revalidate=1000"],
        ["ETag", version],
      ],
      body,
      framing,
    });
    edge.origin.say("/a", said('"1"', "small"));
    await edge.ask("/a");
    edge.skip(100);
    const large = "large".repeat(600_000);
    edge.origin.say("/a", said('"2"', large));
    assert.equal((await edge.ask("/a")).word, "stale");
    await eventually("the new version is stored", async () => (await edge.ask("/a")).word === "hit");
    const hit = await edge.ask("/a");
    assert.deepEqual([hit.fields.etag, hit.body === large], ['"2"', true]);
    assert.equal(edge.origin.asked("/a").length, 2, "and it is fetched once");
  }
});
