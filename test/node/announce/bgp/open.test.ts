/** OPEN: RFC 4271 §4.2 and §6.2, RFC 5492, RFC 4760, RFC 6793, RFC 6286, RFC 7607. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openMessage } from "../../../../node/announce/bgp/message.ts";
import { BgpError } from "../../../../node/announce/bgp/notification.ts";
import type { Open } from "../../../../node/announce/bgp/open.ts";
import { framed, hex, openBody, readAll } from "./octets.ts";

const usual: Open = {
  as: 64_500,
  holdSeconds: 3,
  identifier: 0xc0_00_02_01,
  families: [4, 6],
  hasRouteRefresh: true,
  isFourOctetAs: true,
};

function read(octets: string): Open {
  const [message] = readAll(framed(1, hex(octets)));
  assert.ok(message?.type === "open");
  return message.open;
}

test("an OPEN is written and read, octet for octet", () => {
  assert.deepEqual(Buffer.from(openMessage(usual)), framed(1, openBody));
  assert.deepEqual(readAll(framed(1, openBody)), [{ type: "open", open: usual }]);
});

test("an AS number of four octets leaves AS_TRANS in the field of two (RFC 6793 §9)", () => {
  const large = { ...usual, as: 4_200_000_001 };
  const bytes = Buffer.from(openMessage(large));
  assert.equal(bytes.readUInt16BE(20), 23_456);
  assert.deepEqual(readAll(bytes), [{ type: "open", open: large }]);
});

test("without capabilities the peer has IPv4 alone, and AS numbers of two octets", () => {
  assert.deepEqual(read("04 fbf4 00b4 c0000201 00"), {
    ...usual,
    holdSeconds: 180,
    families: [4],
    hasRouteRefresh: false,
    isFourOctetAs: false,
  });
});

test("capabilities may stand in parameters of their own; unknown ones and unknown families are passed over", () => {
  const parameters = "02 06 01 04 0002 00 01   02 06 01 04 0019 00 41   02 02 46 00   02 05 49 03 616263";
  const length = hex(parameters).length.toString(16).padStart(2, "0");
  assert.deepEqual(read(`04 fbf4 0000 c0000201 ${length} ${parameters}`), {
    ...usual,
    holdSeconds: 0,
    families: [6],
    hasRouteRefresh: false,
    isFourOctetAs: false,
  });
});

test("OPENs that are wrong get the NOTIFICATION of RFC 4271 §6.2", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["version 3", "03 fbf4 0003 c0000201 00", "2/1 0004"],
    ["AS 0", "04 0000 0003 c0000201 00", "2/2 0000"],
    ["AS 0 in four octets", "04 fbf4 0003 c0000201 08 02 06 41 04 00000000", "2/2 fbf4"],
    ["identifier 0", "04 fbf4 0003 00000000 00", "2/3 00000000"],
    ["a hold time of 1 s", "04 fbf4 0001 c0000201 00", "2/6 0001"],
    ["a hold time of 2 s", "04 fbf4 0002 c0000201 00", "2/6 0002"],
    ["parameters longer than the message", "04 fbf4 0003 c0000201 01", "2/0"],
    ["parameters shorter than the message", "04 fbf4 0003 c0000201 00 00", "2/0"],
    ["a parameter without length", "04 fbf4 0003 c0000201 01 02", "2/0"],
    ["a parameter that is cut off", "04 fbf4 0003 c0000201 02 02 01", "2/0"],
    ["a parameter that is not of capabilities", "04 fbf4 0003 c0000201 03 01 01 00", "2/4 01"],
    ["a capability that is cut off", "04 fbf4 0003 c0000201 04 02 02 41 04", "2/0"],
    ["a multiprotocol capability of 3 octets", "04 fbf4 0003 c0000201 07 02 05 01 03 000100", "2/0"],
    ["a four-octet AS capability of 2 octets", "04 fbf4 0003 c0000201 06 02 04 41 02 fbf4", "2/0"],
  ];
  for (const [what, octets, expected] of cases) {
    assert.throws(
      () => read(octets),
      (error) => {
        assert.ok(error instanceof BgpError, String(error));
        const { code, subcode, data } = error.notification;
        assert.equal(`${code}/${subcode} ${Buffer.from(data).toString("hex")}`.trim(), expected, what);
        return true;
      },
      what,
    );
  }
});
