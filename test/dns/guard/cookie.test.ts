/** DNS cookies: the vectors of RFC 9018 appendix A, then what is accepted, renewed and refused. */
import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { createCookies, type Cookies } from "../../../dns/guard/cookie.ts";
import { parseIp, type IpAddress } from "../../../dns/wire/address.ts";
import { emptyEdns, emptyOptReply } from "../../../dns/wire/edns.ts";

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));

function address(text: string): IpAddress {
  const parsed = parseIp(text);
  assert.ok(parsed !== undefined, text);
  return parsed;
}

interface Judgement {
  readonly isValid: boolean;
  /** Client and server cookie of the answer in hexadecimal; null: none. */
  readonly answer: string | null;
}

function judge(cookies: Cookies, cookie: string, from: string, nowSeconds: number): Judgement {
  const edns = emptyEdns();
  edns.cookie.bytes.set(hex(cookie));
  edns.cookie.length = cookie.length / 2;
  const reply = emptyOptReply();
  const isValid = cookies.check(edns, address(from), nowSeconds, reply);
  const server = Buffer.from(reply.serverCookie).toString("hex");
  return { isValid, answer: reply.hasServerCookie ? cookie.slice(0, 16) + server : null };
}

function cookiesOf(...secrets: readonly string[]): Cookies {
  const cookies = createCookies();
  cookies.setSecrets(secrets.map(hex));
  return cookies;
}

const secret = "e5e973e5a6b2a43f48e7dc849e37bfcf";
const learned = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";

test("RFC 9018 A.1: learning a new server cookie", () => {
  assert.deepEqual(judge(cookiesOf(secret), "2464c4abcf10c957", "198.51.100.100", 1_559_731_985), {
    isValid: false,
    answer: learned,
  });
});

test("RFC 9018 A.2: the same client learns a renewed one after 40 minutes", () => {
  assert.deepEqual(judge(cookiesOf(secret), learned, "198.51.100.100", 1_559_734_385), {
    isValid: true,
    answer: "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
  });
});

test("RFC 9018 A.3: another client's reserved octets count in the hash and are not given again", () => {
  const sent = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
  // The vector's cookie is 1 h 51 min old there: too old for us (§4.3), yet the answer is the vector's.
  assert.deepEqual(judge(cookiesOf(secret), sent, "203.0.113.203", 1_559_734_700), {
    isValid: false,
    answer: "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
  });
  const young = judge(cookiesOf(secret), sent, "203.0.113.203", 1_559_727_985 + 60);
  assert.ok(young.isValid);
  assert.equal(young.answer?.slice(16, 24), "01000000");
  const changed = sent.replace("abcdef", "abcdee");
  assert.ok(!judge(cookiesOf(secret), changed, "203.0.113.203", 1_559_727_985 + 60).isValid);
});

test("RFC 9018 A.4: an IPv6 client with a cookie of the secret before gets one of the new", () => {
  const cookies = cookiesOf("445536bcd2513298075a5d379663c962", "dd3bdf9344b678b185a6f5cb60fca715");
  const from = "2001:db8:220:1:59de:d0f4:8769:82b8";
  assert.deepEqual(judge(cookies, "22681ab97d52c298010000005cf7c57926556bd0934c72f8", from, 1_559_741_961), {
    isValid: true,
    answer: "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
  });
});

test("a cookie is good for an hour, five minutes before its time, and is renewed after half an hour", () => {
  const cookies = cookiesOf(secret);
  const made = 1_559_731_985;
  const cases: readonly (readonly [number, boolean, "same" | "fresh"])[] = [
    [-301, false, "fresh"],
    [-300, true, "same"],
    [0, true, "same"],
    [1800, true, "same"],
    [1801, true, "fresh"],
    [3600, true, "fresh"],
    [3601, false, "fresh"],
    [2 ** 31, false, "fresh"],
    [2 ** 32 + 10, true, "same"], // The same 32 bits 136 years later: all that serial numbers can tell (RFC 1982).
  ];
  for (const [ageSeconds, isValid, given] of cases) {
    const judged = judge(cookies, learned, "198.51.100.100", made + ageSeconds);
    assert.equal(judged.isValid, isValid, `${ageSeconds} s old`);
    assert.equal(judged.answer === learned, given === "same", `${ageSeconds} s old`);
    const again = judge(cookies, judged.answer ?? "", "198.51.100.100", made + ageSeconds);
    assert.deepEqual(again, { isValid: true, answer: judged.answer }, `what is given at ${ageSeconds} s is good`);
  }
});

