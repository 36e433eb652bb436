/** Paths as browsers send them (WHATWG URL): `|`, and in some browsers `^`, are not encoded. HEAD of pictures. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { urlTag } from "#purge/entry-tags.ts";
import { photograph } from "../../support/pictures.ts";
import { exchange, readAnswer } from "../../node/http/raw.ts";
import { hostName, startEdge } from "./running-edge.ts";

const imagesHostName = "img.cdn.test";
const target = "/x|y^z.css?a=|^";

test("an assets origin gets `|` and `^` as they were written, and one purge finds both spellings", async (t) => {
  const edge = await startEdge(t);
  for (const one of [target, "/x%7Cy%5Ez.css?a=|^"])
    edge.origin.say(one, { fields: [["Cache-Control", "max-age=60"]], body: one });
  const { fronted, alone } = edge.listeners();
  for (const listener of [fronted, alone]) {
    const bytes = `GET ${target} HTTP/1.1\r\nHost: ${hostName}\r\nConnection: close\r\n\r\n`;
    const answer = readAnswer(await exchange(listener, bytes));
    assert.deepEqual([answer.status, answer.body.toString()], [200, target]);
  }
  assert.equal(edge.origin.asked(target).length, 1, "it is stored");
  const { pathname } = new URL(`http://${hostName}${target}`);
  assert.equal(pathname, "/x|y%5Ez.css");
  await edge.purge({ tags: [urlTag(hostName, pathname)] });
  assert.equal((await edge.ask(target)).word, "miss");
  assert.equal(edge.origin.asked(target).length, 2);
});

test("the name of a picture may have `|` and `^`, encoded or not", async (t) => {
  const edge = await startEdge(t, { decoders: 1 });
  const picture = await photograph(1, { width: 64, height: 48 });
  const etag = `"${createHash("sha256").update(picture).digest("hex")}"`;
  const asked = "/api/v1/images/a%7Cb%5Ec.jpg";
  edge.origin.say(asked, { fields: [["ETag", etag]], body: picture });
  const words: (string | undefined)[] = [];
  for (const path of ["/a|b^c.jpg", "/a%7Cb^c.jpg", "/a%7cb%5ec.jpg"]) {
    const got = await edge.ask(`${path}?w=20`, { host: imagesHostName });
    assert.equal(got.status, 200, path);
    words.push(got.word);
  }
  assert.deepEqual(words, ["miss", "hit", "hit"], "they are one picture");
  assert.equal(edge.origin.asked(asked).length, 1);
});

test("HEAD of a picture renders and stores it: GET is a hit, with the same fields (RFC 9110 §9.3.2)", async (t) => {
  const edge = await startEdge(t, { decoders: 1 });
  const picture = await photograph(1, { width: 64, height: 48 });
  const etag = `"${createHash("sha256").update(picture).digest("hex")}"`;
  edge.origin.say("/api/v1/images/p.jpg", { fields: [["ETag", etag]], body: picture });
  const head = await edge.ask("/p.jpg?w=20", { host: imagesHostName, method: "HEAD" });
  const got = await edge.ask("/p.jpg?w=20", { host: imagesHostName });
  assert.deepEqual([head.word, head.body, got.word], ["miss", "", "hit"]);
  assert.equal(head.fields["content-length"], String(got.lines["content-length"]));
  for (const name of ["etag", "content-type", "cache-control", "vary", "accept-ranges"])
    assert.equal(head.fields[name], got.fields[name], name);
});
