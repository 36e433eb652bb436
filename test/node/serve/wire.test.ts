import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { errorCatalogue } from "#base/errors.ts";
import {
  fieldNames,
  readHash,
  readKnown,
  readLog,
  readNetwork,
  readSharedFailure,
  readTold,
  type Told,
  writeKnown,
  writeLog,
  writeNetwork,
  writeTold,
} from "../../../node/serve/wire.ts";

const hash = "0123456789abcdef".repeat(4);

describe("what an answer says of itself", () => {
  const log = { originId: "4f0c9c1e-5f0e-4d6e-8f51-0c6e0a2c8a11", seq: 12 };
  const rows: Told[] = [
    { ageMs: 0, log: null, mark: null, status: null },
    { ageMs: 86_400_000, log, mark: "soft", status: 'fra1; hit; ttl=3; detail=memory, "1"; fwd=uri-miss' },
    { ageMs: 5, log: { ...log, seq: 0 }, mark: "replaced", status: null },
  ];
  for (const told of rows) {
    it(`comes back as it went: ${JSON.stringify(told)}`, () => {
      assert.deepEqual(readTold(writeTold(told)), told);
    });
  }

  it("an age is whole, and never below 0, whatever the clock did", () => {
    const about = { log: null, mark: null, status: null };
    assert.equal(readTold(writeTold({ ageMs: -12.5, ...about }))?.ageMs, 0);
    assert.equal(readTold(writeTold({ ageMs: 1.6, ...about }))?.ageMs, 2);
  });

  const whole = { [fieldNames.age]: "1" };
  const refused: Record<string, string | string[]>[] = [
    {},
    { [fieldNames.age]: "" },
    { [fieldNames.age]: "-1" },
    { [fieldNames.age]: "1e3" },
    { [fieldNames.age]: "9".repeat(13) },
    { [fieldNames.age]: ["1", "1"] },
    { ...whole, [fieldNames.mark]: "removed" },
    { ...whole, [fieldNames.mark]: "" },
  ];
  for (const fields of refused) {
    it(`is no answer of ours: ${JSON.stringify(fields)}`, () => {
      assert.equal(readTold(fields), undefined);
    });
  }

  it("a Cache-Status that can't be sent on is left out", () => {
    for (const status of ["", "a\r\nb", "é", "x".repeat(1001), "evil; fwd=whatever", "<b>"]) {
      assert.equal(readTold({ ...whole, [fieldNames.status]: status })?.status, null, JSON.stringify(status));
    }
  });
});

describe("positions, hashes and codes", () => {
  it("come back as they went", () => {
    const log = { originId: "origin-a", seq: 900_000_000_000 };
    assert.deepEqual(readLog({ [fieldNames.log]: writeLog(log) }), log);
    assert.deepEqual(readKnown({}), []);
    assert.deepEqual(readKnown(writeKnown([hash, hash])), [hash, hash]);
    assert.equal(readHash({ [fieldNames.source]: hash }), hash);
  });

  it("or are none", () => {
    for (const text of ["", "a", "a/", "/1", "a/-1", "a/1.5", "a/1/1", "a b/1", `${"a".repeat(65)}/1`]) {
      assert.equal(readLog({ [fieldNames.log]: text }), null, text);
    }
    for (const text of ["", hash.toUpperCase(), hash.slice(1), `${hash},${hash}`, Array(9).fill(hash).join(", ")]) {
      assert.equal(readKnown({ [fieldNames.known]: text }), undefined, text);
    }
    for (const text of ["", `"${hash}"`, `${hash}0`]) {
      assert.equal(readHash({ [fieldNames.source]: text }), undefined, text);
    }
  });

  it("of failures only those are shared that are the origin's, the picture's or the client's", () => {
    const shared = Object.keys(errorCatalogue).filter((code) => readSharedFailure({ [fieldNames.problem]: code }));
    assert.deepEqual(shared.toSorted(), [
      "BODY_TOO_LARGE",
      "BROKEN_IMAGE",
      "DECODER_CRASHED",
      "DECODER_MEMORY",
      "DECODER_TIMEOUT",
      "NETWORK_OVERLOADED",
      "ORIGIN_BAD_ANSWER",
      "ORIGIN_BUSY",
      "ORIGIN_TIMEOUT",
      "ORIGIN_UNREACHABLE",
      "SOURCE_QUARANTINED",
      "TOO_MANY_PIXELS",
      "UNSUPPORTED_IMAGE",
    ]);
    assert.equal(readSharedFailure({ [fieldNames.problem]: "toString" }), undefined);
  });
});

it("the network of a client is named as it is written everywhere, or not at all", () => {
  for (const network of ["192.0.2.0/24", "2001:db8:1:200::/56"]) {
    assert.deepEqual(writeNetwork(network), { [fieldNames.network]: network });
    assert.equal(readNetwork(writeNetwork(network)), network);
  }
  for (const network of ["unknown", "own-work", ""]) assert.deepEqual(writeNetwork(network), {});
  assert.equal(readNetwork({}), null);
  for (const text of ["192.0.2.1/24", "192.0.2.0/16", "192.0.2.0/24, 192.0.3.0/24", "x", ""]) {
    assert.equal(readNetwork({ [fieldNames.network]: text }), undefined, text);
  }
});
