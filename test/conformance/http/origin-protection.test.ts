/** Origins that are dead, hang or fail, and clients that leave, as the clients of an edge see them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { startEdge } from "./running-edge.ts";

const authorized = { fields: { authorization: "Basic eA==" } };

test("with the origin dead for an hour, every request for a stale response gets it", async (t) => {
  const edge = await startEdge(t);
  const targets = Array.from({ length: 20 }, (_, index) => `/a/${index}`);
  for (const target of targets) {
    edge.origin.say(target, { fields: [["Cache-Control", "max-age=30, stale-if-error=86400"]], body: target });
    await edge.ask(target);
  }
  await edge.origin.refuse();
  for (let minute = 0; minute < 60; minute += 1) {
    edge.skip(60);
    const answers = await Promise.all(targets.map((target) => edge.ask(target)));
    for (const [index, answer] of answers.entries()) {
      assert.deepEqual([answer.status, answer.word, answer.body], [200, "stale", targets[index]], `minute ${minute}`);
    }
  }
  await edge.origin.resume();
  edge.skip(60);
  const back = await Promise.all(targets.map((target) => edge.ask(target)));
  for (const answer of back) assert.equal(answer.status, 200);
  assert.ok(
    back.some(({ word }) => word === "miss"),
    "the origin is asked again by itself",
  );
});

test("a URL that hangs for many, and clients that leave it, take nothing from the other URLs", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/hangs", () => new Promise(() => undefined));
  const leaving = new AbortController();
  const hanging = Array.from({ length: 70 }, async () => {
    await edge.ask("/hangs", { ...authorized, signal: leaving.signal }).catch(() => undefined);
  });
  await pause(100);
  const others = async (name: string): Promise<void> => {
    for (let count = 0; count < 100; count += 1) {
      edge.origin.say(`/${name}/${count}`, { body: "good" });
      const { status } = await edge.ask(`/${name}/${count}`);
      assert.equal(status, 200);
    }
  };
  await others("while");
  leaving.abort();
  await Promise.all(hanging);
  await others("after");
  // One that has only closed its sending side might still wait for a response; that is over after two seconds.
  await pause(2100);
  const again = new AbortController();
  const asked = edge.origin.asked("/hangs").length;
  const later = edge.ask("/hangs", { ...authorized, signal: again.signal }).catch(() => undefined);
  for (let tries = 0; tries < 200 && edge.origin.asked("/hangs").length === asked; tries += 1) await pause(10);
  assert.equal(edge.origin.asked("/hangs").length, asked + 1, "those who left freed their places");
  again.abort();
  await later;
});

test("a URL whose connection is cut is requested once a second, with one retry, and fails alone", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/fails", () => Promise.reject(new Error("cut before its head")));
  for (let count = 0; count < 100; count += 1) {
    assert.equal((await edge.ask("/fails")).status, 502);
    edge.origin.say(`/good/${count}`, { body: "good" });
    assert.equal((await edge.ask(`/good/${count}`)).status, 200);
  }
  assert.equal(edge.origin.asked("/fails").length, 2);
  edge.skip(1);
  assert.equal((await edge.ask("/fails")).status, 502);
  assert.ok(edge.origin.asked("/fails").length <= 4);
});
