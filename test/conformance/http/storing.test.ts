/** What a shared cache may keep and tell others: RFC 9111 §3, §3.5, §5.2.2, §7.3. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type AskOptions, cacheStatus, startEdge } from "./running-edge.ts";
import type { Said } from "./scripted-origin.ts";

test("what may not be stored is asked for each time, and lies in no tier (§3)", async (t) => {
  const edge = await startEdge(t, { host: { freshSeconds: 60 } });
  const rows: [detail: string, said: Said][] = [
    ["no-store", { fields: [["Cache-Control", "no-store, max-age=60"]] }],
    ["private", { fields: [["Cache-Control", "private, max-age=60"]] }],
    ["private", { fields: [["Cache-Control", 'private="x-user", max-age=60']] }],
    [
      "private",
      {
        fields: [
          ["Cache-Control", "max-age=60"],
          ["Cache-Control", "private"],
        ],
      },
    ],
    [
      "set-cookie",
      {
        fields: [
          ["Cache-Control", "public, max-age=60"],
          ["Set-Cookie", "id=1"],
        ],
      },
    ],
    [
      "no-store",
      {
        fields: [
          ["Cache-Control", "max-age=60"],
          ["CDN-Cache-Control", "no-store"],
        ],
      },
    ],
    [
      "vary-any",
      {
        fields: [
          ["Cache-Control", "max-age=60"],
          ["Vary", "*"],
        ],
      },
    ],
    [
      "vary-cookie",
      {
        fields: [
          ["Cache-Control", "max-age=60"],
          ["Vary", "Cookie"],
        ],
      },
    ],
    ["status", { status: 403, fields: [["Cache-Control", "max-age=60"]] }],
    ["status", { status: 299, fields: [["Cache-Control", "max-age=60"]] }],
    ["no-lifetime", { status: 302, fields: [["Location", "/elsewhere"]] }],
    ["no-lifetime", { status: 307, fields: [["Location", "/elsewhere"]] }],
  ];
  for (const [index, [detail, said]] of rows.entries()) {
    const title = `${detail}: ${JSON.stringify(said)}`;
    const target = `/never/${index}`;
    edge.origin.say(target, (_asked, turn) => ({ ...said, body: `turn ${turn}` }));
    for (let turn = 0; turn < 3; turn += 1) {
      const got = await edge.ask(target);
      assert.deepEqual([got.status, got.body, got.word], [said.status ?? 200, `turn ${turn}`, "bypass"], title);
      assert.equal(cacheStatus(got).get("detail"), detail, title);
      assert.equal(cacheStatus(got).get("stored"), undefined, title);
      assert.equal(got.fields.age, undefined, title);
      if (said.status === 403) edge.skip(1); // past what is remembered of failures
    }
    assert.equal(edge.origin.asked(target).length, 3, title);
  }
  const { memory, disk } = edge.stats();
  assert.deepEqual([memory.entries, disk.entries], [0, 0]);
});

test("each client has its own Set-Cookie, no matter who asks at the same moment (§7.3)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (_asked, turn) => ({
    fields: [
      ["Cache-Control", "public, max-age=60"],
      ["Set-Cookie", `id=${turn}`],
      ["Set-Cookie", "theme=dark"],
    ],
    body: `turn ${turn}`,
  }));
  const answers = await Promise.all(Array.from({ length: 20 }, () => edge.ask("/a")));
  const cookies = answers.map((got) => got.lines["set-cookie"]);
  assert.equal(new Set(cookies.map((lines) => lines?.[0])).size, 20, "no two clients have one session");
  for (const [index, got] of answers.entries()) {
    assert.deepEqual(cookies[index], [`id=${got.body.slice("turn ".length)}`, "theme=dark"]);
  }
  assert.equal(edge.origin.asked("/a").length, 20);
});

test("a client's Cookie does not reach the origin, so no answer is made for one", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60"]] });
  await edge.ask("/a", { fields: { cookie: "id=1" } });
  assert.equal(edge.origin.asked("/a")[0]?.fields.cookie, undefined);
  assert.equal((await edge.ask("/a", { fields: { cookie: "id=2" } })).word, "hit");
});

test("a request with Authorization goes past the cache, and leaves nothing in it (§3.5)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (asked) => ({
    fields: [["Cache-Control", "public, max-age=60"]],
    body: asked.fields.authorization ?? "nobody",
  }));
  const as = (who: string): AskOptions => ({ fields: { authorization: who } });
  for (const who of ["Basic b25l", "Basic dHdv", "Basic b25l"]) {
    const got = await edge.ask("/a", as(who));
    assert.deepEqual([got.body, got.word], [who, "bypass"]);
  }
  assert.deepEqual([(await edge.ask("/a")).body, (await edge.ask("/a")).word], ["nobody", "hit"]);
  assert.equal((await edge.ask("/a", as("Basic b25l"))).body, "Basic b25l", "also where something is stored");
  assert.equal((await edge.ask("/a")).body, "nobody");
  assert.equal(edge.origin.asked("/a").length, 5);
});

test("404 and its like are kept for the host's while, or their own (§4.2.2)", async (t) => {
  const edge = await startEdge(t, { host: { negativeSeconds: 5, staleIfErrorSeconds: 0 } });
  for (const status of [404, 405, 410, 414, 501]) {
    const target = `/negative/${status}`;
    edge.origin.say(target, { status, body: "no" });
    assert.equal((await edge.ask(target)).word, "miss", target);
    edge.skip(4);
    const hit = await edge.ask(target);
    assert.deepEqual([hit.status, hit.body, hit.word, hit.fields.age], [status, "no", "hit", "4"], target);
    edge.skip(1);
    assert.equal((await edge.ask(target)).word, "miss", target);
    assert.equal(edge.origin.asked(target).length, 2, target);
  }
  edge.origin.say("/own", { status: 404, fields: [["Cache-Control", "max-age=30"]] });
  await edge.ask("/own");
  edge.skip(29);
  assert.equal((await edge.ask("/own")).word, "hit");
});

test("a name that comes into being is seen when the 404's lifetime ends", async (t) => {
  const edge = await startEdge(t, { host: { negativeSeconds: 5 } });
  edge.origin.say("/a", { status: 404, body: "no" });
  await edge.ask("/a");
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60"]], body: "yes" });
  assert.equal((await edge.ask("/a")).status, 404);
  edge.skip(5);
  const got = await edge.ask("/a");
  assert.deepEqual([got.status, got.body, got.word], [200, "yes", "miss"]);
});

test("a 5xx is passed on as it is, for a second to all who ask, and then forgotten", async (t) => {
  const edge = await startEdge(t);
  for (const status of [500, 502, 503, 504]) {
    const target = `/broken/${status}`;
    edge.origin.say(target, {
      status,
      fields: [
        ["Cache-Control", "max-age=60"],
        ["Retry-After", "7"],
      ],
      body: "broken",
    });
    const broken = await edge.ask(target);
    assert.deepEqual([broken.status, broken.body, broken.fields["retry-after"]], [status, "broken", "7"], target);
    const again = await edge.ask(target);
    assert.deepEqual([again.status, again.body], [status, "broken"], target);
    assert.equal(edge.origin.asked(target).length, 1, target);
    edge.origin.say(target, { fields: [["Cache-Control", "max-age=60"]], body: "well" });
    edge.skip(1);
    for (const word of ["miss", "hit"]) {
      const got = await edge.ask(target);
      assert.deepEqual([got.status, got.body, got.word], [200, "well", word], target);
    }
  }
});

test("redirects pass unfollowed; they are stored by a lifetime of their own (§3, RFC 9110 §15.4)", async (t) => {
  const edge = await startEdge(t, { host: { freshSeconds: 60, staleIfErrorSeconds: 0 } });
  const location = ["Location", "https://elsewhere.test/b?c=1"] as const;
  const rows: [status: number, control: string | null, words: [string, string]][] = [
    [301, "max-age=60", ["miss", "hit"]],
    [308, "max-age=60", ["miss", "hit"]],
    [302, "max-age=60", ["miss", "hit"]],
    [307, "s-maxage=60", ["miss", "hit"]],
    [301, null, ["miss", "miss"]], // the host's default is for bodies; a redirect is asked about each time
    [308, null, ["miss", "miss"]],
    [302, null, ["bypass", "bypass"]],
    [307, null, ["bypass", "bypass"]],
    [303, "max-age=60", ["bypass", "bypass"]],
  ];
  for (const [index, [status, control, words]] of rows.entries()) {
    const title = `${status} ${control}`;
    const target = `/redirect/${index}`;
    edge.origin.say(target, {
      status,
      fields: [location, ...(control === null ? [] : [["Cache-Control", control] as const])],
    });
    for (const word of words) {
      const got = await edge.ask(target);
      assert.deepEqual([got.status, got.fields.location, got.word], [status, location[1], word], title);
    }
  }
});
