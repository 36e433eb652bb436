/** Decoding of field sections: the vectors of RFC 7541, errors, limits, and random sections of another encoder. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Random, seededRandom } from "#base/random.ts";
import { newDynamicTable } from "../../../../node/front/http2/dynamic-table.ts";
import { decodeSection, newFieldList, textsOf } from "../../../../node/front/http2/hpack-decoder.ts";
import { decodeHuffman } from "../../../../node/front/http2/huffman.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { integer, string } from "../../../conformance/http2/frames.ts";

const limits = { fieldsMax: 256, listBytesMax: 64 * 1024, sectionBytesMax: 64 * 1024 };

function openDecoder() {
  const table = newDynamicTable();
  const list = newFieldList(limits);
  return {
    table,
    list,
    /** Undefined: a compression error. */
    decode: (section: Buffer | string): string[] | undefined => {
      const bytes = typeof section === "string" ? Buffer.from(section.replaceAll(" ", ""), "hex") : section;
      const padded = Buffer.concat([Buffer.from("before"), bytes, Buffer.from("behind")]);
      return decodeSection(table, padded, 6, 6 + bytes.length, list) ? textsOf(list) : undefined;
    },
  };
}

const request1 = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "www.example.com"];
const request2 = [...request1, "cache-control", "no-cache"];
const request3 = [
  ":method",
  "GET",
  ":scheme",
  "https",
  ":path",
  "/index.html",
  ":authority",
  "www.example.com",
  "custom-key",
  "custom-value",
];

test("RFC 7541 C.2: representations of a field", () => {
  const one = openDecoder();
  assert.deepEqual(one.decode("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"), [
    "custom-key",
    "custom-header",
  ]);
  assert.equal(one.table.sizeBytes, 55);
  const others = openDecoder();
  assert.deepEqual(others.decode("040c 2f73 616d 706c 652f 7061 7468"), [":path", "/sample/path"]);
  assert.deepEqual(others.decode("1008 7061 7373 776f 7264 0673 6563 7265 74"), ["password", "secret"]);
  assert.deepEqual(others.decode("82"), [":method", "GET"]);
  assert.equal(others.table.count, 0);
});

test("RFC 7541 C.3: requests without Huffman code", () => {
  const { decode, table } = openDecoder();
  assert.deepEqual(decode("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d"), request1);
  assert.deepEqual(decode("8286 84be 5808 6e6f 2d63 6163 6865"), request2);
  assert.deepEqual(decode("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65"), request3);
  assert.equal(table.sizeBytes, 164);
  assert.equal(table.count, 3);
});

test("RFC 7541 C.4: requests with Huffman code", () => {
  const { decode, table } = openDecoder();
  assert.deepEqual(decode("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"), request1);
  assert.deepEqual(decode("8286 84be 5886 a8eb 1064 9cbf"), request2);
  assert.deepEqual(decode("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"), request3);
  assert.equal(table.sizeBytes, 164);
});

const cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
const date1 = "Mon, 21 Oct 2013 20:13:21 GMT";
const date2 = "Mon, 21 Oct 2013 20:13:22 GMT";
const location = "https://www.example.com";
const responses = [
  [":status", "302", "cache-control", "private", "date", date1, "location", location],
  [":status", "307", "cache-control", "private", "date", date1, "location", location],
  [":status", "200", "cache-control", "private", "date", date2, "location", location].concat([
    "content-encoding",
    "gzip",
    "set-cookie",
    cookie,
  ]),
];

/** Size update to 256 in front: Appendix C uses such a table. */
test("RFC 7541 C.5 and C.6: responses that evict entries", () => {
  const plain = openDecoder();
  const sections5 = [
    `3fe1 01 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
     474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
    "4803 3330 37c1 c0bf",
    `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d
     4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572
     7369 6f6e 3d31`,
  ];
  const sections6 = [
    `3fe1 01 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
     63c7 8f0b 97c8 e9ae 82ae 43d3`,
    "4883 640e ffc1 c0bf",
    `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf
     cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
  ];
  for (const sections of [sections5, sections6]) {
    const { decode, table } = sections === sections5 ? plain : openDecoder();
    for (const [index, section] of sections.entries()) {
      assert.deepEqual(decode(section.replaceAll(/\s/g, "")), responses[index]);
    }
    assert.equal(table.sizeBytes, 215);
    assert.equal(table.count, 3);
  }
});

test("what is no section is a compression error", () => {
  for (const [why, section] of [
    ["index 0", "80"],
    ["an index behind the tables", "be"],
    ["an index far behind the tables", "ffffff7f"],
    ["a name with an index behind the tables", "7f00 00"],
    ["a number without an end", "ff"],
    ["a number that is too large", "ffffffffff0f"],
    ["a number of too many bytes", "ff80808080808000"],
    ["a literal without a value", "0001 61"],
    ["a string that is longer than the section", "0001 61 05 61"],
    ["a size update behind a field", "82 3f00"],
    ["a size above the limit", "3fe21f"],
    ["Huffman: padding of zeros", "0001 61 81 18"],
    ["Huffman: padding of a whole byte", "0001 61 82 1fff"],
    ["Huffman: EOS", "0001 61 84 ffffffff"],
    ["Huffman: EOS within", "0001 61 85 fffffffcff"],
  ] as const) {
    assert.equal(openDecoder().decode(section), undefined, why);
  }
  for (const [section, list] of [
    ["", []],
    ["3fe11f 82", [":method", "GET"]],
    ["20 3fe11f 82", [":method", "GET"]],
    ["0001 61 80", ["a", ""]],
    ["0001 61 00", ["a", ""]],
    ["0001 61 81 1f", ["a", "a"]],
    ["00 00 00", ["", ""]],
  ] as const) {
    assert.deepEqual(openDecoder().decode(section), list, section);
  }
});

