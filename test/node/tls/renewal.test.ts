/** A certificate stays in service while its files are broken: real files, and clients that see what they get. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { connect } from "node:tls";
import type { Pair } from "../../../deploy/cli/certificate-maker.ts";
import type { CertificateSettings } from "../../../node/tls/certificate-files.ts";
import { certificateFor, replaceFile, testAuthority, writePair } from "../../support/certificates.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { namesOf, open, type Opened } from "./looked-at.ts";
import { startSecured } from "./secured.ts";

const dayMs = 86_400_000;
const response = Buffer.from("30030a0100", "hex");
const junk = { empty: Buffer.alloc(0), text: Buffer.from("what?"), truncated: response.subarray(0, 4) };

interface Edge extends Opened {
  directory: string;
  /** A handshake: the fingerprint of the certificate, and the stapled response; null: none. */
  shake: (servername: string) => Promise<{ fingerprint: string; ocsp: Buffer | null }>;
  /** Looks three times; each time, a.example must get this certificate. */
  lookAndGet: (pair: Pair, note: string) => Promise<void>;
}

const fingerprintOf = ({ certificatePem }: Pair): string => new X509Certificate(certificatePem).fingerprint256;

/** `0.crt` is the default, and has the name 0.example. */
async function start(t: TestContext, files: (directory: string) => Promise<Partial<CertificateSettings> | void>) {
  const directory = await temporaryDirectory(t);
  await writePair(join(directory, "0"), await certificateFor(["0.example"]));
  const settings = (await files(directory)) ?? {};
  const opened = await open(t, { certificates: [], certificateDirectory: directory, ...settings });
  const { listener } = await startSecured(t, () => opened.certificates.index());
  const shake: Edge["shake"] = async (servername) => {
    const options = { host: "127.0.0.1", port: listener.port, ca: testAuthority.certificatePem, servername };
    const socket = connect({ ...options, requestOCSP: true, rejectUnauthorized: false });
    t.after(() => socket.destroy());
    let ocsp: Buffer | null = null;
    socket.on("OCSPResponse", (stapled: Buffer | null) => (ocsp = stapled));
    await once(socket, "secureConnect");
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return { fingerprint: fingerprint256, ocsp };
  };
  const edge: Edge = {
    ...opened,
    directory,
    shake,
    async lookAndGet(pair, note) {
      for (let count = 1; count <= 3; count += 1) {
        await opened.look(1);
        assert.equal((await shake("a.example")).fingerprint, fingerprintOf(pair), `${note}, look ${count}`);
      }
    },
  };
  return edge;
}

test("an OCSP file that comes, breaks and goes does not end its certificate", async (t) => {
  const pair = await certificateFor(["a.example"]);
  const edge = await start(t, async (directory) => void (await writePair(join(directory, "a"), pair)));
  const { certificates, shake, lines } = edge;
  const file = join(edge.directory, "a.ocsp");
  assert.equal((await shake("a.example")).ocsp, null);
  let failures = 0;
  for (const [what, content] of Object.entries(junk)) {
    await replaceFile(file, response);
    await edge.lookAndGet(pair, "good response");
    assert.deepEqual((await shake("a.example")).ocsp, response);
    assert.deepEqual(certificates.problems(), []);
    await replaceFile(file, content);
    await edge.lookAndGet(pair, what);
    assert.equal((await shake("a.example")).ocsp, null, what);
    assert.match(certificates.problems().join("\n"), /^\S+a\.ocsp must be a successful OCSP response in DER/);
    assert.equal(certificates.counts().failedReloads, (failures += 1));
  }
  assert.equal(lines.filter(({ message }) => message.includes("OCSP response can't be used")).length, failures);
  await rm(file);
  await edge.lookAndGet(pair, "no OCSP file");
  assert.deepEqual(certificates.problems(), []);
  await mkdir(file);
  await edge.lookAndGet(pair, "a folder");
  assert.match(certificates.problems().join("\n"), /a\.ocsp must be a plain file/);
  assert.equal(lines.filter(({ message }) => message.includes("no longer served")).length, 0);
});

