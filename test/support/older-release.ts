/**
 * The code of an older release, taken from the repository's history.
 *
 * A release is named by the hash of its last commit, not by a tag: a tag has to be pushed and fetched for itself, is
 * left out by many CI checkouts and single-branch clones, and can be moved, whereas an ancestor of the branch comes
 * with every clone that is not shallow and can only be what it was. So the history must not be squashed, and CI checks
 * out all of it.
 */
import { execFile } from "node:child_process";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { needs } from "./needs.ts";
import { temporaryDirectory } from "./temporary.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const run = promisify(execFile);

/** The last commit of release 0.1.0, whose edges do not introduce themselves to the origin. */
export const release010 = "390f4ae509ed66afdd4f61e6fc2fd576bae7b941";

/**
 * Puts the code of a commit into a folder of its own, with this checkout's node_modules. Undefined: the test is
 * skipped, because the history is not here (a tarball, a shallow clone).
 */
export async function olderRelease(t: TestContext, commit: string): Promise<string | undefined> {
  const isThere = await run("git", ["cat-file", "-e", `${commit}^{commit}`], { cwd: root }).then(
    () => true,
    () => false,
  );
  if (!needs(t, isThere, `the history of the repository, with commit ${commit}, is not here: git fetch --unshallow`))
    return undefined;
  const folder = await temporaryDirectory(t);
  const archive = join(folder, "release.tar");
  await run("git", ["archive", "--output", archive, commit, "package.json", "node", "origin", "dns"], { cwd: root });
  await run("tar", ["-xf", archive, "-C", folder]);
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  return folder;
}
