import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import { bitAt, ipToText, maskIp, parseIp, parsePrefix } from "../../../dns/wire/address.ts";

test("addresses are read in every usual form", () => {
  const cases: readonly (readonly [string, number, string])[] = [
    ["192.0.2.1", 4, "192.0.2.1"],
    ["0.0.0.0", 4, "0.0.0.0"],
    ["255.255.255.255", 4, "255.255.255.255"],
    ["::", 6, "0:0:0:0:0:0:0:0"],
    ["::1", 6, "0:0:0:0:0:0:0:1"],
    ["2001:DB8::", 6, "2001:db8:0:0:0:0:0:0"],
    ["1:2:3:4:5:6:7:8", 6, "1:2:3:4:5:6:7:8"],
    ["64:ff9b::192.0.2.1", 6, "64:ff9b:0:0:0:0:c000:201"],
    ["::ffff:192.0.2.1", 4, "192.0.2.1"],
    ["::ffff:c000:201", 4, "192.0.2.1"],
    ["fe80::1%eth0", 6, "fe80:0:0:0:0:0:0:1"],
  ];
  for (const [text, family, written] of cases) {
    const address = parseIp(text);
    assert.equal(address?.family, family, text);
    assert.equal(ipToText(address), written, text);
  }
});

test("what is no address is refused, as node:net refuses it", () => {
  const random = seededRandom(5);
  const alphabet = "0123456789.:af%";
  const texts = ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1..2.3", "bad", ":::", "1:2", "1.2.3.4 ", "::1::"];
  for (let i = 0; i < 20_000; i++) {
    texts.push(
      Array.from({ length: 1 + Math.floor(random() * 12) }, () => alphabet[Math.floor(random() * 15)]).join(""),
    );
  }
  for (const text of texts) {
    const bare = text.split("%")[0] ?? "";
    const expected = text.includes("%") ? isIP(bare) === 6 : isIP(text) !== 0;
    if (text.endsWith("%")) continue;
    assert.equal(parseIp(text) !== undefined, expected, JSON.stringify(text));
  }
});

test("a prefix clears the bits behind it", () => {
  const prefix = parsePrefix("192.0.2.255/25");
  assert.ok(prefix);
  assert.equal(ipToText(prefix.address), "192.0.2.128");
  assert.equal(prefix.prefixLength, 25);
  assert.equal(parsePrefix("2001:db8:ffff::/33")?.address.bytes[4], 0x80);
  assert.equal(parsePrefix("192.0.2.1")?.prefixLength, 32);
  for (const bad of ["192.0.2.0/33", "::/129", "192.0.2.0/", "192.0.2.0/-1", "192.0.2.0/24/1", "x/8"]) {
    assert.equal(parsePrefix(bad), undefined, bad);
  }
});

test("bits count from the left", () => {
  const address = parseIp("128.0.0.1");
  assert.ok(address);
  assert.equal(bitAt(address, 0), 1);
  assert.equal(bitAt(address, 1), 0);
  assert.equal(bitAt(address, 31), 1);
  maskIp(address, 0);
  assert.equal(ipToText(address), "0.0.0.0");
});
