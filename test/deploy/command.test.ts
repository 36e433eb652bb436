/** The command line itself: help, statuses, what it says when nothing is there. No server runs here. */
import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkFree } from "../../dns/io/check-free.ts";
import { needs } from "../support/needs.ts";
import { eachOf, nearcast, type Ran, temporaryFolder } from "./support/command.ts";

const commandFolder = fileURLToPath(new URL("../../deploy/cli/", import.meta.url));
/** What these write goes to servers, where the command is installed. */
const forServers = new Set(["verbs/bgp/node-config.ts", "verbs/bgp/router-config.ts", "verbs/bgp/daisy-chain.ts"]);

const pictureVerbs = ["put", "ls", "rm", "versions", "rollback", "purge", "verify"];
const verbs = [
  "up",
  "origin",
  "edge",
  "backup",
  "restore",
  "join",
  "drain",
  "undrain",
  "remove",
  "bgp",
  ...pictureVerbs,
  ...["show", "check", "diff", "apply", "releases", "rollback"].map((verb) => `fleet ${verb}`),
  "secret",
  "token",
  "status",
  "explain",
  "audit",
  "dig",
  "zone delegation",
];

/** What `nearcast VERB --help` printed: the same each time, so each help is asked for once in this file. */
const helps = new Map<string, Promise<Ran>>();

async function helpOf(verb: string): Promise<Ran> {
  let help = helps.get(verb);
  if (help === undefined) {
    help = nearcast([...verb.split(" "), "--help"]);
    helps.set(verb, help);
  }
  return await help;
}

test("each verb explains itself with an example and its exit codes", async () => {
  const explained = await eachOf(verbs, async (verb) => ({ verb, help: await helpOf(verb) }));
  for (const { verb, help } of explained) {
    assert.equal(help.status, 0, verb);
    assert.match(help.stdout, new RegExp(`Examples?:\n  npx nearcast ${verb}`), verb);
    assert.match(help.stdout, /--json/, verb);
    assert.match(help.stdout, /Exit status: 0 success/, verb);
    // A group's examples are those of the verbs in it.
    if (help.stdout.includes("\nCommands:\n")) continue;
    const [, examples = ""] = /\nExamples?:\n((?: {2}.*\n)+)/.exec(help.stdout) ?? [];
    for (const [option] of examples.matchAll(/(?<= )--[a-z-]+/g)) {
      assert.match(help.stdout, new RegExp(`^ {2}(?:-\\w, )?${option}\\b`, "m"), `${verb}: an example has ${option}`);
    }
  }
  const defaults: [verb: string, option: string, value: string][] = [
    ["audit", "--limit <count>", "50"],
    ["fleet releases", "--limit <count>", "20"],
    ["explain", "--type <type>", '"A"'],
  ];
  for (const [verb, option, value] of defaults) {
    const text = (await helpOf(verb)).stdout.replaceAll(/\s+/g, " ");
    assert.match(text, new RegExp(`${option} [^-]*\\(default: ${value}\\)`), `${verb} ${option}`);
  }
});

test("token's usage shows what may stand where, and no help speaks of orders", async () => {
  const texts = await eachOf(["token", "secret", "audit"], async (verb) => (await helpOf(verb)).stdout);
  assert.match(texts[0] ?? "", /^Usage: nearcast token \[options\] <list\|rotate\|retire> \[edge\|writer\]\n/);
  assert.match(texts[1] ?? "", /^Usage: nearcast secret \[options\] <rotate>\n/);
  for (const help of texts) assert.doesNotMatch(help, /\border\b/);
});