test("cookies survive the wrap of the 32-bit clock", () => {
  const cookies = cookiesOf(secret);
  const wrap = 2 ** 32;
  const { answer } = judge(cookies, "2464c4abcf10c957", "192.0.2.1", wrap - 10);
  assert.deepEqual(judge(cookies, answer ?? "", "192.0.2.1", wrap + 10), { isValid: true, answer });
});

test("any changed bit, another address, family or length makes a cookie worthless", () => {
  const cookies = cookiesOf(secret, "445536bcd2513298075a5d379663c962");
  const now = 1_559_731_985;
  for (let bit = 0; bit < 24 * 8; bit++) {
    const bytes = hex(learned);
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const judged = judge(cookies, Buffer.from(bytes).toString("hex"), "198.51.100.100", now);
    assert.ok(!judged.isValid, `bit ${bit}`);
    assert.equal(judged.answer?.length, 48, "and gets a good one");
  }
  for (const from of ["198.51.100.101", "199.51.100.100", "c633:6464::", "::c633:6464"]) {
    assert.ok(!judge(cookies, learned, from, now).isValid, from);
  }
  for (const cookie of [learned.slice(0, 32), learned.slice(0, 46), `${learned}00`, learned.padEnd(80, "0")]) {
    assert.ok(!judge(cookies, cookie, "198.51.100.100", now).isValid, `${cookie.length / 2} octets`);
  }
});

test("no cookie in the query, or no secret: none in the answer", () => {
  const cookies = createCookies();
  assert.deepEqual(judge(cookies, learned, "198.51.100.100", 1_559_731_985), { isValid: false, answer: null });
  cookies.setSecrets([hex(secret)]);
  const reply = { ...emptyOptReply(), hasServerCookie: true };
  assert.equal(cookies.check(emptyEdns(), address("192.0.2.1"), 1_559_731_985, reply), false);
  assert.equal(reply.hasServerCookie, false);
  cookies.setSecrets([]);
  assert.equal(judge(cookies, learned, "198.51.100.100", 1_559_731_985).answer, null);
});

test("a roll in three steps breaks no cookie on any server, whichever step it is at", () => {
  const before = "00112233445566778899aabbccddeeff";
  const after = "ffeeddccbbaa99887766554433221100";
  const steps = [[before], [before, after], [after, before], [after]].map((secrets) => cookiesOf(...secrets));
  const from = "192.0.2.53";
  for (let step = 0; step < 3; step++) {
    const [one, other] = [steps[step], steps[step + 1]];
    assert.ok(one !== undefined && other !== undefined);
    // During a step some servers are behind: those of both steps accept what either gives.
    for (const [maker, taker] of [
      [one, other],
      [other, one],
    ] as const) {
      const { answer } = judge(maker, "0102030405060708", from, 5000);
      assert.ok(judge(taker, answer ?? "", from, 5001).isValid, `step ${step}`);
    }
  }
  const [first, , , last] = steps;
  assert.ok(first !== undefined && last !== undefined);
  const old = judge(first, "0102030405060708", from, 5000).answer ?? "";
  assert.ok(!judge(last, old, from, 5001).isValid, "the old one is worth nothing in the end");
});

test("up to four secrets are accepted; more, or one of another length, are refused and change nothing", () => {
  const secrets = Array.from({ length: 4 }, (_, index) => String(index).repeat(32));
  const cookies = cookiesOf(...secrets);
  for (const one of secrets) {
    const { answer } = judge(cookiesOf(one), "0102030405060708", "192.0.2.1", 100);
    assert.ok(judge(cookies, answer ?? "", "192.0.2.1", 100).isValid);
  }
  const { answer } = judge(cookies, "0102030405060708", "192.0.2.1", 100);
  assert.throws(() => cookies.setSecrets([...secrets, secret].map(hex)), /5 are more than 4/);
  assert.throws(() => cookies.setSecrets([hex(secret), hex("00")]), /cookie secret 1: 1 octets, not 16/);
  assert.deepEqual(judge(cookies, "0102030405060708", "192.0.2.1", 100), { isValid: false, answer });
});

test("guessing does not get anywhere: 50,000 random server cookies, none is good", () => {
  const seed = Number(process.env["SEED"] ?? 7873);
  const random = seededRandom(seed);
  const cookies = cookiesOf(secret);
  const edns = emptyEdns();
  const reply = emptyOptReply();
  const from = address("192.0.2.1");
  edns.cookie.length = 24;
  edns.cookie.bytes.set(hex("0102030405060708010000000000c350"));
  for (let i = 0; i < 50_000; i++) {
    for (let octet = 16; octet < 24; octet++) edns.cookie.bytes[octet] = Math.floor(random() * 256);
    assert.ok(!cookies.check(edns, from, 50_000, reply), `SEED=${seed} round ${i}`);
  }
});
