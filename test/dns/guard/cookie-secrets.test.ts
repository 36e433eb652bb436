/** The day's secrets: the same on every node, and no cookie breaks at midnight. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { createCookies } from "../../../dns/guard/cookie.ts";
import { cookieSecrets } from "../../../dns/guard/cookie-secrets.ts";
import { parseIp } from "../../../dns/wire/address.ts";
import { emptyEdns, emptyOptReply } from "../../../dns/wire/edns.ts";

const fleetSecret = (name: string): Uint8Array => createHash("sha256").update(name).digest();
const a = fleetSecret("a");
const b = fleetSecret("b");
const midnight = Date.UTC(2026, 10, 22);
const minute = 60_000;
const texts = (secrets: readonly Uint8Array[]): string[] =>
  secrets.map((secret) => Buffer.from(secret).toString("hex"));

test("each day and each fleet secret has its own, of 16 octets", () => {
  const seen = new Set<string>();
  for (let day = 0; day < 100; day++) {
    for (const secret of [a, b]) {
      const [made, ...more] = cookieSecrets([secret], midnight + day * 1440 * minute + 720 * minute);
      assert.equal(made?.length, 16);
      assert.deepEqual(more, []);
      seen.add(texts([made ?? new Uint8Array()]).join(""));
    }
  }
  assert.equal(seen.size, 200);
});

test("the other day's is accepted just while cookies of it can be about", () => {
  const [yesterday] = cookieSecrets([a], midnight - 720 * minute);
  const [today] = cookieSecrets([a], midnight + 720 * minute);
  assert.ok(yesterday !== undefined && today !== undefined);
  const cases: readonly (readonly [number, Uint8Array[]])[] = [
    [-720 * minute, [yesterday]],
    [-5 * minute - 1, [yesterday]],
    [-5 * minute, [yesterday, today]],
    [-1, [yesterday, today]],
    [0, [today, yesterday]],
    [65 * minute - 1, [today, yesterday]],
    [65 * minute, [today]],
  ];
  for (const [offsetMs, expected] of cases) {
    assert.deepEqual(texts(cookieSecrets([a], midnight + offsetMs)), texts(expected), `${offsetMs} ms from midnight`);
  }
});

test("two fleet secrets make four at midnight: the first makes, all are accepted", () => {
  const [aToday, aYesterday] = cookieSecrets([a], midnight);
  const [bToday, bYesterday] = cookieSecrets([b], midnight);
  assert.ok(aToday !== undefined && aYesterday !== undefined && bToday !== undefined && bYesterday !== undefined);
  assert.deepEqual(texts(cookieSecrets([a, b], midnight)), texts([aToday, bToday, aYesterday, bYesterday]));
  assert.equal(cookieSecrets([a, b, fleetSecret("c")], midnight).length, 4);
  assert.deepEqual(cookieSecrets([], midnight), []);
});

test("a cookie is good for an hour on every node across midnight, with clocks five minutes apart", () => {
  const from = parseIp("192.0.2.1");
  assert.ok(from !== undefined);
  const maker = createCookies();
  const taker = createCookies();
  for (let madeAt = midnight - 70 * minute; madeAt <= midnight + 70 * minute; madeAt += 5 * minute) {
    for (let skew = -5; skew <= 60; skew += 5) {
      const edns = emptyEdns();
      const reply = emptyOptReply();
      edns.cookie.length = 8;
      maker.setSecrets(cookieSecrets([a], madeAt));
      maker.check(edns, from, madeAt / 1000, reply);
      edns.cookie.bytes.set(reply.serverCookie, 8);
      edns.cookie.length = 24;
      const takenAt = madeAt + skew * minute;
      taker.setSecrets(cookieSecrets([b, a], takenAt));
      const where = `made ${(madeAt - midnight) / minute} min from midnight, taken ${skew} min later`;
      assert.ok(taker.check(edns, from, takenAt / 1000, reply), where);
    }
  }
});
