/** UPDATE: RFC 4271 §4.3 and §6.3, RFC 4760, RFC 1997, RFC 8326, RFC 4724 §2. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BgpError } from "../../../../node/announce/bgp/notification.ts";
import { parseAddress, parsePrefix, type Prefix } from "../../../../node/announce/bgp/prefix.ts";
import {
  type Update,
  writeAnnouncements,
  writeEndOfRib,
  writeWithdrawals,
} from "../../../../node/announce/bgp/update.ts";
import { framed, hex, readAll } from "./octets.ts";

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed !== undefined, text);
  return parsed;
}

function address(text: string): Uint8Array {
  const parsed = parseAddress(text);
  assert.ok(parsed !== undefined, text);
  return parsed;
}

function read(body: Uint8Array, isFourOctetAs = true): Update {
  const [message] = readAll(framed(2, body), isFourOctetAs);
  assert.ok(message?.type === "update");
  return message.update;
}

/** A body of these attributes, announcing these prefixes. */
function withAttributes(attributes: string, nlri = ""): Buffer {
  const octets = hex(attributes);
  return Buffer.concat([hex("0000"), Buffer.from([octets.length >> 8, octets.length & 255]), octets, hex(nlri)]);
}

const origin = "40 01 01 00";
const path = "40 02 00";
const hop = "40 03 04 0a000001";

test("IPv4 prefixes are announced in the message's own field", () => {
  const attributes = { nextHop: address("10.0.0.1"), localPref: 100, communities: [] };
  const bodies = writeAnnouncements(4, [prefix("192.0.2.0/24"), prefix("198.51.100.128/25")], attributes);
  const expected = withAttributes(`${origin} ${path} ${hop} 40 05 04 00000064`, "18 c00002 19 c6336480");
  assert.deepEqual(bodies.map(bufferOf), [expected]);
});

test("IPv6 prefixes are announced in MP_REACH_NLRI, without NEXT_HOP", () => {
  const attributes = { nextHop: address("2001:db8::1"), localPref: 100, communities: [] };
  const bodies = writeAnnouncements(6, [prefix("2001:db8:53::/48")], attributes);
  const hop6 = "20010db8000000000000000000000001";
  const reach = `80 0e 1c 0002 01 10 ${hop6} 00 30 20010db80053`;
  assert.deepEqual(bodies.map(bufferOf), [withAttributes(`${reach} ${origin} ${path} 40 05 04 00000064`)]);
});

test("GRACEFUL_SHUTDOWN is the community 65535:0 (RFC 8326), with LOCAL_PREF 0", () => {
  const attributes = { nextHop: address("10.0.0.1"), localPref: 0, communities: [[0xffff, 0]] as const };
  const [body] = writeAnnouncements(4, [prefix("192.0.2.0/24")], attributes);
  const expected = withAttributes(`${origin} ${path} ${hop} 40 05 04 00000000 c0 08 04 ffff0000`, "18 c00002");
  assert.deepEqual(Buffer.from(body ?? []), expected);
});

test("prefixes of both families are withdrawn, and End-of-RIB is an UPDATE without any", () => {
  assert.deepEqual(writeWithdrawals(4, [prefix("192.0.2.0/24")]).map(bufferOf), [hex("0004 18 c00002 0000")]);
  assert.deepEqual(writeWithdrawals(6, [prefix("2001:db8:53::/48")]).map(bufferOf), [
    hex("0000 000d 80 0f 0a 0002 01 30 20010db80053"),
  ]);
  assert.deepEqual(Buffer.from(writeEndOfRib(4)), hex("0000 0000"));
  assert.deepEqual(Buffer.from(writeEndOfRib(6)), hex("0000 0006 80 0f 03 0002 01"));
  assert.equal(read(hex("0000 0000")).endOfRib, 4);
  assert.equal(read(hex("0000 0006 80 0f 03 0002 01")).endOfRib, 6);
  assert.equal(read(hex("0004 18 c00002 0000")).endOfRib, undefined);
});

test("what is written is read as the same", () => {
  for (const [family, texts, nextHop] of [
    [4, ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "172.16.0.0/13"], "192.0.2.254"],
    [6, ["::/0", "2001:db8::/32", "2001:db8::1/128", "2001:db8:8000::/33"], "2001:db8::fe"],
  ] as const) {
    const prefixes = texts.map(prefix);
    const attributes = {
      nextHop: address(nextHop),
      localPref: 7,
      communities: [[65_535, 0] as const, [1, 2] as const],
    };
    const [body] = writeAnnouncements(family, prefixes, attributes);
    const update = read(body ?? new Uint8Array());
    assert.deepEqual(update.announced.map(plain), prefixes.map(plain));
    assert.deepEqual([...(update.nextHop ?? [])], [...attributes.nextHop]);
    assert.deepEqual([update.origin, update.asPath, update.localPref], [0, [], 7]);
    assert.deepEqual(update.communities, attributes.communities);
    const [withdrawal] = writeWithdrawals(family, prefixes);
    assert.deepEqual(read(withdrawal ?? new Uint8Array()).withdrawn.map(plain), prefixes.map(plain));
  }
});

test("many prefixes are split over messages that stay below 4096 octets", () => {
  const prefixes = Array.from({ length: 1000 }, (_, i) => prefix(`2001:db8:${i.toString(16)}::1/128`));
  const attributes = { nextHop: address("2001:db8::1"), localPref: 100, communities: [] };
  const bodies = [...writeAnnouncements(6, prefixes, attributes), ...writeWithdrawals(6, prefixes)];
  assert.equal(bodies.length, 16);
  assert.ok(bodies.every((body) => body.length <= 4096 - 19));
  const read8 = bodies.slice(0, 8).flatMap((body) => read(body).announced);
  assert.deepEqual(read8.map(plain), prefixes.map(plain));
  assert.deepEqual(writeAnnouncements(6, [], attributes), []);
});

