/** Framing, KEEPALIVE, NOTIFICATION, ROUTE-REFRESH: RFC 4271 §4.1, §4.4, §4.5, §6.1, RFC 2918, RFC 9003. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createFramer, keepaliveMessage, notificationMessage } from "../../../../node/announce/bgp/message.ts";
import { administrativeShutdown, BgpError, describeNotification } from "../../../../node/announce/bgp/notification.ts";
import { framed, hex, openBody, readAll } from "./octets.ts";

const ones = "ffffffffffffffffffffffffffffffff";

function failure(bytes: Uint8Array): string {
  try {
    readAll(bytes);
  } catch (error) {
    assert.ok(error instanceof BgpError, String(error));
    const { code, subcode, data } = error.notification;
    return `${code}/${subcode} ${Buffer.from(data).toString("hex")}`.trim();
  }
  return "fine";
}

test("a KEEPALIVE is a header alone", () => {
  assert.equal(Buffer.from(keepaliveMessage).toString("hex"), `${ones}001304`);
  assert.deepEqual(readAll(keepaliveMessage), [{ type: "keepalive" }]);
});

test("headers that are wrong get the NOTIFICATION of RFC 4271 §6.1", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["a marker that is not all ones", "fffffffffffffffffffffffffffffffe 0013 04", "1/1"],
    ["a length below 19", `${ones} 0012 04`, "1/2 0012"],
    ["a length above 4096", `${ones} 1001 02`, "1/2 1001"],
    ["a KEEPALIVE with a body", `${ones} 0014 04 00`, "1/2 0014"],
    ["an OPEN that is too short", `${ones} 001c 01`, "1/2 001c"],
    ["an UPDATE that is too short", `${ones} 0016 02`, "1/2 0016"],
    ["a NOTIFICATION that is too short", `${ones} 0014 03 00`, "1/2 0014"],
    ["type 0", `${ones} 0013 00`, "1/3 00"],
    ["type 6", `${ones} 0013 06`, "1/3 06"],
    ["a ROUTE-REFRESH that is too long (RFC 7313 §5)", `${ones} 0018 05 0001000100`, `7/1 ${ones}0018050001000100`],
  ];
  for (const [what, octets, expected] of cases) assert.equal(failure(hex(octets)), expected, what);
});

test("messages are found however the stream is cut", () => {
  const stream = Buffer.concat([framed(1, openBody), keepaliveMessage, framed(2, hex("0000 0000")), keepaliveMessage]);
  for (let size = 1; size <= stream.length; size++) {
    const take = createFramer();
    const found: Buffer[] = [];
    for (let at = 0; at < stream.length; at += size) found.push(...take(stream.subarray(at, at + size)));
    assert.deepEqual(Buffer.concat(found), stream, `in pieces of ${size}`);
    assert.equal(found.length, 4);
  }
});

test("the largest message is taken, and what waits for its rest is never longer than that", () => {
  const largest = framed(3, Buffer.alloc(4096 - 19, 6));
  const take = createFramer();
  assert.deepEqual([...take(largest.subarray(0, 4095))], []);
  assert.equal([...take(largest.subarray(4095))].length, 1);
});

test("a ROUTE-REFRESH names a family; marks of RFC 7313 and families that we don't have name none", () => {
  const cases = [
    ["0001 00 01", 4],
    ["0002 00 01", 6],
    ["0001 01 01", undefined], // begin of a refresh
    ["0001 00 02", undefined], // multicast
    ["0019 00 41", undefined], // layer 2
  ] as const;
  for (const [octets, family] of cases) {
    assert.deepEqual(readAll(framed(5, hex(octets))), [{ type: "route-refresh", family }], octets);
  }
});

test("a NOTIFICATION is read, and reported in words", () => {
  const cases = [
    ["02 02 fde9", "2/2 bad peer AS"],
    ["02 03 7f000002", "2/3 bad BGP identifier"],
    ["06 02", "6/2 administrative shutdown"],
    ["06 02 0b 6d61696e74656e616e6365", '6/2 administrative shutdown: "maintenance"'],
    ["06 04 04 0a1b5b22", '6/4 administrative reset: "??[?"'], // what a terminal would obey, and a quote
    ["06 02 ff 6d", "6/2 administrative shutdown"], // a text that is shorter than it says
    ["06 05", "6/5 connection rejected"],
    ["04 00", "4/0 hold timer expired"],
    ["03 63", "3/99 UPDATE message error"],
    ["63 01", "99/1 unknown error"],
  ] as const;
  for (const [octets, words] of cases) {
    const [message] = readAll(framed(3, hex(octets)));
    assert.ok(message?.type === "notification");
    assert.equal(describeNotification(message.notification), words);
  }
});

test("an administrative shutdown carries a text of at most 255 octets (RFC 9003)", () => {
  const bytes = notificationMessage(administrativeShutdown("bye"));
  assert.equal(Buffer.from(bytes).toString("hex"), `${ones}001903060203627965`);
  const long = administrativeShutdown("x".repeat(1000));
  assert.equal(long.data.length, 256);
  assert.equal(long.data[0], 255);
});

test("a NOTIFICATION of ours fits into one message, whatever it shows", () => {
  assert.equal(notificationMessage({ code: 3, subcode: 1, data: new Uint8Array(5000) }).length, 4096);
});
