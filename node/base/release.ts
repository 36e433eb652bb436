/**
 * The name of the running release.
 *
 *   package or image      the version that was written into its package.json when it was built; git is not used
 *   checkout at its tag   `0.2.0`, if the tag v0.2.0 is on this commit
 *   any other commit      `0.2.0-g1a2b3c4`
 *   with changed code     `0.2.0-g1a2b3c4-dirty-5e6f7a8`: the last part identifies the change
 *   without git           `0.2.0`
 *
 * Only files that go into a package count as code: a changed test does not change the name.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const code = ["node", "dns", "origin", "deploy", "package.json", "package-lock.json"];
/** Each call takes some milliseconds. A repository on a hanging disk must not delay the start. */
const gitMs = 5000;
/** Maximum size of a change's text. A larger change is just `-dirty`. */
const changeBytesMax = 64 * 1024 * 1024;
/** The same number as git shows. */
const digitsOfName = 7;

/**
 * Runs git in a checkout, so call it only once, at the start.
 *
 * @param root the folder of package.json; default: the one that contains this file
 * @returns for example `0.2.0-g1a2b3c4`; empty if package.json has no version
 */
export function readRelease(root: string = fileURLToPath(new URL("../../", import.meta.url))): string {
  const { version = "" } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version?: string };
  if (!existsSync(join(root, ".git"))) return version;
  const commit = git(root, "rev-parse", `--short=${digitsOfName}`, "HEAD");
  if (commit === undefined) return version;
  const change = nameOfChange(root);
  const isTagged = git(root, "for-each-ref", "--points-at=HEAD", `refs/tags/v${version}`) !== "";
  return change === "" && isTagged ? version : `${version}-g${commit.trim()}${change}`;
}

/** Empty if the code equals that of the commit. */
function nameOfChange(root: string): string {
  const changed = git(root, "diff", "--no-ext-diff", "--no-textconv", "--binary", "HEAD", "--", ...code);
  const added = git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", ...code);
  if (changed === "" && added === "") return "";
  if (changed === undefined || added === undefined) return "-dirty";
  const hash = createHash("sha256").update(changed);
  for (const file of added.split("\0").slice(0, -1)) {
    const content = contentOf(join(root, file));
    if (content === undefined) return "-dirty";
    hash.update(`\0${file}\0`).update(content);
  }
  return `-dirty-${hash.digest("hex").slice(0, digitsOfName)}`;
}

/**
 * For a link, its target (an editor's lock is a dangling link). Undefined: a nested repository, or a file that has just
 * been deleted.
 */
function contentOf(path: string): Buffer | string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : readFileSync(path);
  } catch {
    return undefined;
  }
}

/** The output of git, or undefined if it fails. */
function git(root: string, ...words: string[]): string | undefined {
  // Pass both paths, so that neither environment variables nor a repository in a parent directory interfere.
  const places = ["--no-optional-locks", `--git-dir=${join(root, ".git")}`, `--work-tree=${root}`];
  const { status, stdout } = spawnSync("git", [...places, ...words], {
    cwd: root,
    encoding: "latin1",
    stdio: ["ignore", "pipe", "ignore"],
    timeout: gitMs,
    maxBuffer: changeBytesMax,
  });
  return status === 0 ? stdout : undefined;
}