test("a new pair is taken without its OCSP response if only that can't be used", async (t) => {
  const edge = await start(t, async (directory) => {
    await writePair(join(directory, "a"), await certificateFor(["a.example"]));
    await writeFile(join(directory, "a.ocsp"), response);
  });
  assert.deepEqual((await edge.shake("a.example")).ocsp, response);
  const renewed = await certificateFor(["a.example"]);
  await writePair(join(edge.directory, "a"), renewed);
  await replaceFile(join(edge.directory, "a.ocsp"), junk.text);
  await edge.look(2);
  await edge.lookAndGet(renewed, "renewed");
  assert.equal((await edge.shake("a.example")).ocsp, null);
  const { reloads, failedReloads } = edge.certificates.counts();
  assert.deepEqual({ reloads, failedReloads }, { reloads: 1, failedReloads: 1 });
});

test("at the start, an OCSP file that can't be used is a warning, in a directory and by name", async (t) => {
  const pair = await certificateFor(["a.example"]);
  const named = await certificateFor(["named.example"]);
  const edge = await start(t, async (directory) => {
    await writePair(join(directory, "a"), pair);
    await writeFile(join(directory, "a.ocsp"), "");
    const { certificateFile, keyFile } = await writePair(join(await temporaryDirectory(t), "named"), named);
    return { certificates: [{ certificateFile, keyFile, ocspFile: `${certificateFile}.no` }] };
  });
  const got = { fingerprint: fingerprintOf(pair), ocsp: null };
  assert.deepEqual(await edge.shake("a.example"), got);
  assert.equal((await edge.shake("named.example")).fingerprint, fingerprintOf(named));
  assert.deepEqual(
    edge.lines.map(({ level }) => level),
    ["warn", "warn"],
  );
  assert.match(
    edge.certificates.problems()[0] ?? "",
    /can't read the OCSP response in .*named\.crt\.no \(no such file/,
  );
});

test("a pair stays while one of its files is missing, and goes when two looks found neither", async (t) => {
  const pair = await certificateFor(["a.example"]);
  const edge = await start(t, async (directory) => {
    await writePair(join(directory, "a"), pair);
    await mkdir(join(directory, "b.example"));
    const inFolder = await certificateFor(["b.example"]);
    await writeFile(join(directory, "b.example/fullchain.pem"), inFolder.certificatePem);
    await writeFile(join(directory, "b.example/privkey.pem"), inFolder.keyPem, { mode: 0o600 });
  });
  const { certificates, directory, lines } = edge;
  const told = {
    "a.key": /a\.crt has no key: put the key into .*a\.key/,
    "a.crt": /can't read the certificate in .*a\.crt/,
  };
  let failures = 0;
  for (const [name, pattern] of Object.entries(told)) {
    const file = join(directory, name);
    await rename(file, join(directory, ".away"));
    await edge.lookAndGet(pair, `without ${name}`);
    assert.match(certificates.problems().join("\n"), pattern);
    assert.equal(certificates.problems().length, 1);
    assert.equal(certificates.counts().failedReloads, (failures += 1));
    assert.match(lines.at(-1)?.message ?? "", /the previous one stays in use/);
    await rename(join(directory, ".away"), file);
    await edge.lookAndGet(pair, `${name} is back`);
    assert.deepEqual(certificates.problems(), []);
  }
  for (const name of ["fullchain.pem", "privkey.pem"]) {
    const file = join(directory, "b.example", name);
    await rename(file, `${file}.away`);
    await edge.look(3);
    assert.deepEqual(namesOf(edge), ["0.example", "a.example", "b.example"], `without ${name}`);
    await rename(`${file}.away`, file);
    await edge.look(3);
  }
  await rename(join(directory, "b.example"), join(directory, ".b.example"));
  await symlink("b.example", join(directory, "b.example"));
  await edge.look(3);
  assert.deepEqual(
    namesOf(edge),
    ["0.example", "a.example", "b.example"],
    "the system refuses to look into the folder",
  );
  await rm(join(directory, "b.example"));
  await rename(join(directory, ".b.example"), join(directory, "b.example"));
  await edge.look(3);
  assert.deepEqual(certificates.problems(), []);
  await rm(join(directory, "b.example/fullchain.pem"));
  await rm(join(directory, "a.key"));
  await edge.lookAndGet(pair, "half");
  await rm(join(directory, "a.crt"));
  await edge.look(1);
  assert.equal((await edge.shake("a.example")).fingerprint, fingerprintOf(pair), "it may be being replaced");
  await writeFile(join(directory, "a.crt"), pair.certificatePem);
  await edge.look(1);
  await rm(join(directory, "a.crt"));
  await edge.look(1);
  assert.equal((await edge.shake("a.example")).fingerprint, fingerprintOf(pair), "not two looks in a row");
  await edge.look(1);
  assert.deepEqual(namesOf(edge), ["0.example", "b.example"]);
  assert.match(lines.at(-1)?.message ?? "", /is gone from its directory, and no longer served/);
});

