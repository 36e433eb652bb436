/** RFC 5861: stale-while-revalidate (§3) and stale-if-error (§4), by the answer's own words and by the host's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cacheStatus, eventually, startEdge } from "./running-edge.ts";
import { held, type Said } from "./scripted-origin.ts";

const counting =
  (control: string) =>
  (_asked: unknown, turn: number): Said => ({ fields: [["Cache-Control", control]], body: `turn ${turn}` });

test("within stale-while-revalidate the stale answer comes at once, and one revalidation runs (§3)", async (t) => {
  const edge = await startEdge(t);
  const script = counting("max-age=60, stale-while-revalidate=30");
  edge.origin.say("/a", script);
  await edge.ask("/a");
  edge.skip(65);
  const holding = held(script);
  edge.origin.say("/a", holding.script);
  // The origin keeps silent: only what does not wait for it can be answered now.
  const answers = await Promise.all(Array.from({ length: 50 }, () => edge.ask("/a")));
  for (const got of answers) {
    assert.deepEqual([got.status, got.body, got.word, got.fields.age], [200, "turn 0", "stale", "65"]);
    assert.equal(cacheStatus(got).get("ttl"), "-5");
    assert.equal(cacheStatus(got).get("hit"), true);
  }
  await holding.arrived();
  assert.equal(edge.origin.asked("/a").length, 2);
  holding.release();
  await eventually("the new answer is stored", async () => (await edge.ask("/a")).body === "turn 1");
  edge.skip(7);
  const got = await edge.ask("/a");
  assert.deepEqual([got.word, got.fields.age], ["hit", "7"], "its Age begins anew");
  assert.equal(edge.origin.asked("/a").length, 2);
});

test("the window of stale-while-revalidate has an end (§3)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", counting("max-age=60, stale-while-revalidate=30"));
  await edge.ask("/a");
  edge.skip(90);
  const got = await edge.ask("/a");
  assert.deepEqual([got.word, got.body], ["miss", "turn 1"]);
  assert.equal(cacheStatus(got).get("fwd"), "stale");
});

test("the host's windows hold where the answer names none", async (t) => {
  const edge = await startEdge(t, { host: { staleWhileRevalidateSeconds: 10, staleIfErrorSeconds: 20 } });
  edge.origin.say("/a", counting("max-age=60"));
  await edge.ask("/a");
  edge.skip(69);
  assert.equal((await edge.ask("/a")).word, "stale");
  await eventually("it is revalidated", async () => (await edge.ask("/a")).word === "hit");
  await edge.origin.refuse();
  edge.skip(79);
  assert.equal((await edge.ask("/a")).word, "stale", "while the origin fails");
  edge.skip(1);
  assert.equal((await edge.ask("/a")).status, 502);
});

test("a revalidation behind that fails does no harm, and the next request tries again (§3)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (asked, turn) =>
    turn === 1 ? { status: 500 } : counting("max-age=60, stale-while-revalidate=30")(asked, turn),
  );
  await edge.ask("/a");
  edge.skip(65);
  assert.equal((await edge.ask("/a")).word, "stale");
  await eventually("the origin failed once", () => edge.origin.asked("/a").length === 2);
  edge.skip(1); // past what is remembered of failures
  await eventually("it is asked again", async () => (await edge.ask("/a")).body === "turn 2");
});

test("a revalidation behind that may not be stored takes the stale answer away (RFC 9111 §4.3.3)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (asked, turn) =>
    turn === 0
      ? counting("max-age=60, stale-while-revalidate=3000")(asked, turn)
      : { fields: [["Cache-Control", "no-store"]], body: `turn ${turn}` },
  );
  await edge.ask("/a");
  edge.skip(65);
  assert.equal((await edge.ask("/a")).word, "stale");
  await eventually("the stale one is gone", async () => (await edge.ask("/a")).word === "bypass");
  assert.notEqual((await edge.ask("/a")).body, "turn 0");
});

test("within stale-if-error the stale answer stands in for each failure (§4)", async (t) => {
  const failures: [title: string, said: Said][] = [
    ["500", { status: 500, body: "broken" }],
    ["502", { status: 502 }],
    ["503 that could be stored", { status: 503, fields: [["Cache-Control", "max-age=60"]] }],
    ["504", { status: 504 }],
    ["a refused range, although none was requested", { status: 416, fields: [["Content-Range", "bytes */6"]] }],
    ["a failed precondition, although none was sent", { status: 412, body: "no" }],
    ["a reset of a form that is none", { status: 205, fields: [["Cache-Control", "max-age=60"]] }],
    ["a body that breaks off", { body: "never whole", breaksOffAfterBytes: 4 }],
    ["a chunked body that breaks off", { body: "never whole", framing: "chunked", breaksOffAfterBytes: 4 }],
  ];
  for (const [title, said] of failures) {
    const edge = await startEdge(t);
    const script = counting("max-age=60, stale-if-error=600");
    edge.origin.say("/a", script);
    await edge.ask("/a");
    edge.skip(658);
    edge.origin.say("/a", said);
    const got = await edge.ask("/a");
    assert.deepEqual([got.status, got.body, got.word, got.fields.age], [200, "turn 0", "stale", "658"], title);
    assert.equal(edge.origin.asked("/a").length, 2, title);
    const status = cacheStatus(got);
    assert.deepEqual([status.get("hit"), status.get("fwd"), status.get("ttl")], [undefined, "stale", "-598"], title);
    edge.origin.say("/a", script);
    edge.skip(1);
    const back = await edge.ask("/a");
    assert.deepEqual([back.word, back.body], ["miss", "turn 2"], `${title}: the failure is remembered for a second`);
  }
});