test("a list that is too large is decoded to its end", () => {
  const { decode, list } = openDecoder();
  const entry = Buffer.concat([Buffer.from([0x40]), string("name"), string("v".repeat(3000))]);
  decode(Buffer.concat([entry, Buffer.alloc(1000, 0xbe), Buffer.from([0x40]), string("last"), string("one")]));
  assert.ok(list.isTooLarge);
  assert.ok(list.count < 30);
  assert.deepEqual(decode(Buffer.from([0xbe])), ["last", "one"]);
  assert.ok(!list.isTooLarge);
  decode(Buffer.alloc(257, 0x82));
  assert.ok(list.isTooLarge, "too many fields");
});

test("an entry that is larger than the table empties it; the table's memory is bounded", () => {
  const { decode, table } = openDecoder();
  decode(Buffer.concat([Buffer.from([0x40]), string("a"), string("b")]));
  assert.equal(table.count, 1);
  decode(Buffer.concat([Buffer.from([0x40]), string("a"), string("b".repeat(4096))]));
  assert.equal(table.count, 0);
  for (let round = 0; round < 2000; round += 1) {
    decode(Buffer.concat([Buffer.from([0x40]), string(""), string("")]));
    decode(Buffer.concat([Buffer.from([0x40]), string(`n${round}`), string("v".repeat(round))]));
    assert.ok(table.bytes.length <= 8192 && table.count <= 128 && table.sizeBytes <= 4096);
  }
});

test("a field may refer to an entry that a later field of its section evicts", () => {
  const { decode } = openDecoder();
  const entry = (text: string) => Buffer.concat([Buffer.from([0x40]), string(text), string("v".repeat(2000))]);
  decode(entry("first"));
  const decoded = decode(Buffer.concat([Buffer.from([0xbe]), entry("second"), entry("third"), entry("fourth")]));
  assert.deepEqual(
    decoded?.filter((_, index) => index % 2 === 0),
    ["first", "second", "third", "fourth"],
  );
  // The name of the entry that makes room for it.
  const renamed = decode(Buffer.concat([Buffer.from([0x7e]), string("w".repeat(4000))]));
  assert.deepEqual(renamed, ["fourth", "w".repeat(4000)]);
});

/** An encoder that makes all choices at random, with its own table. */
function randomSection(random: Random, entries: [string, string][], state: { max: number }) {
  const list: string[] = [];
  const parts: Buffer[] = [];
  const size = () => entries.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
  const evict = (): void => {
    while (entries.length > 0 && size() > state.max) entries.pop();
  };
  const textOf = (most: number): string => {
    const length = Math.floor(random() ** 3 * most);
    return Array.from({ length }, () => String.fromCharCode(Math.floor(random() ** 2 * 256))).join("");
  };
  if (random() < 0.2) {
    state.max = Math.floor(random() * 4097);
    parts.push(integer(state.max, 5, 0x20));
    evict();
  }
  for (let count = Math.floor(random() * 20); count > 0; count -= 1) {
    const known = Math.floor(random() * entries.length);
    const [name, value] = entries[known] ?? [undefined, ""];
    if (name !== undefined && random() < 0.4) {
      parts.push(integer(62 + known, 7, 0x80));
      list.push(name, value);
      continue;
    }
    const own = name !== undefined && random() < 0.4 ? name : textOf(40);
    const text = textOf(400);
    const isKept = random() < 0.5;
    parts.push(
      own === name ? integer(62 + known, isKept ? 6 : 4, isKept ? 0x40 : 0) : Buffer.from([isKept ? 0x40 : 0]),
    );
    if (own !== name) parts.push(string(own));
    parts.push(string(text));
    list.push(own, text);
    if (!isKept) continue;
    entries.unshift([own, text]);
    evict();
  }
  return { section: Buffer.concat(parts), list };
}

test("random sections decode to what was encoded, and damaged ones to something or an error", () => {
  const seed = seedOr(2031);
  const random = seededRandom(seed);
  for (let connection = 0; connection < rounds(50, 5000); connection += 1) {
    const { decode } = openDecoder();
    const damaged = openDecoder();
    const entries: [string, string][] = [];
    const state = { max: 4096 };
    for (let count = 0; count < 30; count += 1) {
      const { section, list } = randomSection(random, entries, state);
      assert.deepEqual(decode(section), list, `SEED=${seed}, connection ${connection}, section ${count}`);
      const broken = Buffer.from(section.subarray(0, Math.ceil(random() * section.length)));
      if (broken.length > 0) broken[Math.floor(random() * broken.length)] = Math.floor(random() * 256);
      damaged.decode(broken);
      assert.ok(damaged.table.sizeBytes <= 4096 && damaged.table.bytes.length <= 8192);
    }
  }
});

test("Huffman: every string of random bytes is decoded within its room, or refused", () => {
  const random = seededRandom(seedOr(2032));
  for (let count = 0; count < rounds(20_000, 1_000_000); count += 1) {
    const bytes = Buffer.from(Array.from({ length: Math.floor(random() * 20) }, () => Math.floor(random() * 256)));
    const target = Buffer.alloc(Math.ceil(bytes.length * 1.6));
    const end = decodeHuffman(bytes, 0, bytes.length, target, 0);
    assert.ok(end <= target.length);
  }
});
