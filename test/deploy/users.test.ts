/**
 * The users that install.sh makes, on this very machine but in a mount namespace: what is written to /etc, /opt and
 * /var/lib there is seen by nobody else, and gone at the end.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { needs } from "../support/needs.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { installer } from "./support/installed.ts";

const script = fileURLToPath(new URL("../../deploy/install.sh", import.meta.url));
const ownSystem = fileURLToPath(new URL("support/own-system.sh", import.meta.url));

interface Ran {
  isGood: boolean;
  said: string;
}

/** Runs lines of shell as root in an own system. */
async function inOwnSystem(t: TestContext, lines: string): Promise<Ran> {
  const layers = join(await temporaryDirectory(t), "layers");
  await mkdir(layers);
  const asRoot = process.getuid?.() === 0 ? [] : ["sudo", "--non-interactive"];
  const [program, ...words] = [...asRoot, "unshare", "--mount", "sh", ownSystem, layers, "sh", "-euc", lines];
  return await new Promise((resolve) => {
    execFile(program, words, (error, stdout, stderr) => {
      resolve({ isGood: error === null, said: stdout + stderr });
    });
  });
}

async function mayRun(t: TestContext): Promise<boolean> {
  const { isGood, said } = await inOwnSystem(t, "true");
  return needs(t, isGood, `no mount namespace for root here: ${said}`);
}

test("origin and edge get users of their own, who own their data alone", async (t) => {
  if (!(await mayRun(t))) return;
  const { node, release } = await installer(t);
  const words = ["--origin", "--edge", "--package", await release("1.2.3"), ...node].join(" ");
  const { isGood, said } = await inOwnSystem(
    t,
    `sh ${script} ${words} >&2
     stat -c '%n %U %G %a' /var/lib/nearcast /var/lib/nearcast-origin
     for user in nearcast nearcast-origin; do getent passwd $user | cut -d: -f1,6,7; id -nG $user; done`,
  );
  assert.ok(isGood, said);
  for (const line of [
    "/var/lib/nearcast nearcast nearcast 700",
    "/var/lib/nearcast-origin nearcast-origin nearcast-origin 700",
    "nearcast:/var/lib/nearcast:/usr/sbin/nologin\nnearcast",
    "nearcast-origin:/var/lib/nearcast-origin:/usr/sbin/nologin\nnearcast-origin",
  ]) {
    assert.ok(said.includes(`${line}\n`), said);
  }
});

test("an origin that ran as the edge's user is changed over with all of its data, in words", async (t) => {
  if (!(await mayRun(t))) return;
  const { node, release } = await installer(t);
  const words = ["--origin", "--package", await release("1.2.3"), ...node].join(" ");
  const { isGood, said } = await inOwnSystem(
    t,
    `useradd --system nearcast
     install -d -m 700 -o nearcast -g nearcast /var/lib/nearcast-origin /var/lib/nearcast-origin/secrets
     install -m 600 -o nearcast -g nearcast /dev/null /var/lib/nearcast-origin/secrets/writer.token
     sh ${script} ${words}
     find /var/lib/nearcast-origin -printf '%p %u %g %m\\n'
     echo again
     sh ${script} ${words}`,
  );
  assert.ok(isGood, said);
  assert.match(said, /^The origin runs as user nearcast-origin, but \S+ belongs to nearcast; changing the owner:$/m);
  for (const [path, mode] of [
    ["", 700],
    ["/secrets", 700],
    ["/secrets/writer.token", 600],
  ]) {
    assert.ok(said.includes(`/var/lib/nearcast-origin${path} nearcast-origin nearcast-origin ${mode}\n`), said);
  }
  assert.match(said, /^again\nnearcast 1\.2\.3 is already installed; nothing to do\n$/m);
});