test("an origin that refuses connections is a failure too, and so is its silence (§4)", async (t) => {
  const edge = await startEdge(t, { host: { timeoutMs: 100 } });
  edge.origin.say("/a", counting("max-age=60, stale-if-error=600"));
  await edge.ask("/a");
  edge.skip(100);
  await edge.origin.refuse();
  const refused = await edge.ask("/a");
  assert.deepEqual([refused.status, refused.body, refused.word], [200, "turn 0", "stale"]);
  await edge.origin.resume();
  edge.skip(60); // past the wait of the breaker in front of the origin
  const holding = held({ status: 404 });
  edge.origin.say("/a", holding.script);
  const silent = await edge.ask("/a");
  assert.deepEqual([silent.status, silent.body, silent.word], [200, "turn 0", "stale"]);
  holding.release();
});

test("within stale-if-error, nobody waits for a silent origin, and one revalidation continues (§4)", async (t) => {
  const edge = await startEdge(t, { host: { staleWaitMs: 100, timeoutMs: 100_000 } });
  const script = counting("max-age=60, stale-if-error=600");
  edge.origin.say("/a", script);
  await edge.ask("/a");
  edge.skip(100);
  const holding = held(script);
  edge.origin.say("/a", holding.script);
  for (let turn = 0; turn < 3; turn += 1) {
    const answers = await Promise.all(Array.from({ length: 20 }, () => edge.ask("/a")));
    for (const got of answers) {
      assert.deepEqual([got.status, got.body, got.word, got.fields.age], [200, "turn 0", "stale", "100"]);
      const status = cacheStatus(got);
      assert.deepEqual(
        [status.get("hit"), status.get("fwd"), status.get("ttl"), status.get("detail")],
        [undefined, "stale", "-40", "memory-origin-slow"],
      );
    }
  }
  assert.equal(edge.origin.asked("/a").length, 2);
  holding.release();
  await eventually("the new answer is stored", async () => (await edge.ask("/a")).body === "turn 1");
  assert.equal(edge.origin.asked("/a").length, 2);
  assert.equal((await edge.ask("/a")).word, "hit");
});