test("the help groups the verbs, and the spellings of before still work, with a note", async () => {
  const { stdout } = await nearcast(["--help"]);
  const heads = [...stdout.matchAll(/^(\w[\w ]*):$/gm)].map(([, head]) => head);
  const groups = ["Run", "Pictures", "Fleet", "Nodes", "Zones", "Inspect"];
  assert.deepEqual(
    heads.filter((head) => groups.includes(head ?? "")),
    groups,
  );
  const example = fileURLToPath(new URL("../../deploy/config/fleet.example.yaml", import.meta.url));
  const [now, before] = await Promise.all([nearcast(["fleet", "check", example]), nearcast(["check", example])]);
  assert.deepEqual([now.status, before.status, before.stdout], [0, 0, now.stdout]);
  assert.match(before.stderr, /^note: `npx nearcast check` is now `npx nearcast fleet check`/);
  const oldVerbs = ["check", "apply", "releases"];
  const oldHelps = await eachOf(oldVerbs, async (verb) => ({ old: verb, help: await helpOf(verb) }));
  for (const { old, help } of oldHelps) {
    assert.equal(help.status, 0, old);
    assert.match(help.stdout, new RegExp(`npx nearcast fleet ${old}`), old);
    assert.doesNotMatch(stdout, new RegExp(`^  ${old}\\b`, "m"), old);
  }
});

test("the version is the package's, with the commit in a checkout", async () => {
  const { status, stdout } = await nearcast(["--version"]);
  assert.equal(status, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+(?:-g[0-9a-f]{7,}(?:-dirty-[0-9a-f]{7})?)?\n$/);
});

test("--version is the program's before a verb only: after it, it is the verb's own or none", async (t) => {
  const folder = await temporaryFolder(t, "version");
  const token = join(folder, "token");
  await writeFile(token, "secret-of-nobody\n");
  const where = ["--origin", "http://127.0.0.1:1", "--token-file", token];
  const cases = [
    { words: ["fleet", "show", "--version", "41", ...where], wanted: 3 },
    { words: ["fleet", "show", "--version=41", ...where], wanted: 3 },
    { words: ["fleet", "show", ...where, "--version", "41"], wanted: 3 },
    { words: ["ls", "--version"], wanted: 2 },
    { words: ["fleet", "-v"], wanted: 2 },
  ];
  const ran = await eachOf(cases, async (one) => ({ ...one, result: await nearcast(one.words) }));
  for (const { words, wanted, result } of ran) {
    assert.deepEqual([result.status, result.stdout], [wanted, ""], `${words.join(" ")}\n${result.stderr}`);
  }
});

test("hints name the command as this machine has it: none is written out", async () => {
  const verbOfHint = new RegExp(
    `(?<![\\w/.:$-])nearcast (?:${[...new Set(verbs.map((verb) => verb.split(" ")[0]))].join("|")})\\b`,
  );
  const found: string[] = [];
  for (const entry of await readdir(commandFolder, { recursive: true, withFileTypes: true })) {
    const file = relative(commandFolder, join(entry.parentPath, entry.name));
    if (!entry.isFile() || forServers.has(file)) continue;
    for (const [index, line] of (await readFile(join(commandFolder, file), "utf8")).split("\n").entries()) {
      const isComment = /^\s*(?:\*|\/\*|\/\/)/.test(line);
      if (!isComment && (line.includes("npx nearcast") || verbOfHint.test(line))) found.push(`${file}:${index + 1}`);
    }
  }
  assert.deepEqual(found, [], "write `${command} VERB`, with command of #base/command-name.ts");
});

