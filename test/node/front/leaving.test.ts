/** Clients that leave, half-close, send nothing or do not read, and a listener that closes: in each phase. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { turnsUntil } from "../../support/turns-until.ts";
import { type Line, openLine, problemOf, readAnswers } from "../http/raw.ts";
import { type Fronted, get, type Held, type Later, sendHit, startFronted, test, turns } from "./fronted.ts";

const largeBytes = 16 * 1024 * 1024;

interface Moment {
  name: string;
  /** Brings a connection there. */
  reach: (fronted: Fronted, line: Line) => Promise<Held | Later | undefined>;
}

const moments: Moment[] = [
  { name: "nothing was sent", reach: () => Promise.resolve(undefined) },
  {
    name: "a head has begun",
    reach: async (_fronted, line) => {
      line.send("GET /hit HTTP/1.1\r\nHo");
      await turns();
      return undefined;
    },
  },
  {
    name: "behind a hit",
    reach: async (_fronted, line) => {
      line.send(get("/hit"));
      await line.until((text) => text.endsWith("/hit"));
      return undefined;
    },
  },
  {
    name: "behind a miss",
    reach: async (_fronted, line) => {
      line.send(get("/a"));
      await line.until((text) => text.endsWith("/a"));
      return undefined;
    },
  },
  {
    name: "a head has begun behind a miss",
    reach: async (_fronted, line) => {
      line.send(get("/a") + get("/b").slice(0, 20));
      await line.until((text) => text.endsWith("/a"));
      await turns();
      return undefined;
    },
  },
  {
    name: "the front answers later",
    reach: async (fronted, line) => {
      line.send(get("/later") + get("/hit/waits"));
      return await fronted.later();
    },
  },
  {
    name: "the server has not answered yet",
    reach: async (fronted, line) => {
      line.send(get("/held"));
      return await fronted.held();
    },
  },
  {
    name: "requests wait behind one that the server has not answered",
    reach: async (fronted, line) => {
      line.send(get("/held") + get("/hit") + get("/a") + get("/hit"));
      return await fronted.held();
    },
  },
  {
    name: "the server has begun to answer",
    reach: async (fronted, line) => {
      line.send(get("/held"));
      const held = await fronted.held();
      held.response.writeHead(200, { "Content-Length": "10" }).write("abc");
      await line.until((text) => text.endsWith("abc"));
      return held;
    },
  },
  {
    name: "the body of a relayed request is coming",
    reach: async (fronted, line) => {
      line.send("POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
      return await fronted.held();
    },
  },
  {
    name: "a large hit is on its way",
    reach: async (fronted, line) => {
      line.socket.pause();
      line.send(get(`/large/${largeBytes}`));
      await turnsUntil(() => fronted.seen.length === 1);
      return undefined;
    },
  },
  {
    name: "a large response of the server is on its way",
    reach: async (fronted, line) => {
      line.socket.pause();
      line.send(get("/held"));
      const { response } = await fronted.held();
      response.writeHead(200, { "Content-Length": String(largeBytes) }).end(Buffer.alloc(largeBytes));
      await turns();
      return undefined;
    },
  },
];

/** Ends what the front answers later. What the server holds ends by itself: its response closes. */
async function endLater(at: Held | Later | undefined): Promise<void> {
  if (at === undefined) return;
  if ("response" in at) {
    await turnsUntil(() => at.response.closed && at.asked.socket.destroyed);
    return;
  }
  await at.request.sink.closed();
  at.resolve("sent");
}

test("a client that leaves at any moment leaves nothing behind", async (t) => {
  const unhandled: unknown[] = [];
  process.on("warning", (warning) => unhandled.push(warning));
  const fronted = await startFronted(t);
  for (const { name, reach } of moments) {
    for (const how of ["reset", "closed"] as const) {
      fronted.seen.length = 0;
      const line = await openLine(fronted.listener);
      const at = await reach(fronted, line);
      if (how === "reset") line.socket.resetAndDestroy();
      else line.socket.destroy();
      // Who answers an unfinished request by a FIN only learns of the departure by writing.
      const isUnanswered = at !== undefined && "response" in at && !at.response.headersSent;
      if (how === "closed" && isUnanswered) at.response.end("for nobody");
      else if (how === "closed" && at !== undefined && "response" in at) {
        await turnsUntil(() => at.response.destroyed || !at.response.write("more"), 1);
      }
      if (at !== undefined && !("response" in at) && how === "closed") void sendHit(at.request, Buffer.alloc(100_000));
      await endLater(at);
      await fronted.nothingLeft();
      const begun = fronted.seen.length;
      await turns();
      assert.equal(fronted.seen.length, begun, `${name}, ${how}: nothing begins for who has left`);
    }
  }
  assert.deepEqual(unhandled, []);
  const closed = fronted.listener.close(60_000);
  await closed;
});

/** Sends all bytes and the end, and reads the bodies of all responses. */
async function halfClosed(fronted: Fronted, bytes: string): Promise<string[]> {
  const line = await openLine(fronted.listener);
  line.socket.end(bytes);
  return readAnswers(await line.rest()).map(({ status, body }) => (status === 200 ? body.toString() : String(status)));
}

test("a client that half-closes with its requests gets all responses, then the end (RFC 9112 §9.6)", async (t) => {
  const fronted = await startFronted(t);
  assert.deepEqual(await halfClosed(fronted, ""), []);
  assert.deepEqual(await halfClosed(fronted, get("/hit/1")), ["/hit/1"]);
  assert.deepEqual(await halfClosed(fronted, get("/a")), ["/a"]);
  const targets = ["/hit/1", "/hit/2", "/a", "/b", "/hit/3", "/c"];
  assert.deepEqual(await halfClosed(fronted, targets.map((target) => get(target)).join("")), targets);
  const large = await halfClosed(fronted, get("/hit/1") + get("/large/4000000"));
  assert.deepEqual(
    large.map((body) => body.length),
    [6, 4_000_000],
  );
  assert.deepEqual(await halfClosed(fronted, get("/hit/1").slice(0, -3)), ["400"]);
  assert.deepEqual(await halfClosed(fronted, `${get("/hit/1")}${get("/a").slice(0, -3)}`), ["/hit/1", "400"]);
  assert.deepEqual(await halfClosed(fronted, `${get("/a")}${get("/hit/1").slice(0, -3)}`), ["/a", "400"]);
  assert.deepEqual(await halfClosed(fronted, `${get("/hit/1")}odd`), ["/hit/1", "400"]);
  await fronted.nothingLeft();
});

test("a client that half-closes while it waits gets its response, and those to its further requests", async (t) => {
  const fronted = await startFronted(t);
  const answer = async (at: Held | Later): Promise<void> => {
    if ("response" in at) {
      at.response.writeHead(200, { "Content-Length": "4" }).end("late");
      return;
    }
    await sendHit(at.request, Buffer.from("late"));
    at.resolve("sent");
  };
  for (const target of ["/later", "/held"]) {
    for (const behind of ["", get("/hit"), get("/a"), get("/hit") + get("/a") + get("/hit/2") + get("/b")]) {
      const line = await openLine(fronted.listener);
      line.send(get(target));
      const at = target === "/later" ? await fronted.later() : await fronted.held();
      line.send(behind);
      await turns();
      line.socket.end();
      await turns(10);
      await answer(at);
      const bodies = readAnswers(await line.rest()).map(({ body }) => body.toString());
      const expected = ["late", ...[...behind.matchAll(/GET (\S+)/g)].map(([, asked = ""]) => asked)];
      assert.deepEqual(bodies, expected, `${target}, then ${JSON.stringify(behind)}`);
      await fronted.nothingLeft();
    }
  }
  for (const done of [get("/hit"), get("/a")]) {
    const line = await openLine(fronted.listener);
    line.send(done);
    await line.until((text) => text.includes("\r\n\r\n"));
    line.socket.end();
    assert.equal(readAnswers(await line.rest()).length, 1);
  }
  await fronted.nothingLeft();
});

test("the server learns of a half-close before or after the request is relayed", async (t) => {
  const fronted = await startFronted(t);
  const rows: [name: string, send: (line: Line) => unknown][] = [
    ["behind it", (line) => line.send(get("/held"))],
    [
      "while an answer of the front is under way before it",
      async (line) => {
        line.send(get("/later") + get("/held"));
        const later = await fronted.later();
        line.socket.end();
        await turns(10);
        await sendHit(later.request, Buffer.from("later"));
        later.resolve("sent");
      },
    ],
    [
      "while the front looks at it",
      async (line) => {
        line.send(get("/later/held"));
        const later = await fronted.later();
        line.socket.end();
        await turns(10);
        later.resolve("relay");
      },
    ],
    ["with it, behind a hit", (line) => line.socket.end(get("/hit") + get("/held"))],
    ["with it, behind a miss", (line) => line.socket.end(get("/a") + get("/held"))],
  ];
  for (const [name, send] of rows) {
    const line = await openLine(fronted.listener);
    await send(line);
    const { asked, response } = await fronted.held();
    if (name === "behind it") line.socket.end();
    await turnsUntil(() => asked.socket.readableEnded);
    response.end("done");
    assert.ok((await line.rest()).endsWith("done"), name);
  }
  await fronted.nothingLeft();
});

test(
  "a head that does not arrive in time gets a 408, and what arrives later is not a request",
  { notInLane: "the lane has its own clock" },
  async (t) => {
    const fronted = await startFronted(t);
    for (const before of ["", get("/hit"), get("/a")]) {
      for (const start of ["G", "GET / HTTP/1.1\r\n", get("/a").slice(0, -2)]) {
        fronted.seen.length = 0;
        const line = await openLine(fronted.listener);
        line.send(before + start);
        if (before !== "") await line.until((text) => text.includes("200 OK"));
        await turns(10);
        fronted.clock.advance(9000);
        await turns();
        assert.equal(line.socket.readableEnded, false, "not yet");
        fronted.clock.advance(6000);
        const text = await line.until((so) => so.includes("REQUEST_TIMEOUT"));
        const broken = once(line.socket, "error").then(() => assert.fail("a reset may destroy the answer"));
        line.send(get("/late"));
        await turns(10);
        line.socket.end();
        assert.equal(await Promise.race([line.rest(), broken]), text);
        const answers = readAnswers(text);
        assert.equal(answers.length, before === "" ? 1 : 2);
        const last = answers.at(-1);
        assert.ok(last !== undefined);
        assert.deepEqual([last.status, problemOf(last)["code"]], [408, "REQUEST_TIMEOUT"]);
        assert.ok(!fronted.seen.some((one) => one.includes("late")), "it was told that its request failed");
      }
    }
    await fronted.nothingLeft();
  },
);

test(
  "silent connections are closed: new ones after the wait for a head, others after the idle time",
  { notInLane: "the lane has its own clock" },
  async (t) => {
    const fronted = await startFronted(t);
    const quiet = await openLine(fronted.listener);
    const kept = await openLine(fronted.listener);
    const relayed = await openLine(fronted.listener);
    const busy = await openLine(fronted.listener);
    kept.send(get("/hit"));
    relayed.send(get("/a"));
    busy.send(get("/held"));
    const { response } = await fronted.held();
    await kept.until((text) => text.endsWith("/hit"));
    await relayed.until((text) => text.endsWith("/a"));
    await turns();
    fronted.clock.advance(15_000);
    assert.equal(await quiet.rest(), "");
    fronted.clock.advance(45_000);
    await turns(10);
    assert.equal(kept.socket.closed || relayed.socket.closed, false, "kept for 65 s");
    kept.send(get("/hit/2"));
    await kept.until((text) => text.endsWith("/hit/2"));
    fronted.clock.advance(15_000);
    await relayed.rest();
    await turns(10);
    assert.equal(kept.socket.closed, false, "it begins anew");
    response.end("whole");
    await busy.until((text) => text.includes("whole"));
    fronted.clock.advance(70_000);
    await Promise.all([kept.rest(), busy.rest()]);
    await fronted.nothingLeft();
  },
);

/** Lets what is under way come to its end. */
async function finish(at: Held | Later | undefined, line: Line): Promise<void> {
  line.socket.resume();
  if (at === undefined) return;
  if ("request" in at) {
    await sendHit(at.request, Buffer.from("done"));
    at.resolve("sent");
    return;
  }
  if (at.response.headersSent) at.response.end("defghij");
  else at.response.writeHead(200, { "Content-Length": "4" }).end("done");
}

test("close() lets responses in progress end, and closes idle connections at once", async (t) => {
  for (const { name, reach } of moments) {
    const fronted = await startFronted(t);
    const line = await openLine(fronted.listener);
    const at = await reach(fronted, line);
    const before = fronted.seen.length;
    const closed = fronted.listener.close(60_000);
    await turns();
    await finish(at, line);
    const answers = readAnswers(await line.rest());
    const begun = fronted.seen.filter((one) => !one.includes("/later")).length + Number(name.includes("later"));
    assert.equal(answers.length, begun, `${name}: ${fronted.seen.join()}`);
    if (at === undefined) assert.equal(fronted.seen.length, before, name);
    await closed;
    await fronted.nothingLeft();
  }
});

test("close() does not wait for the rest of a head after the response in progress", async (t) => {
  for (const target of ["/held", "/later"]) {
    const fronted = await startFronted(t);
    const line = await openLine(fronted.listener);
    line.send(get(target) + get("/hit").slice(0, 9));
    const at = target === "/held" ? await fronted.held() : await fronted.later();
    const closed = fronted.listener.close(60_000);
    await finish(at, line);
    assert.equal(readAnswers(await line.rest()).length, 1);
    await closed;
  }
});

test("close() cuts off responses in progress after the grace time, at any moment", async (t) => {
  for (const { name, reach } of moments) {
    const fronted = await startFronted(t);
    const line = await openLine(fronted.listener);
    const at = await reach(fronted, line);
    await fronted.listener.close(1);
    line.socket.resume();
    const text = await line.rest();
    await endLater(at);
    await fronted.nothingLeft();
    if (name.startsWith("a large")) assert.ok(text.length < largeBytes, name);
  }
});

test("a connection that sends nothing but empty lines has a deadline, behind a miss too", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  line.send(get("/later"));
  const { request, resolve } = await fronted.later();
  resolve("relay");
  await line.until((text) => text.endsWith("/later"));
  line.send("\r\n");
  await turnsUntil(() => request.socket.bytesRead === get("/later").length + 2);
  assert.equal(request.socket.timeout, 65_000);
  line.send(get("/a"));
  await line.until((text) => text.endsWith("/a"));
});

test("a client that leaves while it is not read is noticed when its response is written", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  line.send(get("/held") + get("/next", `X: ${"x".repeat(4000)}`).repeat(250));
  const { asked, response } = await fronted.held();
  response.writeHead(200, { "Content-Type": "text/event-stream" }).write("begun");
  await line.until((text) => text.includes("begun"));
  line.socket.resetAndDestroy();
  await turnsUntil(() => response.destroyed || !response.write("data: x\n\n"), 1);
  await turnsUntil(() => response.closed && asked.socket.destroyed);
  await fronted.nothingLeft();
});

test("a client that goes on sending behind its last request gets the response (RFC 9112 §9.6)", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  line.socket.pause();
  line.send(get("/a", "Connection: close"));
  await turnsUntil(() => fronted.seen.length === 1);
  for (let more = 0; more < 20; more += 1) {
    await turns();
    line.send("x".repeat(100));
  }
  line.socket.resume();
  const [answer] = readAnswers(await line.rest());
  assert.equal(answer?.body.toString(), "/a");
  await fronted.nothingLeft();
});