test("clients that leave with the stale response do not end the revalidation", async (t) => {
  const edge = await startEdge(t, { host: { staleWaitMs: 50, timeoutMs: 100_000 } });
  const script = counting("max-age=60, stale-if-error=600");
  edge.origin.say("/a", script);
  await edge.ask("/a");
  edge.skip(100);
  const holding = held(script);
  edge.origin.say("/a", holding.script);
  const leaving = new AbortController();
  const got = edge.ask("/a", {
    signal: leaving.signal,
    fields: { connection: "close" },
    onHead: () => {
      leaving.abort();
    },
  });
  await got.catch(() => undefined);
  holding.release();
  await eventually("the new answer is stored", async () => (await edge.ask("/a")).body === "turn 1");
  assert.equal(edge.origin.asked("/a").length, 2);
});

test("a late response that may not be stored holds no connection, and is not requested again", async (t) => {
  const edge = await startEdge(t, { host: { staleWaitMs: 50, timeoutMs: 100_000 } });
  edge.origin.say("/a", counting("max-age=60, stale-if-error=600"));
  await edge.ask("/a");
  edge.skip(100);
  const holding = held({ fields: [["Cache-Control", "no-store"]], body: Buffer.alloc(1024 * 1024) });
  edge.origin.say("/a", holding.script);
  const answers = await Promise.all(Array.from({ length: 10 }, () => edge.ask("/a")));
  assert.deepEqual(new Set(answers.map(({ body }) => body)), new Set(["turn 0"]));
  holding.release();
  await eventually("its connection is free", () => edge.stats().upstream?.placesInUse === 0);
  assert.equal(edge.stats().upstream?.bodiesHeld, 0);
  assert.equal(edge.origin.asked("/a").length, 2);
});

test("what must be revalidated is never served stale, even if the origin is late (RFC 9111 §4.2.4)", async (t) => {
  for (const control of ["max-age=60, must-revalidate", "no-cache", "max-age=60, proxy-revalidate", "s-maxage=60"]) {
    const host = { staleWaitMs: 0, timeoutMs: 200, staleIfErrorSeconds: 600 };
    const edge = await startEdge(t, { host });
    edge.origin.say("/a", counting(control));
    await edge.ask("/a");
    edge.skip(100);
    const holding = held(counting(control));
    edge.origin.say("/a", holding.script);
    assert.equal((await edge.ask("/a")).status, 504, control);
    holding.release();
  }
});

test("past stale-if-error the client gets the failure itself (§4)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (asked, turn) =>
    turn === 0 ? counting("max-age=60, stale-if-error=600")(asked, turn) : { status: 500, body: "broken" },
  );
  await edge.ask("/a");
  edge.skip(660);
  const got = await edge.ask("/a");
  assert.deepEqual([got.status, got.body], [500, "broken"]);
  await edge.origin.refuse();
  edge.skip(1); // past what is remembered of failures
  assert.equal((await edge.ask("/a")).status, 502);
});

test("stale-if-error=0 forbids what the host would allow (§4)", async (t) => {
  const edge = await startEdge(t, { host: { staleIfErrorSeconds: 1000 } });
  edge.origin.say("/a", counting("max-age=60, stale-if-error=0"));
  await edge.ask("/a");
  edge.skip(60);
  await edge.origin.refuse();
  assert.equal((await edge.ask("/a")).status, 502);
});

test("a client's error is no failure: it is passed on, and replaces the stale answer (§4)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (asked, turn) =>
    turn === 0 ? counting("max-age=60, stale-if-error=600")(asked, turn) : { status: 404, body: "not here" },
  );
  await edge.ask("/a");
  edge.skip(60);
  for (const word of ["miss", "hit"]) {
    const got = await edge.ask("/a");
    assert.deepEqual([got.status, got.body, got.word], [404, "not here", word]);
  }
});
