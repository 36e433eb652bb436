/** Certificates in files: what is found, what is checked, and how a renewal is taken while clients are served. */
import assert from "node:assert/strict";
import { chmod, mkdir, rm, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "#base/clock.ts";
import { checkCertificates, openCertificates, uncovered } from "../../../node/tls/certificates.ts";
import type { CertificateSettings } from "../../../node/tls/certificate-files.ts";
import { certificateFor, replaceFile, writePair } from "../../support/certificates.ts";
import { keptLog } from "../../support/kept-log.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { namesOf, open } from "./looked-at.ts";

const dayMs = 86_400_000;

test("a directory is scanned: pairs side by side and in folders, as lego and certbot write them", async (t) => {
  const directory = await temporaryDirectory(t);
  await writePair(join(directory, "a.example"), await certificateFor(["a.example"]));
  await writeFile(join(directory, "a.example.issuer.crt"), "not looked at");
  await writeFile(join(directory, "a.example.json"), "{}");
  const b = await certificateFor(["b.example", "*.b.example"]);
  await mkdir(join(directory, "b.example"));
  await writeFile(join(directory, "b.example/fullchain.pem"), b.certificatePem);
  await writeFile(join(directory, "b.example/privkey.pem"), b.keyPem, { mode: 0o640 });
  await writeFile(join(directory, "b.example/ocsp.der"), Buffer.from("30030a0100", "hex"));
  const named = await writePair(join(await temporaryDirectory(t), "named"), await certificateFor(["z.example"]));
  const { certificateFile, keyFile } = named;
  const settings = { certificates: [{ certificateFile, keyFile }], certificateDirectory: directory };
  assert.deepEqual(await checkCertificates(settings, Date.now()), []);
  const opened = await open(t, settings);
  assert.deepEqual(namesOf(opened), ["z.example", "a.example", "b.example", "*.b.example"]);
  assert.deepEqual(opened.certificates.problems(), []);
  const { index } = opened.certificates;
  assert.deepEqual(index().fallback.ecdsa?.names, ["z.example"]);
  assert.notEqual(index().byName.get("b.example")?.ecdsa?.ocsp, null);
  assert.deepEqual(uncovered(index(), ["a.example", "x.b.example", "c.example", "x.y.b.example"]), [
    "c.example",
    "x.y.b.example",
  ]);
});

test("each problem is named with its file, and the other certificates are served", async (t) => {
  const directory = await temporaryDirectory(t);
  const at = (name: string): string => join(directory, name);
  const good = await certificateFor(["good.example"]);
  await writePair(at("good"), good);
  await writePair(at("mismatch"), { ...good, keyPem: (await certificateFor([])).keyPem });
  await writePair(at("nameless"), await certificateFor([]));
  await writePair(at("expired"), await certificateFor(["old.example"], { validToMs: Date.now() - dayMs / 2 }));
  await writePair(at("future"), await certificateFor(["new.example"], { validFromMs: Date.now() + dayMs }));
  await writePair(at("twice"), await certificateFor(["good.example"], { validToMs: Date.now() + 2 * dayMs }));
  await writePair(at("open"), await certificateFor(["open.example"]));
  await chmod(at("open.key"), 0o644);
  await writeFile(at("lonely.crt"), good.certificatePem);
  await writeFile(at("folder.key"), "");
  await mkdir(at("folder.crt"));
  const settings = { certificates: [], certificateDirectory: directory, defaultName: "nobody.example" };
  const expected = [
    /lonely\.crt has no key: put the key into .*lonely\.key/,
    /folder\.crt must be a plain file/,
    /mismatch\.key does not match .*mismatch\.crt/,
    /nameless\.crt names no host/,
    /open\.key has mode 0644, so others can read the private key: run `chmod 600 .*open\.key`/,
    /expired\.crt expired on .*: clients refuse it/,
    /future\.crt is not valid before /,
    /good\.example is in .*twice\.crt and in .*good\.crt, both with ECDSA keys/,
    /https\.defaultName nobody\.example is in no certificate/,
  ];
  const opened = await open(t, settings);
  for (const problems of [await checkCertificates(settings, Date.now()), opened.certificates.problems()]) {
    for (const pattern of expected)
      assert.ok(
        problems.some((problem) => pattern.test(problem)),
        String(pattern),
      );
    assert.equal(problems.length, expected.length, problems.join("\n"));
  }
  assert.equal(opened.lines.filter(({ level }) => level === "error").length, expected.length);
  assert.deepEqual(namesOf(opened).toSorted(), ["good.example", "good.example", "new.example", "old.example"]);
});

test("without a usable certificate the start fails, and says why", async (t) => {
  const directory = await temporaryDirectory(t);
  const { log } = keptLog();
  const start = async (settings: CertificateSettings): Promise<unknown> =>
    await openCertificates({ settings, changed: () => undefined, clock: systemClock, log });
  await assert.rejects(start({ certificates: [], certificateDirectory: directory }), /no certificate was found/);
  await assert.rejects(start({ certificates: [], certificateDirectory: join(directory, "no") }), /no such file/);
  const settings = { certificates: [{ certificateFile: "/no.crt", keyFile: "/no.key" }] };
  await assert.rejects(start(settings), /can't read the certificate in \/no\.crt \(no such file\)/);
  assert.match((await checkCertificates({ certificates: [] }, Date.now()))[0] ?? "", /no certificate was found/);
});

test("a renewed pair is taken when it is complete, matches, and no longer changes", async (t) => {
  const directory = await temporaryDirectory(t);
  const stem = join(directory, "a");
  await writePair(stem, await certificateFor(["a.example"]));
  const opened = await open(t, { certificates: [], certificateDirectory: directory });
  const { certificates, look, lines } = opened;
  const before = certificates.all()[0];
  await look(3);
  assert.equal(certificates.all()[0], before, "nothing changed");
  assert.equal(opened.changes(), 0);

  const renewed = await certificateFor(["a.example", "b.example"]);
  await replaceFile(`${stem}.crt`, renewed.certificatePem);
  await look(2);
  assert.equal(certificates.all()[0], before, "the key is still the old one");
  assert.match(certificates.problems()[0] ?? "", /a\.key does not match/);
  assert.equal(certificates.counts().failedReloads, 1);
  assert.match(lines.at(-1)?.message ?? "", /the previous one stays in use/);

  await writeFile(`${stem}.key`, renewed.keyPem.slice(0, 50));
  await look(1);
  await writeFile(`${stem}.key`, renewed.keyPem);
  await look(1);
  assert.equal(certificates.all()[0], before, "it has just changed");
  await look(1);
  assert.deepEqual(namesOf(opened), ["a.example", "b.example"]);
  assert.deepEqual(certificates.problems(), []);
  assert.deepEqual({ ...certificates.counts(), looks: 0 }, { looks: 0, reloads: 1, failedReloads: 1 });
  assert.equal(opened.changes(), 1);
});

test("certificates come and go with their files; the last stays, and all do while the directory is away", async (t) => {
  const parent = await temporaryDirectory(t);
  const directory = join(parent, "tls");
  await writePair(join(directory, "a"), await certificateFor(["a.example"]));
  const opened = await open(t, { certificates: [], certificateDirectory: directory });
  await writePair(join(directory, "b"), await certificateFor(["b.example"]));
  await opened.look(2);
  assert.deepEqual(namesOf(opened), ["a.example", "b.example"]);
  await rename(directory, `${directory}-away`);
  await opened.look(3);
  assert.deepEqual(namesOf(opened), ["a.example", "b.example"]);
  assert.match(opened.certificates.problems()[0] ?? "", /can't be read \(no such file\): what was read before stays/);
  await rename(`${directory}-away`, directory);
  await rm(join(directory, "a.crt"));
  await rm(join(directory, "a.key"));
  await opened.look(1);
  await rename(directory, `${directory}-away`);
  await opened.look(1);
  await rename(`${directory}-away`, directory);
  await opened.look(1);
  assert.deepEqual(namesOf(opened), ["a.example", "b.example"], "it may be being replaced: not two looks in a row");
  await opened.look(1);
  assert.deepEqual(namesOf(opened), ["b.example"]);
  assert.equal(opened.certificates.index().byName.has("a.example"), false);
  await rename(directory, `${directory}-away`);
  await mkdir(directory);
  await opened.look(3);
  assert.deepEqual([...opened.certificates.index().byName.keys()], ["b.example"], "better than none");
  assert.deepEqual(namesOf(opened), ["b.example"]);
  assert.match(opened.certificates.problems()[0] ?? "", /b\.crt and its key are gone: it stays in use/);
  await rm(directory, { recursive: true });
  await rename(`${directory}-away`, directory);
  await opened.look(2);
  assert.deepEqual(opened.certificates.problems(), [], "the same files are back");
});

test("a certificate that was not valid yet is served once it is", async (t) => {
  const directory = await temporaryDirectory(t);
  await writePair(join(directory, "now"), await certificateFor(["a.example"]));
  const later = { validFromMs: Date.now() + dayMs, validToMs: Date.now() + 90 * dayMs };
  await writePair(join(directory, "later"), await certificateFor(["a.example"], later));
  const opened = await open(t, { certificates: [], certificateDirectory: directory });
  const file = (): string | undefined =>
    opened.certificates.index().byName.get("a.example")?.ecdsa?.place.certificateFile;
  assert.equal(file(), join(directory, "now.crt"));
  opened.clock.advance(dayMs);
  // The first look began before that.
  await opened.look(2);
  assert.equal(file(), join(directory, "later.crt"));
});