test("AS_PATH has AS numbers of four octets, or of two where the peer knows no others", () => {
  const four = withAttributes(`${origin} 40 02 0a 02 02 fa56ea01 0000fbf4 ${hop}`, "18 c00002");
  assert.deepEqual(read(four).asPath, [4_200_000_001, 64_500]);
  const two = withAttributes(`${origin} 40 02 06 02 02 5ba0 fbf4 ${hop}`, "18 c00002");
  assert.deepEqual(read(two, false).asPath, [23_456, 64_500]);
});

test("bits past a prefix's length are dropped, and unknown optional attributes passed over", () => {
  const update = read(withAttributes(`${origin} ${path} ${hop} c0 63 02 abcd 90 64 0001 ff`, "14 c000ff"));
  assert.deepEqual(update.announced.map(plain), [{ family: 4, length: 20, octets: [0xc0, 0x00, 0xf0] }]);
});

test("UPDATEs that are wrong get the NOTIFICATION of RFC 4271 §6.3", () => {
  const mp = (value: string): string => `80 0e ${hex(value).length.toString(16).padStart(2, "0")} ${value}`;
  const cases: readonly (readonly [string, Uint8Array, string])[] = [
    ["withdrawn routes past the end", hex("0005 00000000"), "3/1"],
    ["no room for the attributes' length", hex("0003 000000"), "3/1"],
    ["attributes past the end", hex("0000 0001"), "3/1"],
    ["an attribute without length", withAttributes("40 01"), "3/1"],
    ["an attribute that is cut off", withAttributes("40 01 02 00"), "3/1"],
    ["an attribute with half a long length", withAttributes("50 01 00"), "3/1"],
    ["an attribute twice", withAttributes(`${origin} ${origin}`), "3/1"],
    ["a well-known attribute that nobody knows", withAttributes("40 63 01 00"), "3/2 40630100"],
    ["no ORIGIN", withAttributes(`${path} ${hop}`, "18 c00002"), "3/3 01"],
    ["no AS_PATH", withAttributes(`${origin} ${hop}`, "18 c00002"), "3/3 02"],
    ["no NEXT_HOP", withAttributes(`${origin} ${path}`, "18 c00002"), "3/3 03"],
    ["ORIGIN as optional", withAttributes("c0 01 01 00"), "3/4 c0010100"],
    ["ORIGIN as partial", withAttributes("60 01 01 00"), "3/4 60010100"],
    ["communities as well-known", withAttributes("40 08 04 ffff0000"), "3/4 400804ffff0000"],
    ["ORIGIN of two octets", withAttributes("40 01 02 0000"), "3/5 4001020000"],
    ["NEXT_HOP of three octets", withAttributes("40 03 03 0a0000"), "3/5 4003030a0000"],
    ["LOCAL_PREF of five octets", withAttributes("40 05 05 0000000064"), "3/5 4005050000000064"],
    ["communities of three octets", withAttributes("c0 08 03 ffff00"), "3/5 c00803ffff00"],
    ["ORIGIN 3", withAttributes("40 01 01 03"), "3/6 40010103"],
    ["NEXT_HOP 0.0.0.0", withAttributes("40 03 04 00000000"), "3/8 40030400000000"],
    ["NEXT_HOP 224.0.0.1", withAttributes("40 03 04 e0000001"), "3/8 400304e0000001"],
    ["MP_REACH_NLRI that is cut off", withAttributes(mp("0002 01 10 2001")), "3/9 800e06000201102001"],
    ["an IPv6 next hop of 4 octets", withAttributes(mp("0002 01 04 0a000001 00")), "3/9 800e090002 01040a00000100"],
    ["an IPv6 prefix of 129 bits", withAttributes("80 0f 04 0002 01 81"), "3/9 800f0400020181"],
    ["MP_UNREACH_NLRI of two octets", withAttributes("80 0f 02 0002"), "3/9 800f020002"],
    ["a prefix of 33 bits", withAttributes(`${origin} ${path} ${hop}`, "21 c000020000"), "3/10"],
    ["a prefix that is cut off", withAttributes(`${origin} ${path} ${hop}`, "18 c000"), "3/10"],
    ["a withdrawn prefix that is cut off", hex("0003 18 c000 0000"), "3/10"],
    ["AS_PATH with a segment of type 5", withAttributes("40 02 06 05 01 00000001"), "3/11 400206050100000001"],
    ["AS_PATH with an empty segment", withAttributes("40 02 02 02 00"), "3/11 4002020200"],
    ["AS_PATH that is cut off", withAttributes("40 02 04 02 01 0001"), "3/11 40020402010001"],
  ];
  for (const [what, body, expected] of cases) {
    assert.throws(
      () => read(body),
      (error) => {
        assert.ok(error instanceof BgpError, String(error));
        const { code, subcode, data } = error.notification;
        const shown = `${code}/${subcode} ${Buffer.from(data).toString("hex")}`.trim();
        assert.equal(shown.replaceAll(" ", ""), expected.replaceAll(" ", ""), what);
        return true;
      },
      what,
    );
  }
});

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes);
}

function plain({ family, length, octets }: Prefix): unknown {
  return { family, length, octets: [...octets] };
}
