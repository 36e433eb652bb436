/** Requests of one connection that the front and Node's server answer, in turn and at once. */
import assert from "node:assert/strict";
import { type Answer as Response, fieldOf, openLine, problemOf, readAnswers } from "../http/raw.ts";
import { get, sendHit, startFronted, test, turns } from "./fronted.ts";

/** Who answered with which body. */
const told = (answers: readonly Response[]): string[] =>
  answers.map((answer) => `${fieldOf(answer, "x-by") ?? answer.status} ${answer.body.toString()}`);

test("hits and misses that arrive in one packet are answered in order", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  const targets = ["/hit/1", "/a", "/hit/2", "/hit/3", "/b", "/c", "/hit/4"];
  line.send(targets.map((target) => get(target)).join("") + get("/d", "Connection: close"));
  const expected = [...targets, "/d"].map((target) => `${target.startsWith("/hit") ? "front" : "server"} ${target}`);
  const answers = readAnswers(await line.rest());
  assert.deepEqual(told(answers), expected);
  assert.deepEqual(fronted.seen, expected);
  assert.deepEqual(
    answers.map((answer) => fieldOf(answer, "connection")),
    [...targets.map(() => "keep-alive"), "close"],
  );
  await fronted.nothingLeft();
});

test("every response has the common fields of Node's server, whoever answers", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  line.send(get("/hit/1") + get("/a", "Connection: close"));
  const [hit, miss] = readAnswers(await line.rest());
  assert.ok(hit !== undefined && miss !== undefined);
  assert.deepEqual([hit.reason, [...hit.fields.keys()]], [miss.reason, [...miss.fields.keys(), "keep-alive"]]);
  assert.equal(fieldOf(hit, "keep-alive"), "timeout=65");
  assert.equal(fieldOf(hit, "date"), new Date(fronted.clock.wallMs()).toUTCString());
});

test("however the bytes are split, the responses are the same", async (t) => {
  const fronted = await startFronted(t);
  const bytes = `${get("/hit/1", "Accept: */*")}${get("/a")}${get("/hit/2")}${get("/b", "Connection: close")}`;
  const expected = ["front /hit/1", "server /a", "front /hit/2", "server /b"];
  const split = async (...parts: string[]): Promise<void> => {
    const line = await openLine(fronted.listener);
    line.socket.setNoDelay(true);
    for (const part of parts) {
      line.send(part);
      await turns();
    }
    const got = told(readAnswers(await line.rest()));
    assert.deepEqual(got, expected, `split behind ${JSON.stringify(parts[0])}`);
  };
  for (let at = 1; at < bytes.length; at += 1) await split(bytes.slice(0, at), bytes.slice(at));
  await split(...(bytes.match(/[^]{1,7}/g) ?? []));
  await fronted.nothingLeft();
});

test(
  "a head that arrives in many pieces is left to Node's parser, and so is everything after it",
  { notInLane: "the lane gathers the first pieces" },
  async (t) => {
    const fronted = await startFronted(t);
    const line = await openLine(fronted.listener);
    line.socket.setNoDelay(true);
    for (const character of get("/hit/1")) {
      line.send(character);
      await turns(2);
    }
    line.send(get("/hit/2") + get("/a", "Connection: close"));
    assert.deepEqual(told(readAnswers(await line.rest())), ["server /hit/1", "server /hit/2", "server /a"]);
    await fronted.nothingLeft();
  },
);

test("all misses of a connection go through one relay, and the front answers the hits in between", async (t) => {
  const relays = new Set<object>();
  const listeners: number[] = [];
  const fronted = await startFronted(t, {
    application: (asked, response) => {
      relays.add(asked.socket);
      listeners.push(asked.socket.eventNames().reduce((sum, name) => sum + asked.socket.listenerCount(name), 0));
      response.setHeader("X-By", "server").end("m");
    },
  });
  const line = await openLine(fronted.listener);
  for (let round = 1; round <= 30; round += 1) {
    line.send(get("/a"));
    await line.until((text) => text.split("HTTP/1.1 200 OK").length === 2 * round);
    line.send(get("/hit"));
    await line.until((text) => text.split("HTTP/1.1 200 OK").length === 2 * round + 1 && text.endsWith("/hit"));
  }
  assert.equal(relays.size, 1);
  assert.equal(listeners.at(-1), listeners[1], "listeners don't add up");
  assert.deepEqual(fronted.seen, Array.from({ length: 30 }, () => ["server /a", "front /hit"]).flat());
  line.socket.end();
  await fronted.nothingLeft();
});

test("while a response is in progress, further requests wait; then they are answered in order", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  line.send(get("/held/1"));
  const first = await fronted.held();
  line.send(get("/hit/1") + get("/later/1").slice(0, 9));
  await turns(10);
  line.send(get("/later/1").slice(9) + get("/held/2") + get("/hit/2"));
  await turns(10);
  assert.deepEqual(fronted.seen, ["server /held/1"]);
  first.response.end("1");
  const later = await fronted.later();
  await turns(10);
  assert.deepEqual(fronted.seen, ["server /held/1", "front /hit/1"]);
  await sendHit(later.request, Buffer.from("later"));
  later.resolve("sent");
  const second = await fronted.held();
  await turns(10);
  assert.deepEqual(fronted.seen, ["server /held/1", "front /hit/1", "server /held/2"]);
  second.response.end("2");
  const text = await line.until((so) => so.endsWith("/hit/2"));
  const bodies = readAnswers(text).map(({ body }) => body.toString());
  assert.deepEqual(bodies, ["1", "/hit/1", "later", "2", "/hit/2"]);
  line.socket.end();
  await fronted.nothingLeft();
});