test("status says that the nodes can't be asked where the origin is away, never that there are none", async (t) => {
  const folder = await temporaryFolder(t, "status");
  const token = join(folder, "token");
  await writeFile(token, "secret-of-nobody\n");
  const where = ["--token-file", token, "--data", folder];
  const { status, stderr } = await nearcast(["status", "--origin", "http://127.0.0.1:1", ...where]);
  assert.equal(status, 3);
  assert.match(stderr, /No node could be asked: the origin at http:\/\/127\.0\.0\.1:1 can't be reached/);
  assert.match(stderr, /The address comes from --origin[\s\S]*npx nearcast up[\s\S]*--token-file FILE/);
  assert.doesNotMatch(stderr, /no nodes/);
});

test("mistakes on the command line end with status 2 and a sentence", async () => {
  const cases: { words: string[]; says: RegExp }[] = [
    { words: ["fly"], says: /unknown command 'fly'/ },
    { words: ["ls", "--bogus"], says: /unknown option '--bogus'/ },
    { words: ["put"], says: /missing required argument 'FILE'\n\(example: npx nearcast put chair\.jpg/ },
    { words: ["put", "/nowhere/x.jpg"], says: /no file or directory "\/nowhere\/x.jpg"/ },
    { words: ["ls", "--limit", "0"], says: /whole number from 1/ },
    { words: ["purge"], says: /nothing to purge/ },
    { words: ["rollback", "x.jpg", "last"], says: /"last" is not a version/ },
    { words: ["fleet"], says: /Usage: nearcast fleet/ },
    { words: ["fleet", "fly"], says: /unknown command 'fly'/ },
    { words: ["fleet", "rollback", "last"], says: /whole number from 1/ },
    { words: ["fleet", "apply", "x", "--if-version", "-1"], says: /whole number from 0/ },
    { words: ["secret"], says: /missing required argument 'rotate'/ },
    { words: ["secret", "show"], says: /It must be rotate\./ },
    { words: ["token"], says: /missing required argument 'list\|rotate\|retire'/ },
    { words: ["token", "rotat", "edge"], says: /It must be list, rotate or retire; did you mean rotate\?/ },
    { words: ["token", "rotate", "ege"], says: /It must be edge or writer; did you mean edge\?/ },
    {
      words: ["token", "rotate"],
      says: /which token\? npx nearcast token rotate edge, or npx nearcast token rotate writer/,
    },
    { words: ["audit", "--kind", "prge"], says: /'prge' is invalid[^\n]*; did you mean purge\?/ },
    { words: ["up", "--sites", "fra,atlantis"], says: /"atlantis"[\s\S]*fra Frankfurt/ },
    { words: ["up", "--address", "10.0.0.1"], says: /127\.0\.0\.0\/8/ },
    { words: ["edge"], says: /--config/ },
    { words: ["join", "--site", "fra"], says: /missing required argument 'origin'/ },
    { words: ["join", "http://127.0.0.1:1"], says: /--site/ },
    { words: ["join", "http://127.0.0.1:1", "--site", "fra", "--address", "here"], says: /an IPv4 or IPv6 address/ },
    { words: ["drain"], says: /missing required argument 'node'/ },
    { words: ["edge", "--config", "/nowhere.yaml"], says: /nowhere\.yaml/ },
    { words: ["edge", "--config", "/nowhere.yaml", "--processes", "65"], says: /"65", neither auto nor a number/ },
    { words: ["dig", "x.test", "--type", "ZZ"], says: /"ZZ" is not a record type that this command knows/ },
    { words: ["dig", "b\u00fccher.test"], says: /is not a domain name[\s\S]*xn--/ },
    { words: ["dig", "x.test", "--from", "here"], says: /"here" is not an IP address/ },
    { words: ["explain", "some/path"], says: /no node is known|neither a URL/ },
    { words: ["ls", "--origin", "ftp://x"], says: /not an http:\/\/ or https:\/\/ URL/ },
  ];
  const ran = await eachOf(cases, async (one) => ({ ...one, result: await nearcast(one.words, { cwd: "/" }) }));
  for (const { words, says, result } of ran) {
    assert.equal(result.status, 2, words.join(" "));
    assert.match(result.stderr, says, words.join(" "));
    assert.equal(result.stdout, "", words.join(" "));
  }
});

test("an origin that is not there: what was tried, what to do next, status 3", async (t) => {
  const folder = await temporaryFolder(t, "nobody");
  const picture = join(folder, "x.jpg");
  const token = join(folder, "token");
  await writeFile(picture, "x");
  await writeFile(token, "secret-of-nobody\n");
  // Port 1 is free on every machine that runs no tcpmux of 1988.
  const where = ["--origin", "http://127.0.0.1:1", "--token-file", token, "--data", folder];
  const cases = [
    ["ls"],
    ["rm", "x"],
    ["versions", "x"],
    ["fleet", "rollback"],
    ["fleet", "show"],
    ["purge", "x"],
    ["fleet", "releases"],
    ["secret", "rotate"],
  ];
  const ran = await eachOf(cases, async (words) => ({ words, result: await nearcast([...words, ...where]) }));
  for (const { words, result } of ran) {
    const { status, stderr } = result;
    assert.equal(status, 3, words.join(" "));
    assert.match(stderr, /origin at http:\/\/127\.0\.0\.1:1 can't be reached: connection refused/, words.join(" "));
    assert.match(stderr, /npx nearcast up/, words.join(" "));
  }
  const asJson = await nearcast(["ls", "--json", ...where]);
  const { error } = JSON.parse(asJson.stderr) as { error: { code: string; exitCode: number } };
  assert.deepEqual([error.code, error.exitCode, asJson.stdout], ["UNREACHABLE", 3, ""]);
});

test("a node or responder that is not there ends with status 3, too", async (t) => {
  const folder = await temporaryFolder(t, "nobody");
  const status = await nearcast(["status", "--admin", "http://127.0.0.1:1", "--data", folder, "--json"]);
  assert.equal(status.status, 3);
  const value = status.json() as { origin: { isReached: boolean }; nodes: { reached: boolean }[] };
  assert.deepEqual([value.origin.isReached, value.nodes.map(({ reached }) => reached)], [false, [false]]);
  const explain = await nearcast(["explain", "img.cdn.test", "--admin", "http://127.0.0.1:1"]);
  assert.equal(explain.status, 3);
  assert.match(explain.stderr, /npx nearcast up/);
  const dig = await nearcast(["dig", "img.cdn.test", "--server", "127.0.0.1:1", "--tcp"]);
  assert.equal(dig.status, 3);
});

test("a node's listener and a selection of nodes exclude each other", async () => {
  const selections = [
    ["--node", "fra1"],
    ["--site", "fra"],
  ];
  const cases = selections.flatMap((selection) => [
    ["status", ...selection],
    ["explain", "img.cdn.test", ...selection],
  ]);
  for (const ran of await eachOf(cases, async (words) => await nearcast([...words, "--admin", "http://127.0.0.1:1"]))) {
    assert.equal(ran.status, 2, ran.stderr);
    assert.match(ran.stderr, /option '--admin <url>' cannot be used with option '--(?:node|site) <name>'/);
  }
});

test("check tells all problems, one a line, each with its place and what is allowed", async (t) => {
  const folder = await temporaryFolder(t, "check");
  const file = join(folder, "fleet.yaml");
  await writeFile(
    file,
    `zones: []
sites: [{ name: fra, place: { latitude: 95, longitude: 8 }, addresses: [192.0.2.1], nodes: [] }]
hosts: [{ name: a.test, kind: images, freshSeconds: -1 }]
colour: red
presest: {}
`,
  );
  const { status, stdout } = await nearcast(["fleet", "check", file]);
  assert.equal(status, 2);
  const lines = stdout.split("\n");
  for (const line of [
    "  sites[0].place.latitude (line 2): 95 is above the maximum of 90",
    "  hosts[0].freshSeconds (line 3): -1 is below the minimum of 0",
    "  colour (line 4): is not a known key",
    "  presest (line 5): is not a known key; did you mean presets?",
  ]) {
    assert.ok(lines.includes(line), `${line}\nin:\n${stdout}`);
  }
  const asJson = (await nearcast(["fleet", "check", file, "--json"])).json() as {
    ok: boolean;
    problems: { path: string; line: number }[];
  };
  assert.equal(asJson.ok, false);
  assert.deepEqual(asJson.problems.find(({ path }) => path === "colour")?.line, 4);
  assert.equal(asJson.problems.length, lines.filter((line) => line.startsWith("  ")).length);
  // apply says the same and sends nothing: there is no origin it could have asked.
  const applied = await nearcast(["fleet", "apply", file, "--data", folder]);
  assert.equal(applied.status, 2);
  assert.match(applied.stderr, /nothing was published[\s\S]*95 is above the maximum of 90/);
});

test("dig where no node of this machine is known says so, and what to do", async (t) => {
  // `nearcast up` may be running on this machine.
  const isFree = await checkFree([{ host: "127.0.0.1", port: 5300 }]).then(
    () => true,
    () => false,
  );
  if (!needs(t, isFree, "something answers at 127.0.0.1:5300")) return;
  const folder = await temporaryFolder(t, "dig");
  const { status, stderr } = await nearcast(["dig", "img.cdn.test", "--data", join(folder, "none"), "--tcp"]);
  assert.equal(status, 3);
  assert.match(stderr, /^nearcast: no node is configured on this machine, and nothing answers at 127\.0\.0\.1:5300/);
  assert.match(stderr, /--server ADDRESS:53; `npx nearcast status` lists the addresses/);
});

test("the help of status and explain describes their columns", async () => {
  const heads = {
    status: "ASKED STATE FLEET FEED EVENT MEMORY DISK SECRET LEASE FULL REQ/S KEEPS UP LOOP QUEUE ANNOUNCES",
    explain: "KM KEEPS WEIGHT CHOICE",
  };
  for (const [verb, words] of Object.entries(heads)) {
    const { stdout } = await helpOf(verb);
    for (const word of words.split(" ")) assert.match(stdout, new RegExp(`^ {2}${word} `, "m"), `${verb} ${word}`);
  }
});

test("what edges and origins tell to type is in backticks, so that the command can name itself there", async () => {
  const fleetVerbs = "apply|check|diff|releases|rollback|show";
  const typed = new RegExp(
    `(?<![\\w/.:$-])(?<!npx )nearcast (?:up|join|drain|undrain|remove|bgp (?:check|config)|put|ls|rm|versions|` +
      `rollback|purge|verify|backup|restore|fleet (?:${fleetVerbs})|token (?:list|rotate|retire)|audit|status|` +
      "explain|dig)\\b",
    "g",
  );
  const found: string[] = [];
  for (const room of ["node", "origin", "dns"]) {
    const folder = fileURLToPath(new URL(`../../${room}`, import.meta.url));
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
      const file = join(entry.parentPath, entry.name);
      for (const [index, line] of (await readFile(file, "utf8")).split("\n").entries()) {
        if (/^\s*(?:\*|\/\*|\/\/)/.test(line)) continue;
        for (const { index: at } of line.matchAll(typed)) {
          if (line[at - 1] !== "`") found.push(`${relative(folder, file)}:${index + 1}`);
        }
      }
    }
  }
  assert.deepEqual(found, [], "on its own machine: `${command} VERB`; over the network: `nearcast VERB` in backticks");
});

test("put of many files says once that the origin can't be reached, and does not try them all", async (t) => {
  const folder = await temporaryFolder(t, "put");
  for (let count = 0; count < 40; count += 1) await writeFile(join(folder, `${count}.jpg`), "12345");
  await writeFile(join(folder, "writer.token"), "t".repeat(43), { mode: 0o600 });
  const where = ["--origin", "http://127.0.0.1:1", "--token-file", join(folder, "writer.token")];
  const { status, stderr } = await nearcast(["put", folder, "many", ...where]);
  assert.equal(status, 3);
  // While it is tried again, and when it is given up.
  assert.equal(stderr.split("can't be reached").length - 1, 2, stderr);
  assert.match(stderr, /^the origin at http:\/\/127\.0\.0\.1:1 can't be reached: .*; retrying for 14 s\nnearcast: /);
});
