/**
 * The release that runs here.
 *
 *   package or image      the version that was written into its package.json when it was made; git is never asked
 *   checkout at its tag   `0.2.0`, where the tag v0.2.0 is on this very commit
 *   any other commit      `0.2.0-g1a2b3c4`
 *   with changed code     `0.2.0-g1a2b3c4-dirty-5e6f7a8`: the last part names the change, so two of them differ
 *   without git           `0.2.0`
 *
 * Only what a package is made of counts as code: a changed test leaves the name alone.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const code = ["node", "dns", "origin", "deploy", "package.json", "package-lock.json"];
/** Each call takes some milliseconds; a repository on a disk that hangs must not hold a start up. */
const gitMs = 5000;
/** Of a change's text. A larger one has no name of its own: it is `-dirty`. */
const changeBytesMax = 64 * 1024 * 1024;
/** As many as git shows. */
const digitsOfName = 7;

/**
 * Asks git where there is a checkout, so call it once, at the start.
 *
 * @param root the folder of package.json; default: the one that this file is part of
 * @returns such as `0.2.0-g1a2b3c4`; empty where package.json names no version
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

/** Empty for a tree whose code is that of its commit. */
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

/** Of a link, where it leads (an editor's lock leads nowhere). Undefined: a repository inside, or a file just gone. */
function contentOf(path: string): Buffer | string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : readFileSync(path);
  } catch {
    return undefined;
  }
}

/** What git prints, or undefined where it can't answer. */
function git(root: string, ...words: string[]): string | undefined {
  // Both places are named, so that neither variables nor a repository further up lead elsewhere.
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
