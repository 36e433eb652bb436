/** The peer's picture of our routes, and the least that must be said to change it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Prefix } from "../../../node/announce/bgp/prefix.ts";
import { changesTo, nothingWanted, type Wanted, withoutNextHop } from "../../../node/announce/announced-routes.ts";
import { readAll } from "./bgp/octets.ts";

const both: Wanted = {
  prefixes: ["192.0.2.0/24", "2001:db8:53::/48"],
  nextHops: ["2001:db8::1", "10.0.0.1"],
  isShuttingDown: false,
};

function words(messages: readonly Uint8Array[]): string[] {
  return readAll(Buffer.concat(messages)).flatMap((message) => {
    if (message.type !== "update") return [message.type];
    const { announced, withdrawn, localPref, communities } = message.update;
    const text = ({ family, length }: Prefix): string => `v${family}/${length}`;
    return [
      ...announced.map((one) => `+${text(one)} ${localPref ?? ""} ${communities.join(" ")}`.trim()),
      ...withdrawn.map((one) => `-${text(one)}`),
    ];
  });
}

test("what is new is announced, what is not wanted any more is withdrawn, and what stays is not said again", () => {
  const first = changesTo(new Map(), both, [4, 6]);
  assert.deepEqual(words(first.messages), ["+v4/24 100", "+v6/48 100"]);
  assert.deepEqual([...first.sent.keys()], both.prefixes);
  assert.deepEqual(changesTo(first.sent, both, [4, 6]).messages, []);
  const less = changesTo(first.sent, { ...both, prefixes: ["198.51.100.0/25"] }, [4, 6]);
  assert.deepEqual(words(less.messages), ["+v4/25 100", "-v4/24", "-v6/48"]);
  const none = changesTo(less.sent, nothingWanted, [4, 6]);
  assert.deepEqual(words(none.messages), ["-v4/25"]);
  assert.equal(none.sent.size, 0);
});

test("a shutdown announces every route again, without a withdrawal in between, and so does its end", () => {
  const { sent } = changesTo(new Map(), both, [4, 6]);
  const drained = changesTo(sent, { ...both, isShuttingDown: true }, [4, 6]);
  assert.deepEqual(words(drained.messages), ["+v4/24 0 65535,0", "+v6/48 0 65535,0"]);
  assert.deepEqual(words(changesTo(drained.sent, both, [4, 6]).messages), ["+v4/24 100", "+v6/48 100"]);
});

test("only families that the session carries, and that have a next hop, are announced", () => {
  assert.deepEqual(words(changesTo(new Map(), both, [4]).messages), ["+v4/24 100"]);
  const only6 = { ...both, nextHops: ["2001:db8::1"] };
  assert.deepEqual(words(changesTo(new Map(), only6, [4, 6]).messages), ["+v6/48 100"]);
  assert.deepEqual(withoutNextHop(both.prefixes, only6.nextHops), ["192.0.2.0/24"]);
  assert.deepEqual(withoutNextHop(both.prefixes, both.nextHops), []);
});

test("a prefix that can't be read is left out", () => {
  assert.deepEqual(changesTo(new Map(), { ...both, prefixes: ["nonsense"] }, [4, 6]).messages, []);
});
