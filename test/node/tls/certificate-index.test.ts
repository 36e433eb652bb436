/** Which certificate a client gets: exact names before wildcards, one label for the star, and the kind of its key. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServedCertificate } from "../../../node/tls/certificate.ts";
import { certificatesFor, chooseCertificate, indexCertificates } from "../../../node/tls/certificate-index.ts";
import type { ClientHello } from "../../../node/tls/client-hello.ts";

const nowMs = Date.parse("2030-01-01T00:00:00Z");
const dayMs = 86_400_000;
const ecdsa = { kind: "ecdsa", curve: "prime256v1" } as const;
const rsa = { kind: "rsa" } as const;

function certificate(file: string, names: readonly string[], more: Partial<ServedCertificate> = {}): ServedCertificate {
  return {
    place: { certificateFile: file, keyFile: `${file}.key`, ocspFile: null },
    names,
    key: ecdsa,
    validFromMs: nowMs - dayMs,
    validToMs: nowMs + 30 * dayMs,
    fingerprint: file,
    chainPem: "",
    keyPem: "",
    ocsp: null,
    ...more,
  };
}

const modern: ClientHello = {
  servername: undefined,
  suites: [0x1301, 0xc02b, 0xc02f],
  signatureSchemes: [0x0403, 0x0804],
  groups: [29, 23],
  offersTls13: true,
  ticketKeyNames: [],
};
const chosen = (index: ReturnType<typeof indexCertificates>, hello: Partial<ClientHello>): string =>
  chooseCertificate(index, { ...modern, ...hello }).place.certificateFile;

test("an exact name wins, a star stands for one label, everything else gets the default", () => {
  const index = indexCertificates(
    [certificate("first", ["x.example"]), certificate("exact", ["a.b.example"]), certificate("star", ["*.b.example"])],
    undefined,
    nowMs,
  );
  for (const [servername, file] of [
    ["a.b.example", "exact"],
    ["A.B.Example.", "exact"],
    ["c.b.example", "star"],
    ["b.example", "first"],
    ["d.c.b.example", "first"],
    [".b.example", "first"],
    ["", "first"],
    ["*.b.example", "star"],
    ["unknown.example", "first"],
    [undefined, "first"],
  ] as const) {
    assert.equal(chosen(index, { servername }), file, String(servername));
  }
  assert.equal(chooseCertificate(index, undefined).place.certificateFile, "first");
  assert.equal(certificatesFor(index, "unknown.example"), undefined);
});

test("the default can be named", () => {
  const all = [certificate("a", ["a.example"]), certificate("b", ["*.b.example"])];
  assert.equal(chosen(indexCertificates(all, "x.b.example", nowMs), {}), "b");
  assert.equal(chosen(indexCertificates(all, "nobody.example", nowMs), {}), "a");
});

test("with both kinds of keys, clients that can verify ECDSA get it, and the others RSA", () => {
  const both = [certificate("e", ["a.example"]), certificate("r", ["a.example"], { key: rsa })];
  for (const order of [both, both.toReversed()]) {
    const index = indexCertificates(order, undefined, nowMs);
    const servername = "a.example";
    assert.deepEqual(index.superseded, []);
    assert.equal(chosen(index, { servername }), "e");
    assert.equal(chosen(index, { servername, signatureSchemes: [0x0804, 0x0401] }), "r");
    const old = { servername, offersTls13: false };
    assert.equal(chosen(index, old), "e");
    assert.equal(chosen(index, { ...old, suites: [0xc02f] }), "r");
    assert.equal(chosen(index, { ...old, groups: [29] }), "r");
    assert.equal(chosen(index, { ...old, signatureSchemes: [0x0401] }), "r");
    assert.equal(chosen(index, {}), "e", "without a name");
  }
  const onlyEcdsa = indexCertificates(both.slice(0, 1), undefined, nowMs);
  assert.equal(chosen(onlyEcdsa, { signatureSchemes: [0x0804] }), "e", "there is no other");
});

test("of two certificates for one name, the valid one is served, then the one that is valid for longer", () => {
  const old = certificate("old", ["a.example"], { validToMs: nowMs + dayMs });
  const renewed = certificate("renewed", ["a.example"]);
  const future = certificate("future", ["a.example"], { validFromMs: nowMs + dayMs, validToMs: nowMs + 90 * dayMs });
  for (const order of [
    [old, renewed, future],
    [future, renewed, old],
    [renewed, future, old],
  ]) {
    const index = indexCertificates(order, undefined, nowMs);
    assert.equal(chosen(index, { servername: "a.example" }), "renewed");
    assert.equal(chosen(index, {}), "renewed", "the default of a name is its best");
    assert.equal(index.superseded.length, 2);
    assert.equal(index.changesAtMs, nowMs + dayMs);
    const later = indexCertificates(order, undefined, nowMs + dayMs);
    assert.equal(chosen(later, { servername: "a.example" }), "future");
    assert.equal(later.changesAtMs, Infinity);
  }
});
