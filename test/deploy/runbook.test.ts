/**
 * Every command line of `nearcast` in the README, the runbook and deploy/ is one: the verb is there, and so are its
 * options. (runbook/ runs the runbook's blocks, readme.test.ts the README's; this covers what stands in prose, too.)
 */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { blocksIn } from "../support/documents.ts";
import { nearcast } from "./support/command.ts";

const deploy = fileURLToPath(new URL("../../deploy/", import.meta.url));

interface Line {
  where: string;
  /** After `nearcast`. */
  words: string[];
}

/** What stands in code: blocks and spans of Markdown, spans in comments, and programs that call the launcher. */
function codeIn(file: string, text: string): string[] {
  const spans = [...text.matchAll(/`([^`\n]+)`/g)].map(([, span = ""]) => span);
  if (file.endsWith(".md")) {
    const blocks = blocksIn(text).filter(({ language }) => language === "sh");
    return [...spans, ...blocks.flatMap((block) => block.text.split("\n"))];
  }
  const calls = text
    .split("\n")
    .filter((line) => /npx nearcast |nearcast\.mjs (?!"\$@")|^ *echo " {2}nearcast /.test(line));
  return [...spans, ...calls];
}

function commandsIn(file: string, text: string): Line[] {
  return codeIn(file, text)
    .flatMap((code) => code.replace(/\s#.*$/, "").split(/&&|\|\||;|\||>/))
    .flatMap((code) => {
      // Not the group of `install -g nearcast FILE`, nor a quoted name such as "nearcast trial authority".
      const words = /(?:^|(?<!-\w)\s|\/)(?:npx )?nearcast(?:\.mjs)?"? ([a-z][^"]*)/.exec(code)?.[1];
      return words === undefined ? [] : [{ where: `${file}: ${code.trim()}`, words: words.trim().split(/\s+/) }];
    });
}

async function lines(): Promise<Line[]> {
  const files = (await readdir(deploy, { recursive: true })).filter(
    (file) => /\.(?:md|service|conf|sh|nft|yaml)$|Dockerfile$/.test(file) && !file.startsWith("lab/"),
  );
  const all = ["../README.md", ...files.toSorted()].map(async (file) =>
    commandsIn(file, await readFile(join(deploy, file), "utf8")),
  );
  return (await Promise.all(all)).flat();
}

const groups = new Set(["bgp", "fleet", "zone"]);

/** The verb, `bgp check` being one, and the words after it. */
function parted([first = "", second = "", ...rest]: string[]): { verb: string[]; rest: string[] } {
  return groups.has(first) ? { verb: [first, second], rest } : { verb: [first], rest: [second, ...rest] };
}

test("verbs and options are real", async () => {
  const all = await lines();
  const named = [...new Set(all.map(({ words }) => parted(words).verb.join(" ")))];
  const helps = new Map<string, string>();
  // One after the other: all at once would wait for each other's processor time until none is in time.
  for (const verb of named) {
    const { status, stdout } = await nearcast([...verb.split(" "), "--help"]);
    helps.set(verb, status === 0 ? stdout : "");
  }
  const wrong: string[] = [];
  for (const { where, words } of all) {
    const { verb, rest } = parted(words);
    const help = helps.get(verb.join(" ")) ?? "";
    if (!new RegExp(`^Usage: nearcast ${verb.join(" ")}\\b`).test(help))
      wrong.push(`${where}: no verb ${verb.join(" ")}`);
    for (const option of rest.filter((word) => word.startsWith("-") && word !== "-")) {
      if (!new RegExp(`(?:^|[\\s,])${option.replace(/=.*/, "")}(?=[\\s,]|$)`, "m").test(help))
        wrong.push(`${where}: ${option}`);
    }
  }
  assert.deepEqual(wrong, []);
  const wanted = ["bgp check", "bgp config", "drain", "edge", "fleet apply", "fleet check", "join", "origin", "put"];
  for (const verb of [...wanted, "remove", "rollback", "secret", "status", "undrain"])
    assert.ok(named.includes(verb), verb);
  // It says verbs as they are meant to be said from now on.
  for (const old of ["apply", "check", "releases"]) assert.ok(!named.includes(old), old);
});

test("the runbook names files that there are, and has a chapter for each thing that happens", async () => {
  const text = await readFile(join(deploy, "docs/runbook.md"), "utf8");
  const named = new Set([...text.matchAll(/(?<![\w/])deploy\/[\w./-]+\w/g)].map(([path]) => path));
  const files = new Set((await readdir(deploy, { recursive: true })).map((file) => `deploy/${file}`));
  assert.deepEqual(
    [...named].filter((path) => !files.has(path)),
    [],
  );
  const chapters = [...text.matchAll(/^## (.+)$/gm)].map(([, title = ""]) => title.toLowerCase()).join("\n");
  for (const word of [
    "first site",
    "second site",
    "anycast",
    "upgrade",
    "roll back",
    "site is lost",
    "origin is lost",
  ]) {
    assert.ok(chapters.includes(word), word);
  }
  for (const word of ["secrets", "under attack", "capacity"]) assert.ok(chapters.includes(word), word);
});
