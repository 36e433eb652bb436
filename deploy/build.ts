/**
 * Packing: compiles TypeScript to JavaScript in the same layout, for `npm pack` (Node strips no types below
 * node_modules).
 *
 *   node/ dns/ origin/ deploy/cli/ ──types stripped──▶ dist/…         "./x.ts" and "#base/x.ts" become "….js"
 *   package.json, git ─────────────────────────────▶ dist/package.json   the `#…` rooms, seen from dist/; the release
 *   package-lock.json ─────────────────────────────▶ npm-shrinkwrap.json until `postpack`: the versions that were
 *   tested
 *
 * Stripping leaves every line and column in place, so stack traces still point into the sources. String literals that
 * name one of our files (they begin with `./`, `../` or `#` and end in `.ts`) are rewritten everywhere: in imports and
 * in the `new URL("./x.ts", import.meta.url)` of child processes and workers.
 */
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readRelease } from "#base/release.ts";
import { type Lock, shrinkwrapOf } from "./shrinkwrap.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const rooms = ["node", "dns", "origin", "deploy/cli"];

interface Manifest {
  name: string;
  license: string;
  imports: Record<string, string>;
}

/** Compiles all rooms into `outDir`, which is emptied first. */
async function build(outDir: string): Promise<void> {
  await rm(outDir, { recursive: true, force: true });
  for (const room of rooms) {
    for (const entry of await readdir(join(root, room), { recursive: true, withFileTypes: true })) {
      if (entry.isDirectory()) continue;
      const from = join(entry.parentPath, entry.name);
      const to = join(outDir, from.slice(root.length));
      await mkdir(dirname(to), { recursive: true });
      if (entry.name.endsWith(".ts"))
        await writeFile(to.replace(/\.ts$/, ".js"), compile(await readFile(from, "utf8")));
      else await cp(from, to);
    }
  }
  const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as Manifest;
  const { name, license, imports } = manifest;
  // The release is fixed here: an installed package has no git to ask.
  const scope = { name, version: readRelease(root), license, private: true, type: "module", imports };
  await writeFile(join(outDir, "package.json"), `${JSON.stringify(scope, null, 2)}\n`);
}

function compile(source: string): string {
  return stripTypeScriptTypes(source).replaceAll(/(["'])((?:\.{1,2}\/|#)[^"'\n]*)\.ts\1/g, "$1$2.js$1");
}

// Node warns that stripping is experimental. Users who pack need not see that; a test of the packed tarball covers it.
process.removeAllListeners("warning");
await build(join(root, "dist"));
// Last, and only while npm packs: in a checkout npm would use it as the lock file for everything.
const lock = JSON.parse(await readFile(join(root, "package-lock.json"), "utf8")) as Lock;
await writeFile(join(root, "npm-shrinkwrap.json"), `${JSON.stringify(shrinkwrapOf(lock), null, 2)}\n`);
