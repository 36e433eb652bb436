/** A tarball of `npm pack`, made of a copy of the sources: the checkout is left as it is, whatever else packs it. */
import { execFile } from "node:child_process";
import { cp, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { temporaryDirectory } from "../../support/temporary.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../../", import.meta.url));
const sources = [
  "node",
  "dns",
  "origin",
  "deploy",
  "package.json",
  "package-lock.json",
  "README.md",
  "LICENSE",
  ".npmrc",
];

export interface Packed {
  tarball: string;
  /** The copy of the sources. */
  sources: string;
}

export async function packed(t: TestContext): Promise<Packed> {
  const directory = await temporaryDirectory(t);
  const copy = join(directory, "sources");
  for (const source of sources) await cp(join(root, source), join(copy, source), { recursive: true });
  await run("npm", ["pack", "--silent", "--pack-destination", directory], { cwd: copy, timeout: 120_000 });
  const [tarball = ""] = (await readdir(directory)).filter((name) => name.endsWith(".tgz"));
  return { tarball: join(directory, tarball), sources: copy };
}
