/** Octets by chance, and true messages with changes by chance: nothing but BgpError comes of them, and soon. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import {
  createFramer,
  keepaliveMessage,
  notificationMessage,
  openMessage,
  readMessage,
  updateMessage,
} from "../../../../node/announce/bgp/message.ts";
import { administrativeShutdown, BgpError, describeNotification } from "../../../../node/announce/bgp/notification.ts";
import { parsePrefix, type Prefix } from "../../../../node/announce/bgp/prefix.ts";
import { writeAnnouncements, writeEndOfRib, writeWithdrawals } from "../../../../node/announce/bgp/update.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { framed, hex } from "./octets.ts";

const prefixes4 = ["192.0.2.0/24", "198.51.100.0/25"].map(parsePrefix) as Prefix[];
const prefixes6 = ["2001:db8:53::/48", "::/0"].map(parsePrefix) as Prefix[];
const attributes = {
  localPref: 100,
  communities: [
    [65_535, 0],
    [1, 2],
  ] as const,
};
const corpus: readonly Uint8Array[] = [
  openMessage({
    as: 4_200_000_001,
    holdSeconds: 3,
    identifier: 1,
    families: [4, 6],
    hasRouteRefresh: true,
    isFourOctetAs: true,
  }),
  keepaliveMessage,
  notificationMessage(administrativeShutdown("maintenance")),
  framed(5, hex("0001 00 01")),
  ...[
    ...writeAnnouncements(4, prefixes4, { ...attributes, nextHop: hex("0a000001") }),
    ...writeAnnouncements(6, prefixes6, { ...attributes, nextHop: hex("20010db8000000000000000000000001") }),
    ...writeWithdrawals(4, prefixes4),
    ...writeWithdrawals(6, prefixes6),
    writeEndOfRib(6),
    hex("0000 0023 400101 00 40020a 0202 00000001 00000002 400304 0a000001 c00808 ffff0000 00010002"),
  ].map(updateMessage),
];

test("hostile octets give messages or BgpError, and nothing else", () => {
  const seed = seedOr(4271);
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  let understood = 0;
  let refused = 0;
  for (let round = 0; round < rounds(40_000, 1_000_000); round++) {
    const from = corpus[below(corpus.length)] ?? keepaliveMessage;
    let bytes: Buffer = Buffer.from(from);
    if (random() < 0.1) {
      bytes = framed(below(7), Buffer.from(Array.from({ length: below(80) }, () => below(256))));
    } else {
      for (let changes = below(4); changes > 0; changes--) {
        const at = 19 + below(Math.max(1, bytes.length - 19));
        const kind = random();
        if (kind < 0.6) bytes[Math.min(at, bytes.length - 1)] = random() < 0.5 ? below(256) : below(8);
        else if (kind < 0.8)
          bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([below(256)]), bytes.subarray(at)]);
        else bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(4))]);
      }
      // Most keep a length that is true, or the framer alone would be looked at.
      if (random() < 0.95) bytes.writeUInt16BE(bytes.length, 16);
    }
    const take = createFramer();
    try {
      for (const message of take(bytes)) {
        readMessage(message, random() < 0.5);
        understood++;
      }
    } catch (error) {
      assert.ok(error instanceof BgpError, `SEED=${seed}, round ${round}, ${bytes.toString("hex")}: ${String(error)}`);
      const { code, subcode } = error.notification;
      assert.match(describeNotification(error.notification), /^[1-7]\/\d+ /, `${code}/${subcode}`);
      assert.ok(notificationMessage(error.notification).length <= 4096);
      refused++;
    }
  }
  // Both paths were walked, often.
  assert.ok(understood > 1000 && refused > 1000, `${understood} understood, ${refused} refused`);
});
