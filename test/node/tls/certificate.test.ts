/** What makes a certificate usable, and what the problem of the others is called. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createPrivateKey } from "node:crypto";
import { datesProblem, readCertificate } from "../../../node/tls/certificate.ts";
import { certificateFor } from "../../support/certificates.ts";

const place = { certificateFile: "/tls/a.crt", keyFile: "/tls/a.key", ocspFile: "/tls/a.ocsp" };
const read = (chainPem: string, keyPem: string, ocsp: Buffer | null = null) =>
  readCertificate(place, { chainPem, keyPem, ocsp });

async function problemOf(...given: Parameters<typeof read>): Promise<string> {
  const outcome = read(...given);
  assert.equal(outcome.outcome, "unusable");
  return outcome.outcome === "unusable" ? outcome.problem : "";
}

test("a certificate with its key is usable: names in lower case, kind of key, dates", async () => {
  for (const key of ["ecdsa", "rsa"] as const) {
    const validToMs = Date.parse("2033-04-05T06:07:08Z");
    const pair = await certificateFor(["A.example", "*.b.example", "192.0.2.1"], { key, validToMs });
    const outcome = read(pair.certificatePem, pair.keyPem, Buffer.from("30030a0100", "hex"));
    assert.ok(outcome.outcome === "usable");
    const { certificate } = outcome;
    assert.deepEqual(certificate.names, ["a.example", "*.b.example"]);
    assert.equal(certificate.key.kind, key);
    assert.equal(certificate.validToMs, validToMs);
    assert.equal(datesProblem(certificate, Date.now()), undefined);
    assert.match(datesProblem(certificate, validToMs) ?? "", /a\.crt expired on 2033-04-05T06:07:08Z/);
    assert.match(datesProblem(certificate, certificate.validFromMs - 1) ?? "", /a\.crt is not valid before/);
  }
});

test("each problem names its file and says what to do", async () => {
  const one = await certificateFor(["a.example"]);
  const other = await certificateFor(["a.example"]);
  const nameless = await certificateFor([]);
  const encrypted = createPrivateKey(one.keyPem).export({
    type: "pkcs8",
    format: "pem",
    cipher: "aes-256-cbc",
    passphrase: "x",
  });
  assert.match(await problemOf("", one.keyPem), /\/tls\/a\.crt holds no PEM certificate/);
  assert.match(await problemOf(one.certificatePem, "what?"), /\/tls\/a\.key holds no PEM private key/);
  assert.match(await problemOf(one.certificatePem, encrypted), /\/tls\/a\.key is encrypted/);
  assert.match(await problemOf(one.certificatePem, other.keyPem), /a\.key does not match .* \/tls\/a\.crt/);
  assert.match(await problemOf(nameless.certificatePem, nameless.keyPem), /a\.crt names no host in subjectAltName/);
});

test("an OCSP file that can't be used does not make its certificate unusable, and is not stapled", async () => {
  const { certificatePem, keyPem } = await certificateFor(["a.example"]);
  const long = Buffer.concat([Buffer.from("3082012c0a0100", "hex"), Buffer.alloc(297)]);
  for (const good of [Buffer.from("30030a0100", "hex"), long]) {
    const outcome = read(certificatePem, keyPem, good);
    assert.ok(outcome.outcome === "usable");
    assert.deepEqual([outcome.ocspProblem, outcome.certificate.ocsp], [null, good]);
  }
  const tryLater = Buffer.from("30030a0103", "hex");
  const withNewline = Buffer.from("30030a01000a", "hex");
  const endless = Buffer.from("30800a01000000", "hex");
  const bad = [
    Buffer.alloc(0),
    Buffer.from("what?"),
    long.subarray(0, 200),
    long.subarray(0, 3),
    tryLater,
    withNewline,
  ];
  for (const ocsp of [...bad, endless]) {
    const outcome = read(certificatePem, keyPem, ocsp);
    assert.ok(outcome.outcome === "usable");
    assert.match(outcome.ocspProblem ?? "", /\/tls\/a\.ocsp must be a successful OCSP response in DER/);
    assert.equal(outcome.certificate.ocsp, null);
  }
});
