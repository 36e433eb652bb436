/** What travels to the origin and back: RFC 9110 §7.6 (hops), §7.8; RFC 8586 (CDN-Loop). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeName, startEdge } from "./running-edge.ts";

const storable = [["Cache-Control", "max-age=60"]] as const;

test("the origin sees the fields of the allow-list, and what this node says itself", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a?b=%20c", { fields: storable });
  await edge.ask("/a?b=%20c", {
    fields: {
      accept: "image/webp",
      "accept-language": "de",
      "user-agent": "test",
      cookie: "id=1",
      referer: "https://elsewhere.test/",
      origin: "https://elsewhere.test",
      range: "bytes=0-1",
      "if-none-match": '"1"',
      "cache-control": "no-cache",
      pragma: "no-cache",
      "x-forwarded-host": "evil.test",
      "x-forwarded-for": "192.0.2.1",
      "x-original-url": "/evil",
      forwarded: "host=evil.test",
      "x-own": "1",
      te: "trailers",
      "proxy-authorization": "Basic eA==",
      connection: "keep-alive, x-own",
    },
  });
  const { host, connection, ...seen } = edge.origin.asked("/a?b=%20c")[0]?.fields ?? {};
  assert.equal(`http://${host}`, edge.origin.url, "Host is the origin's own");
  assert.equal(connection, "keep-alive");
  assert.deepEqual(
    { ...seen },
    {
      accept: "image/webp",
      "accept-encoding": "identity",
      "accept-language": "de",
      "user-agent": "test",
      range: "bytes=0-1", // nothing is stored, so the range alone is asked for
      via: `1.1 ${nodeName}`,
      "cdn-loop": "nearcast",
      "x-forwarded-host": "assets.cdn.test",
    },
  );
});

test("Authorization travels only where nothing is kept (RFC 9111 §3.5)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields: storable });
  await edge.ask("/a", { fields: { authorization: "Basic eA==", cookie: "id=1" } });
  await edge.ask("/a");
  const [first, second] = edge.origin.asked("/a");
  assert.deepEqual([first?.fields.authorization, first?.fields.cookie], ["Basic eA==", undefined]);
  assert.equal(second?.fields.authorization, undefined);
});

test("the path of the origin's URL is put before the target", async (t) => {
  for (const originPath of ["/base", "/base/"]) {
    const edge = await startEdge(t, { originPath });
    edge.origin.say("/base/a/b%2Fc?d", { fields: storable, body: "found" });
    assert.equal((await edge.ask("/a/b%2Fc?d")).body, "found", originPath);
  }
});

test("fields of one connection stay on it: those of HTTP, and those that Connection names (§7.6.1)", async (t) => {
  const edge = await startEdge(t);
  const hops = [
    ["Connection", "keep-alive, X-Hop, x-other-hop"],
    ["Connection", "X-Third-Hop"],
    ["Keep-Alive", "timeout=77"],
    ["X-Hop", "1"],
    ["X-Other-Hop", "1"],
    ["X-Third-Hop", "1"],
    ["Proxy-Authenticate", "Basic"],
    ["Proxy-Authentication-Info", "x"],
    ["Proxy-Connection", "keep-alive"],
    ["Upgrade", "h2c"],
    ["TE", "trailers"],
    ["Trailer", "X-Later"],
  ] as const;
  const rows: [target: string, control: string, words: string[]][] = [
    ["/stored", "max-age=60", ["miss", "hit"]],
    ["/passed", "no-store", ["bypass", "bypass"]],
  ];
  for (const [target, control, words] of rows) {
    edge.origin.say(target, {
      fields: [["Cache-Control", control], ...hops, ["X-End-To-End", "yes"]],
      body: "one",
      framing: "chunked",
    });
    for (const word of words) {
      const got = await edge.ask(target);
      assert.deepEqual([got.word, got.body, got.fields["x-end-to-end"]], [word, "one", "yes"]);
      for (const [name] of hops) {
        // Node tells its own connection's.
        if (name !== "Connection" && name !== "Keep-Alive")
          assert.equal(got.fields[name.toLowerCase()], undefined, name);
      }
      assert.deepEqual(got.lines["connection"], ["keep-alive"], target);
      assert.notEqual(got.fields["keep-alive"], "timeout=77", target);
    }
  }
});

test("a 304 brings no field of its connection into the stored answer (§7.6.1)", async (t) => {
  const edge = await startEdge(t);
  const fields = [...storable, ["ETag", '"1"']] as const;
  edge.origin.say("/a", (_asked, turn) =>
    turn === 0
      ? { fields, body: "one" }
      : { status: 304, fields: [...fields, ["Connection", "X-Hop"], ["X-Hop", "1"], ["Upgrade", "h2c"]] },
  );
  await edge.ask("/a");
  edge.skip(60);
  for (const word of ["miss", "hit"]) {
    const got = await edge.ask("/a");
    assert.deepEqual([got.word, got.body], [word, "one"]);
    assert.deepEqual([got.fields["x-hop"], got.fields.upgrade], [undefined, undefined]);
  }
});

test("CDN-Loop names this CDN behind those who came before (RFC 8586 §2)", async (t) => {
  const edge = await startEdge(t);
  const rows: [target: string, field: string | string[], seen: string][] = [
    ["/a", "other.test", "other.test, nearcast"],
    ["/b", "other.test; v=1, third.test", "other.test; v=1, third.test, nearcast"],
    ["/c", ["one.test", "two.test"], "one.test, two.test, nearcast"],
    ["/d", "nearcast", "nearcast, nearcast"], // another node of ours: a shield
  ];
  for (const [target, field, seen] of rows) {
    edge.origin.say(target, { fields: storable });
    assert.equal((await edge.ask(target, { fields: { "cdn-loop": field } })).status, 200, target);
    assert.equal(edge.origin.asked(target)[0]?.fields["cdn-loop"], seen, target);
  }
});

test("a request that goes round and round is ended with 508 (RFC 8586 §2)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields: storable });
  for (const field of ["nearcast, nearcast, nearcast", "nearcast,other.test,nearcast , nearcast"]) {
    const got = await edge.ask("/a", { fields: { "cdn-loop": field } });
    assert.equal(got.status, 508, field);
    assert.match(got.body, /LOOP_DETECTED/);
  }
  assert.equal(edge.origin.asked("/a").length, 0);
});

test("an origin that is this edge itself ends in 508, not in a storm", async (t) => {
  const edge = await startEdge(t);
  // The origin sends every request back to the edge, with the fields that it was given, as a proxy would.
  edge.origin.say("/a", async (asked) => {
    const { "cdn-loop": loop = "", via = "" } = asked.fields;
    const got = await edge.ask("/a", { fields: { "cdn-loop": loop, via, authorization: "Basic eA==" } });
    return { status: got.status, fields: [["Cache-Control", "no-store"]], body: got.body };
  });
  const got = await edge.ask("/a");
  assert.equal(got.status, 508);
  assert.equal(edge.origin.asked("/a").length, 3);
});

test("a response that is not what was asked for is a failure of the origin, and is not kept", async (t) => {
  const edge = await startEdge(t);
  const part = [...storable, ["Content-Range", "bytes 0-1/10"]] as const;
  edge.origin.say("/part", { status: 206, fields: part, body: "ab" });
  edge.origin.say("/coded", { fields: [...storable, ["Transfer-Encoding", "gzip, chunked"]], body: "ab" });
  for (const path of ["/part", "/coded"]) {
    const got = await edge.ask(path);
    assert.equal(got.status, 502);
    assert.match(got.body, /ORIGIN_BAD_ANSWER/);
    edge.origin.say(path, { fields: storable, body: "good" });
    edge.skip(2);
    assert.equal((await edge.ask(path)).body, "good");
  }
});
