/** `npx nearcast …` under somebody who ends the process that he started: nothing is left behind. With the real npx. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { needsProgram } from "../support/needs.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** What each says when it runs and takes signals. */
const sign = { edge: "no fleet document yet", origin: "origin listens at" } as const;

async function settings(t: TestContext, role: "edge" | "origin"): Promise<string> {
  const directory = await temporaryDirectory(t);
  const [file, token] = [join(directory, "settings.yaml"), join(directory, "edge.token")];
  await writeFile(token, "t".repeat(43), { mode: 0o600 });
  const any = "{ host: 127.0.0.1, port: 0 }";
  const text = {
    edge: `{ node: fra1, site: fra, dataDir: ${directory}/data, drainMs: 100,
             origin: { url: "http://127.0.0.1:9", tokenFile: ${token} }, http: [${any}],
             admin: ${any}, dns: { addresses: [] }, decoders: { processes: 1 } }`,
    origin: `{ dataDir: ${directory}/data, listen: ${any}, drainMs: 100 }`,
  };
  await writeFile(file, text[role]);
  return file;
}

for (const [role, signal] of [
  ["edge", "SIGTERM"],
  ["edge", "SIGKILL"],
  ["origin", "SIGTERM"],
] as const) {
  test(`${signal} to npx ends the ${role} that it runs, in order`, async (t) => {
    if (!needsProgram(t, "npx")) return;
    const words = ["nearcast", role, "--config", await settings(t, role)];
    const npx = spawn("npx", words, { cwd: root, stdio: ["ignore", "pipe", "pipe"], detached: true });
    t.after(() => {
      try {
        // The group that this test made, with whoever was left behind in it.
        if (npx.pid !== undefined) process.kill(-npx.pid, "SIGKILL");
      } catch {
        // nobody is left
      }
    });
    let said = "";
    for (const stream of [npx.stdout, npx.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
    // Both pipes are closed when nobody holds them any more: neither npx, nor its shell, nor what that ran.
    const allGone = once(npx, "close", { signal: AbortSignal.timeout(120_000) });
    while (!said.includes(sign[role])) {
      assert.equal(npx.exitCode, null, said);
      await Promise.race([once(npx.stdout, "data"), once(npx.stderr, "data"), allGone]);
    }
    npx.kill(signal);
    await allGone;
    if (role === "edge") assert.match(said, /"reason":"launcher gone","msg":"stopping"/);
  });
}
