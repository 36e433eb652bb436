/** The certificates of `up`: an authority that stays, and a certificate that is renewed in time. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { provideCertificates } from "../../../../../deploy/cli/verbs/up/local-certificates.ts";
import { checkCertificates } from "../../../../../node/tls/certificates.ts";
import { fakeClock } from "../../../../support/fake-clock.ts";
import { temporaryDirectory } from "../../../../support/temporary.ts";

const dayMs = 86_400_000;
const names = ["localhost", "*.cdn.test", "127.0.0.1"];

test("the authority is made once, and the certificate again for other names and ten days before its end", async (t) => {
  const dataDir = await temporaryDirectory(t);
  const clock = fakeClock(Date.now());
  const at = (name: string): string => join(dataDir, "tls", name);
  const certificate = async (name: string): Promise<X509Certificate> => new X509Certificate(await readFile(at(name)));
  assert.equal(await provideCertificates(dataDir, names, clock), true);
  const authority = await certificate("authority.crt");
  const first = await certificate("edge/local.crt");
  assert.ok(authority.ca && !first.ca && first.verify(authority.publicKey) && first.checkIssued(authority));
  assert.equal(first.subjectAltName, "DNS:localhost, DNS:*.cdn.test, IP Address:127.0.0.1");
  for (const name of ["authority.key", "edge/local.key"])
    assert.equal((await stat(at(name))).mode & 0o777, 0o600, name);
  assert.deepEqual(await checkCertificates({ certificates: [], certificateDirectory: at("edge") }, clock.wallMs()), []);

  assert.equal(await provideCertificates(dataDir, names, clock), false);
  clock.advance(19 * dayMs);
  assert.equal(await provideCertificates(dataDir, names, clock), false);
  clock.advance(dayMs + 1000);
  assert.equal(await provideCertificates(dataDir, names, clock), true);
  const renewed = await certificate("edge/local.crt");
  assert.ok(renewed.validToDate.getTime() > first.validToDate.getTime() && renewed.verify(authority.publicKey));
  assert.equal(await provideCertificates(dataDir, [...names, "other.test"], clock), true);
  assert.match((await certificate("edge/local.crt")).subjectAltName ?? "", /other\.test/);
  assert.equal((await certificate("authority.crt")).fingerprint256, authority.fingerprint256);
});

test("an authority that can't be used is named, and never replaced by itself", async (t) => {
  const dataDir = await temporaryDirectory(t);
  const clock = fakeClock(Date.now());
  await provideCertificates(dataDir, names, clock);
  clock.advance(3640 * dayMs);
  await assert.rejects(provideCertificates(dataDir, names, clock), /authority\.crt and .*authority\.key can't be used/);
  const fresh = fakeClock(Date.now());
  await rm(join(dataDir, "tls", "authority.key"));
  await assert.rejects(provideCertificates(dataDir, names, fresh), /can't be used/);
  await rm(join(dataDir, "tls", "authority.crt"));
  assert.equal(await provideCertificates(dataDir, names, fresh), true, "a certificate of the new authority");
});
