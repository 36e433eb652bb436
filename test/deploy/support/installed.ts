/** install.sh run against a folder instead of a machine: small tarballs in the place of Node and of a release. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { temporaryDirectory } from "../../support/temporary.ts";

const run = promisify(execFile);
const deploy = fileURLToPath(new URL("../../../deploy/", import.meta.url));

export interface Installer {
  /** What install.sh takes for the root of the file system. */
  root: string;
  /** A tarball of a release of this version. */
  release: (version: string) => Promise<string>;
  /** Options that give Node from a file. */
  node: readonly string[];
  run: (...words: string[]) => Promise<{ status: number; stdout: string; stderr: string }>;
}

export async function installer(t: TestContext): Promise<Installer> {
  const directory = await temporaryDirectory(t);
  const root = join(directory, "root");
  const nodeTarball = join(directory, "node.tgz");
  await mkdir(join(directory, "node-v1/bin"), { recursive: true });
  await writeFile(join(directory, "node-v1/bin/node"), "#!/bin/sh\n", { mode: 0o755 });
  await run("tar", ["-czf", nodeTarball, "-C", directory, "node-v1"]);
  const sha256 = createHash("sha256")
    .update(await readFile(nodeTarball))
    .digest("hex");
  return {
    root,
    node: ["--node-tarball", nodeTarball, "--node-sha256", sha256],
    async release(version) {
      const folder = join(directory, version);
      const inside = join(folder, "node_modules/nearcast");
      await cp(deploy, join(inside, "deploy"), { recursive: true });
      await writeFile(join(inside, "package.json"), `{\n  "name": "nearcast",\n  "version": "${version}"\n}\n`);
      const tarball = join(directory, `release-${version}.tgz`);
      await run("tar", ["-czf", tarball, "-C", folder, "."]);
      return tarball;
    },
    run: async (...words) =>
      await new Promise((resolve) => {
        const all = [join(deploy, "install.sh"), "--root", root, ...words];
        execFile("sh", all, (error, stdout, stderr) => {
          resolve({ status: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
        });
      }),
  };
}
