import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { type Ask, createProofs } from "#health/health-proof.ts";

const [one, two, three] = [randomBytes(32), randomBytes(32), randomBytes(32)];

function askOf(secrets: readonly Uint8Array[]): Ask {
  const ask = createProofs(() => secrets).ask();
  assert(ask !== undefined);
  return ask;
}

test("nodes that share a secret prove it to each other, while it rotates too; others don't", () => {
  const rows: [asker: Buffer[], answerer: Buffer[], isKnown: boolean][] = [
    [[one], [one], true],
    [[two, one], [one], true], // the asker heard of the rotation first
    [[one], [two, one], true],
    [[two, one], [two, one], true],
    [[two, one], [one, three], true],
    [[two], [one], false],
    [[three, two], [one], false],
    [[one], [two, three], false],
    [[one], [], false],
  ];
  for (const [asking, answering, isKnown] of rows) {
    const asker = createProofs(() => asking);
    const ask = asker.ask();
    assert(ask !== undefined);
    const sign = createProofs(() => answering).signerFor(ask.field);
    assert.equal(sign !== undefined, isKnown);
    if (sign === undefined) continue;
    const proof = sign(200, "body");
    assert(asker.isProven(ask, 200, "body", proof));
    assert(asker.isProven(ask, 200, Buffer.from("body"), proof));
  }
  assert.equal(createProofs(() => []).ask(), undefined);
});

test("a proof holds for its question, status and body alone", () => {
  const proofs = createProofs(() => [one]);
  const ask = askOf([one]);
  const proof = proofs.signerFor(ask.field)?.(200, "body") ?? "";
  assert(proofs.isProven(ask, 200, "body", proof));
  assert(!proofs.isProven(askOf([one]), 200, "body", proof), "another question");
  assert(!proofs.isProven(ask, 503, "body", proof));
  assert(!proofs.isProven(ask, 200, "body ", proof));
  const [nonce, mac = ""] = ask.field.split(".");
  const wrong = ["", "x", proof.slice(1), `${proof}=`.repeat(2), mac, nonce ?? "", "é".repeat(43), "A".repeat(43)];
  for (const text of wrong) assert(!proofs.isProven(ask, 200, "body", text), text);
  assert(!createProofs(() => [two]).isProven(ask, 200, "body", proof), "another secret");
});

test("what is no question proves nothing", () => {
  const proofs = createProofs(() => [one, two]);
  const { field, nonce } = askOf([one]);
  const mac = field.slice(nonce.length + 1);
  const other = askOf([one]).nonce;
  const fields: unknown[] = [
    undefined,
    [field],
    "",
    nonce,
    `${nonce}.`,
    `${other}.${mac}`,
    `${nonce}.${mac.slice(0, 42)}`,
    `${field}.`,
    `${field}.${mac}.${mac}`,
    ` ${field}`,
    `${field}\n`,
    `${nonce}.${mac.toLowerCase()}.`,
    "A".repeat(100_000),
  ];
  for (const text of fields) assert.equal(proofs.signerFor(text), undefined, String(text).slice(0, 90));
  assert(proofs.signerFor(`${nonce}.${"A".repeat(43)}.${mac}`) !== undefined, "the second one counts as well");
});

test("a secret that goes out of use is worth nothing from then on", () => {
  let secrets: readonly Uint8Array[] = [one];
  const proofs = createProofs(() => secrets);
  const { field } = askOf([one]);
  assert(proofs.signerFor(field) !== undefined);
  secrets = [two, one];
  assert(proofs.signerFor(field) !== undefined);
  secrets = [three, two];
  assert.equal(proofs.signerFor(field), undefined);
  secrets = [three, two, one];
  assert.equal(proofs.signerFor(field), undefined, "only two count");
});

test("no question is like another, and none shows the secret", () => {
  const proofs = createProofs(() => [one]);
  const fields = new Set(Array.from({ length: 100 }, () => proofs.ask()?.field));
  assert.equal(fields.size, 100);
});
