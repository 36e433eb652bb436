/** A clone of this checkout as somebody gets it who has just cloned it, with what is not committed yet committed. */
import { execFile } from "node:child_process";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const checkout = fileURLToPath(new URL("../../", import.meta.url));
const author = ["-c", "user.name=test", "-c", "user.email=test@example.com"];

/** Clones into `folder`, which is not there yet. */
export async function freshClone(folder: string): Promise<void> {
  await run("git", ["clone", "--quiet", checkout, folder]);
  await run("sh", ["-c", copyChanges, "sh", checkout, folder]);
  await commit(folder, "as it is");
}

export async function commit(folder: string, message: string): Promise<void> {
  await run("git", [...author, "-C", folder, "commit", "--quiet", "--allow-empty", "--all", "--message", message]);
}

/** Its packages, where nothing of them is to be tested: those of the checkout. */
export async function linkPackages(folder: string): Promise<void> {
  await symlink(join(checkout, "node_modules"), join(folder, "node_modules"));
}

/** Files that were changed, added and deleted since the last commit. */
const copyChanges = `
cd "$1"
git ls-files --deleted -z | (cd "$2" && xargs --null --no-run-if-empty rm -f --)
git ls-files --modified --others --exclude-standard -z | xargs --null --no-run-if-empty sh -c \\
  'for file do [ ! -e "$file" ] || cp --parents --preserve=mode "$file" "$0"; done' "$2"
git -C "$2" add --all
`;
