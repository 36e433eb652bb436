import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { silentLog } from "#base/log.ts";
import { removeOtherCode } from "../../../node/processes/compiled-code.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const module = new URL("../../../node/processes/compiled-code.ts", import.meta.url).href;
const logModule = new URL("../../../node/base/log.ts", import.meta.url).href;

/** Loads a module in a process of its own, which is then killed. */
function loadAndDie(dataDir: string, file: string): string {
  const program = `
    const { withCompiledCode } = await import(${JSON.stringify(module)});
    const { silentLog } = await import(${JSON.stringify(logModule)});
    const load = () => import(${JSON.stringify(`file://${file}`)});
    const place = { dataDir: ${JSON.stringify(dataDir)}, environment: process.env, log: silentLog };
    const loaded = await withCompiledCode(place, load);
    process.stdout.write(loaded.word, () => process.kill(process.pid, "SIGKILL"));`;
  const { NODE_COMPILE_CACHE: _, ...env } = process.env;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { env, encoding: "utf8" });
  return stdout;
}

test("compiled code survives a kill and follows its source; that of other releases is removed", async (t) => {
  const directory = await temporaryDirectory(t);
  const [dataDir, file] = [join(directory, "data"), join(directory, "loaded.ts")];
  await writeFile(file, 'export const word: string = "one";\n');
  assert.equal(loadAndDie(dataDir, file), "one");
  const compiled = join(dataDir, "compiled");
  const [own = ""] = await readdir(compiled);
  const entries = await readdir(join(compiled, own), { recursive: true });
  assert(entries.length > 1, "Node wrote something");
  assert.equal(loadAndDie(dataDir, file), "one");
  await writeFile(file, 'export const word: string = "two";\n');
  assert.equal(loadAndDie(dataDir, file), "two");
  await mkdir(join(compiled, "0123456789abcdef", "v24"), { recursive: true });
  await removeOtherCode(dataDir, silentLog);
  assert.deepEqual(await readdir(compiled), [own]);
});

test("threads use it as well", async (t) => {
  const directory = await temporaryDirectory(t);
  const [dataDir, file] = [join(directory, "data"), join(directory, "loaded.ts")];
  await writeFile(
    file,
    `import { getCompileCacheDir } from "node:module";
     import { Worker } from "node:worker_threads";
     const source = 'const { getCompileCacheDir } = require("node:module");' +
       'require("node:worker_threads").parentPort.postMessage(getCompileCacheDir());';
     const inThread: unknown = await new Promise((resolve) => {
       new Worker(source, { eval: true, execArgv: [] }).once("message", resolve);
     });
     export const word: string = inThread === getCompileCacheDir() ? "same" : String(inThread);`,
  );
  assert.equal(loadAndDie(dataDir, file), "same");
});

test("a missing directory, and one that can't be written, do no harm", async (t) => {
  const directory = await temporaryDirectory(t);
  const [dataDir, file] = [join(directory, "data"), join(directory, "loaded.ts")];
  await writeFile(dataDir, "a file");
  await writeFile(file, 'export const word: string = "one";\n');
  assert.equal(loadAndDie(dataDir, file), "one");
  await removeOtherCode(join(directory, "absent"), silentLog);
  assert(!existsSync(join(directory, "absent")));
});

test("code from a directory that others may write to never runs", async (t) => {
  const directory = await temporaryDirectory(t);
  const [dataDir, file] = [join(directory, "data"), join(directory, "loaded.ts")];
  const compiled = join(dataDir, "compiled");
  await writeFile(file, 'export const word: string = "one";\n');
  assert.equal(loadAndDie(dataDir, file), "one");
  assert.equal((await stat(compiled)).mode & 0o777, 0o700);

  const isUsed = async (): Promise<boolean> => {
    await rm(compiled, { recursive: true });
    await prepare();
    assert.equal(loadAndDie(dataDir, file), "one");
    return (await readdir(compiled)).length > 0;
  };
  let prepare = async (): Promise<void> => {
    await mkdir(compiled);
    await chmod(compiled, 0o770);
  };
  assert.equal(await isUsed(), false, "the directory");
  prepare = async () => {
    await mkdir(join(directory, "elsewhere"));
    await symlink(join(directory, "elsewhere"), compiled);
  };
  assert.equal(await isUsed(), false, "a link");
  prepare = async () => {
    await mkdir(compiled);
    await chmod(dataDir, 0o777);
  };
  assert.equal(await isUsed(), false, "the directory above");
  prepare = async () => {
    await mkdir(compiled);
    await chmod(dataDir, 0o755);
  };
  assert.equal(await isUsed(), true);
});