test("a pair stays while its files are broken, whatever is wrong with them", async (t) => {
  const pair = await certificateFor(["a.example"]);
  const edge = await start(t, async (directory) => void (await writePair(join(directory, "a"), pair)));
  const at = (name: string): string => join(edge.directory, name);
  const breaks: Record<string, () => Promise<void>> = {
    "empty certificate": async () => await writeFile(at("a.crt"), ""),
    "empty key": async () => await writeFile(at("a.key"), ""),
    "key of another": async () => await writeFile(at("a.key"), (await certificateFor([])).keyPem),
    "key for all": async () => await chmod(at("a.key"), 0o666),
    "dangling links": async () => {
      for (const name of ["a.crt", "a.key"]) {
        await rm(at(name));
        await symlink("nowhere", at(name));
      }
    },
    "both empty, with a bad OCSP response": async () => {
      for (const name of ["a.crt", "a.key", "a.ocsp"]) await writeFile(at(name), "");
    },
  };
  for (const [what, breakIt] of Object.entries(breaks)) {
    await breakIt();
    await edge.lookAndGet(pair, what);
    assert.equal(edge.certificates.problems().length, 1, what);
    await rm(at("a.ocsp"), { force: true });
    await writePair(at("a"), pair);
    await edge.look(3);
    assert.deepEqual(edge.certificates.problems(), [], what);
  }
});

test("half a pair makes way for a whole one with all its names, and only for that", async (t) => {
  const old = await certificateFor(["a.example", "b.example"], { validToMs: Date.now() + 300 * dayMs });
  const edge = await start(t, async (directory) => void (await writePair(join(directory, "a"), old)));
  const { directory, lines } = edge;
  await writePair(join(directory, "expired"), await certificateFor(["b.example"], { validToMs: Date.now() - dayMs }));
  const one = await certificateFor(["a.example"]);
  await writePair(join(directory, "one"), one);
  await edge.lookAndGet(old, "the one that is valid for longer");
  await rm(join(directory, "a.crt"));
  await edge.lookAndGet(old, "b.example has only an expired certificate elsewhere");
  await writePair(join(directory, "expired"), await certificateFor(["b.example"]));
  await edge.look(2);
  await edge.lookAndGet(one, "both names are elsewhere");
  assert.equal(lines.filter(({ message }) => message.includes("other certificates have its names")).length, 1);
  assert.deepEqual(namesOf(edge), ["0.example", "b.example", "a.example"]);
  assert.deepEqual(edge.certificates.problems(), []);
});

test("a new name of the certificate file beside the same key takes over, with any kind of key", async (t) => {
  const old = await certificateFor(["a.example"]);
  const edge = await start(t, async (directory) => void (await writePair(join(directory, "a"), old)));
  const renewed = await certificateFor(["a.example"], { key: "rsa" });
  await rm(join(edge.directory, "a.crt"));
  await writeFile(join(edge.directory, "a.pem"), renewed.certificatePem);
  await edge.lookAndGet(old, "the key does not match yet");
  await replaceFile(join(edge.directory, "a.key"), renewed.keyPem, 0o600);
  await edge.look(2);
  await edge.lookAndGet(renewed, "a.pem");
  assert.deepEqual(edge.certificates.problems(), []);
});