test("Node's server answers a request that the front declines after a while", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  line.send(get("/later/1") + get("/hit/1"));
  (await fronted.later()).resolve("relay");
  await line.until((text) => text.endsWith("/hit/1"));
  assert.deepEqual(fronted.seen, ["server /later/1", "front /hit/1"]);
});

test("bytes that are not a request get a 400 after the responses to earlier requests, and the end", async (t) => {
  const fronted = await startFronted(t);
  const statuses = async (bytes: string): Promise<number[]> => {
    const line = await openLine(fronted.listener);
    line.send(bytes);
    return readAnswers(await line.rest()).map(({ status }) => status);
  };
  const garbage = "garbage\r\n\r\n";
  assert.deepEqual(await statuses(garbage), [400]);
  assert.deepEqual(await statuses(get("/hit") + garbage), [200, 400]);
  assert.deepEqual(await statuses(get("/a") + garbage), [200, 400]);
  assert.deepEqual(await statuses(get("/hit") + get("/a") + get("/hit") + garbage + get("/hit")), [200, 200, 200, 400]);
  // While a response is under way, too.
  const line = await openLine(fronted.listener);
  line.send(get("/held"));
  const { response } = await fronted.held();
  response.writeHead(200, { "Content-Length": "5" }).write("ab");
  await line.until((text) => text.endsWith("ab"));
  line.send(garbage);
  await turns(10);
  response.end("cde");
  const answers = readAnswers(await line.rest());
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 400],
  );
  assert.equal(answers[0]?.body.toString(), "abcde");
  await fronted.nothingLeft();
});

test("a connection that sends many requests at once is answered to the last one", async (t) => {
  const fronted = await startFronted(t);
  const targets = Array.from({ length: 1500 }, (_none, index) => (index % 3 === 0 ? `/m/${index}` : `/hit/${index}`));
  const line = await openLine(fronted.listener);
  line.send(targets.map((target, index) => get(target, ...(index === 1499 ? ["Connection: close"] : []))).join(""));
  const answers = readAnswers(await line.rest());
  assert.deepEqual(
    answers.map(({ body }) => body.toString()),
    targets,
  );
});

/** 64 KB and one read of a socket wait in the front, and as much again in the socket that is not read. */
const waitingBytesMax = 4 * 64 * 1024;

test("waiting requests have a limited place; the rest stays with the client until there is room", async (t) => {
  for (const target of ["/hit", "/miss"]) {
    const fronted = await startFronted(t);
    const line = await openLine(fronted.listener);
    line.send(get("/held"));
    const { response } = await fronted.held();
    const count = 4000;
    // More in all than the buffers of both sockets take.
    const padded = get(target, `X: ${"x".repeat(7000)}`);
    line.send(padded.repeat(count) + get("/hit/last", "Connection: close"));
    await turns(200);
    assert.ok(line.socket.writableLength > 0, "the client can't send all");
    response.setHeader("X-By", "server").end("held");
    assert.equal((await line.rest()).split("HTTP/1.1 200 OK").length, count + 3);
    assert.ok(fronted.waitingMost() <= waitingBytesMax, `${fronted.waitingMost()} bytes wait for ${target}`);
    await fronted.nothingLeft();
  }
});

test("a slow reader of a large hit gets all of it, and the responses to its further requests", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  const lengthBytes = 16 * 1024 * 1024;
  line.send(get(`/large/${lengthBytes}`));
  line.socket.pause();
  await turns(20);
  line.send(get("/hit/1") + get("/a", "Connection: close"));
  await turns(20);
  assert.deepEqual(fronted.seen, [`front /large/${lengthBytes}`]);
  line.socket.resume();
  const answers = readAnswers(await line.rest());
  assert.deepEqual(
    answers.map(({ body }) => body.length),
    [lengthBytes, 6, 2],
  );
});

test("an answer that fails closes its connection, and no other", async (t) => {
  const fronted = await startFronted(t);
  const [line, other] = [await openLine(fronted.listener), await openLine(fronted.listener)];
  line.send(get("/later/1") + get("/a"));
  (await fronted.later()).reject(new Error("a fault"));
  assert.equal(await line.rest(), "");
  other.send(get("/hit", "Accept: */*"));
  await other.until((text) => text.endsWith("/hit"));
  assert.deepEqual(fronted.seen, ["front /hit"]);
});

test("a request line with two spaces is refused, in its turn and in any pieces (RFC 9112 §3)", async (t) => {
  const { listener } = await startFronted(t);
  const wrong = get("/x").replace(" /x", "  /x");
  const rows = [wrong, `\r\n${wrong}`, get("/x").replace("/x ", "/x  "), wrong.replace("GET", "DELETE")];
  for (const before of ["", get("/hit"), get("/a"), get("/hit") + get("/a")]) {
    for (const bytes of rows) {
      for (const cut of [bytes.length, 1, 5, 9]) {
        const line = await openLine(listener);
        line.send(before + bytes.slice(0, cut));
        await turns(1);
        line.send(bytes.slice(cut));
        const answers = readAnswers(await line.rest());
        const statuses = answers.map(({ status }) => status).join();
        const wanted = [...before.matchAll(/GET/g)].map(() => "200,").join("");
        assert.equal(statuses, `${wanted}400`, JSON.stringify([before, bytes, cut]));
        assert.equal(problemOf(answers.at(-1) as Response)["detail"], "the request line has two spaces in a row");
      }
    }
  }
});
