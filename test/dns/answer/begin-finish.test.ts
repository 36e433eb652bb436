/** The frame of an answer, step by step: how long it may be, and what its header says. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { begin, fail, finish, giveUp, messageLengthMax, truncate } from "../../../dns/answer/begin-finish.ts";
import { servfail } from "../../../dns/answer/outcomes.ts";
import { readStats } from "../../../dns/counters.ts";
import { queryOf, readAnswer } from "../support/ask.ts";
import { respondingTo, udpClient } from "./responding.ts";

const optLength = 11;

test("over UDP the limit is what the client takes, 1,232 at most, less the room for OPT", () => {
  const cases: readonly (readonly [udpSize: number | undefined, limit: number])[] = [
    [undefined, 512],
    [0, 512 - optLength],
    [900, 900 - optLength],
    [4096, 1232 - optLength],
  ];
  for (const [udpSize, limit] of cases) {
    const query = queryOf(udpSize === undefined ? {} : { edns: { udpSize } });
    const state = respondingTo(query);
    begin(state, query, query.length, udpClient);
    assert.deepEqual([state.at, state.limit], [state.query.questionEnd, limit], String(udpSize));
  }
});

test("without a valid cookie the limit is a multiple of the query's length; over TCP there is none of the two", () => {
  const query = queryOf({});
  const state = respondingTo(query, { amplificationMax: 3 });
  begin(state, query, query.length, udpClient);
  assert.equal(state.limit, 3 * query.length);
  state.isProven = true;
  begin(state, query, query.length, udpClient);
  assert.equal(state.limit, 512);
  state.isUdp = false;
  begin(state, query, query.length, { ...udpClient, transport: "tcp" });
  assert.equal(state.limit, messageLengthMax);
});

test("NSID is left out where its room would be the question's", () => {
  const query = queryOf({ edns: { options: [{ code: 3, data: [] }] } });
  const state = respondingTo(query, {
    amplificationMax: 1,
    identity: { nsid: new Uint8Array(255), version: undefined, id: undefined },
  });
  begin(state, query, query.length, udpClient);
  assert.equal(state.reply.nsid, undefined);
  assert.ok(state.limit >= state.at, "the question and the OPT record fit");
});

test("begin() leaves nothing of the answer before", () => {
  const query = queryOf({ edns: {} });
  const state = respondingTo(query);
  Object.assign(state, { rcode: 3, answers: 1, authorities: 2, additionals: 3, isTruncated: true });
  state.isAuthoritative = true;
  Object.assign(state.reply, { scope: 24, extendedError: 14 });
  begin(state, query, query.length, udpClient);
  finish(state, query);
  const answer = readAnswer(state.out.slice(0, state.at));
  assert.deepEqual([answer.rcode, answer.flags, answer.answers, answer.extendedError], [0, "qr", [], null]);
});

test("truncate() empties the sections and is counted; giveUp() is SERVFAIL without TC", () => {
  const query = queryOf({ flags: 0x0100, edns: {} });
  const state = respondingTo(query);
  begin(state, query, query.length, udpClient);
  Object.assign(state, { at: state.at + 100, answers: 3, isTruncated: true });
  truncate(state);
  finish(state, query);
  assert.equal(readAnswer(state.out.slice(0, state.at)).flags, "qr tc rd");
  assert.equal(readStats([state.counters]).truncated, 1);

  begin(state, query, query.length, udpClient);
  Object.assign(state, { at: state.at + 100, answers: 3, isTruncated: true, isAuthoritative: true });
  assert.equal(giveUp(state), servfail);
  finish(state, query);
  const answer = readAnswer(state.out.slice(0, state.at));
  assert.deepEqual([answer.rcode, answer.flags, answer.answers], [2, "qr rd", []]);
});

test("an extended error is left out where there is no room for it", () => {
  const query = queryOf({ edns: {} });
  for (const [room, expected] of [
    [5, null],
    [6, 14],
  ] as const) {
    const state = respondingTo(query);
    begin(state, query, query.length, udpClient);
    state.limit = state.at + room;
    fail(state, 2, 14, servfail);
    finish(state, query);
    assert.equal(readAnswer(state.out.slice(0, state.at)).extendedError, expected, `${room} octets`);
  }
});
