/** `--check-config` reads the certificates, and exits with 2 and all problems if there are any. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { certificateFor, writePair } from "../../support/certificates.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const main = fileURLToPath(new URL("../../../node/main.ts", import.meta.url));

async function check(file: string): Promise<{ status: number; said: string }> {
  return await new Promise((resolve) => {
    execFile(process.execPath, [main, "--config", file, "--check-config"], (error, stdout, stderr) => {
      resolve({ status: typeof error?.code === "number" ? error.code : 0, said: stdout + stderr });
    });
  });
}

test("certificates are part of the check", async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, "edge.yaml");
  const certificateDirectory = join(directory, "tls");
  const origin = { url: "http://127.0.0.1:7070", tokenFile: "./token" };
  await writeFile(file, stringify({ node: "fra1", site: "fra", origin, https: { certificateDirectory } }));
  assert.deepEqual((await check(file)).status, 2, "no directory");
  const good = await certificateFor(["a.example"]);
  await writePair(join(certificateDirectory, "a"), good);
  assert.deepEqual(await check(file), { status: 0, said: `${file}: ok\n` });
  await writePair(join(certificateDirectory, "b"), { ...good, keyPem: (await certificateFor(["b.example"])).keyPem });
  await writePair(
    join(certificateDirectory, "c"),
    await certificateFor(["c.example"], { validToMs: Date.now() - 1000 }),
  );
  const { status, said } = await check(file);
  assert.equal(status, 2);
  assert.match(said, /https: the key in .*b\.key does not match the first certificate in .*b\.crt/);
  assert.match(said, /https: .*c\.crt expired on /);
});
