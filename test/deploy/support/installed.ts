/** install.sh run against a folder instead of a machine: small tarballs in the place of Node and of a release. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
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
  /** A tarball of a release folder of this version, with a file of this text in it. */
  release: (version: string, code?: string) => Promise<string>;
  /** Options that give Node from a file: one that does nothing. */
  node: readonly string[];
  /** The same for the Node that runs here. */
  realNode: readonly string[];
  run: (...words: string[]) => Promise<{ status: number; stdout: string; stderr: string }>;
}

export async function installer(t: TestContext): Promise<Installer> {
  const directory = await temporaryDirectory(t);
  const root = join(directory, "root");
  /** A tarball in the place of Node's, whose program is this text. */
  async function nodeOf(name: string, program: string): Promise<readonly string[]> {
    const [folder, tarball] = [join(directory, name), join(directory, `${name}.tgz`)];
    await mkdir(join(folder, "bin"), { recursive: true });
    await writeFile(join(folder, "bin/node"), program, { mode: 0o755 });
    await run("tar", ["-czf", tarball, "-C", directory, name]);
    const sha256 = createHash("sha256").update(await readFile(tarball));
    return ["--node-tarball", tarball, "--node-sha256", sha256.digest("hex")];
  }
  return {
    root,
    node: await nodeOf("node-idle", "#!/bin/sh\n"),
    realNode: await nodeOf("node-real", `#!/bin/sh\nexec ${process.execPath} "$@"\n`),
    async release(version, code = "") {
      const folder = await mkdtemp(join(directory, "release-"));
      const inside = join(folder, "node_modules/nearcast");
      await cp(deploy, join(inside, "deploy"), { recursive: true });
      await writeFile(join(inside, "package.json"), `{\n  "name": "nearcast",\n  "version": "${version}"\n}\n`);
      await writeFile(join(inside, "code.js"), code);
      const tarball = `${folder}.tgz`;
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
