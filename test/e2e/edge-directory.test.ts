/** An edge's own files: one process for each data directory, a private token, and damage that is told. */
import assert from "node:assert/strict";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type Ran, start } from "../support/started.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { turnsUntil } from "../support/turns-until.ts";

const main = fileURLToPath(new URL("../../node/main.ts", import.meta.url));

interface Place {
  directory: string;
  tokenFile: string;
  /** Settings of an edge with this data directory, whose origin answers nobody. */
  configFile: (name: string, ports?: { http: number; admin: number }) => Promise<string>;
}

async function place(t: TestContext): Promise<Place> {
  const directory = await temporaryDirectory(t);
  const tokenFile = join(directory, "edge.token");
  await writeFile(tokenFile, "t".repeat(43), { mode: 0o600 });
  const host = `127.${200 + Math.floor(Math.random() * 20)}.${Math.floor(Math.random() * 250)}.1`;
  return {
    directory,
    tokenFile,
    async configFile(name, { http, admin } = { http: 0, admin: 0 }) {
      const file = join(directory, `${name}.yaml`);
      await writeFile(
        file,
        `{ node: ${name}, site: fra, dataDir: ${directory}/data, decoders: { processes: 1 }, dns: { addresses: [] },
           origin: { url: "http://127.0.0.1:9", tokenFile: ${tokenFile} },
           http: [{ host: ${host}, port: ${http} }], admin: { host: ${host}, port: ${admin} } }`,
      );
      return file;
    },
  };
}

const waits = "no fleet document yet";

async function isUp(edge: Ran): Promise<void> {
  assert.ok(await edge.saying(waits), edge.said());
}

test("a second edge on a data directory is refused; a killed one holds nothing", async (t) => {
  const { directory, configFile } = await place(t);
  const first = start(t, [main, "--config", await configFile("fra1")]);
  await isUp(first);
  const second = start(t, [main, "--config", await configFile("fra2")]);
  assert.equal(await second.ended, 1);
  const message = `another edge is running on ${directory}/data: stop it, or give this one a data directory`;
  assert.ok(second.said().includes(message), second.said());
  first.child.kill("SIGKILL");
  await first.ended;
  await isUp(start(t, [main, "--config", await configFile("fra2")]));
});

test("processes of one edge have a directory each, and keep others out", async (t) => {
  const { directory, configFile } = await place(t);
  const several = start(t, [
    main,
    "--config",
    await configFile("fra1", { http: 8080, admin: 8090 }),
    "--processes",
    "2",
  ]);
  await turnsUntil(() => {
    assert.equal(several.child.exitCode, null, several.said());
    return several.said().split(waits).length >= 3;
  }, 50);
  const other = start(t, [main, "--config", await configFile("fra2")]);
  assert.equal(await other.ended, 1);
  assert.match(other.said(), /another edge is running on/);
  for (const held of ["data/lock.sqlite", "data/process-1/lock.sqlite"]) {
    assert.throws(
      () => new DatabaseSync(join(directory, held), { timeout: 0 }).exec("BEGIN EXCLUSIVE"),
      /locked/,
      held,
    );
  }
  several.child.kill("SIGTERM");
  await several.ended;
});

test("a token that others can read is refused, with the command that mends it", async (t) => {
  const { tokenFile, configFile } = await place(t);
  const file = await configFile("fra1");
  for (const mode of [0o644, 0o640, 0o604]) {
    await chmod(tokenFile, mode);
    const edge = start(t, [main, "--config", file]);
    assert.equal(await edge.ended, 1);
    const octal = mode.toString(8);
    const said = `${tokenFile} has mode 0${octal}, so others can read the edge token: run \`chmod 600 ${tokenFile}\``;
    assert.ok(edge.said().includes(said), edge.said());
    assert.ok(!edge.said().includes("delete it"), "an edge can't make a new one");
    assert.ok(!edge.said().includes("tttt"), "the token itself is not told");
  }
  await chmod(tokenFile, 0o400);
  await isUp(start(t, [main, "--config", file]));
});

test("each damaged file is reported with its path and what follows, and the edge goes on", async (t) => {
  const { directory, configFile } = await place(t);
  await mkdir(join(directory, "data"), { recursive: true });
  const damaged: Record<string, string> = {
    "fleet.json": '{"version":3,"text":"zones: [',
    "feed.json": "",
    "roster.json": "[]",
    "secret.json": '{"current":"not-for-the-log',
  };
  for (const [name, content] of Object.entries(damaged)) await writeFile(join(directory, "data", name), content);
  const edge = start(t, [main, "--config", await configFile("fra1")]);
  await isUp(edge);
  const told = edge
    .said()
    .split("\n")
    .filter((line) => line.includes("a file of this edge is damaged"))
    .map((line) => JSON.parse(line) as Record<string, string>);
  assert.deepEqual(
    told.map(({ file = "" }) => file).toSorted(),
    Object.keys(damaged)
      .map((name) => join(directory, "data", name))
      .toSorted(),
  );
  for (const { problem, consequence } of told) assert.ok(problem !== "" && (consequence ?? "").length > 20);
  assert.match(JSON.stringify(told), /copy the file from another node of the fleet/);
  assert.ok(!edge.said().includes("not-for-the-log"), "what is in a secret's file is not told");
});

test("a file that can't be read stops the edge, with its path and what to look at", async (t) => {
  const { directory, configFile } = await place(t);
  // A folder can be read by nobody as a file, not even by root.
  await mkdir(join(directory, "data/fleet.json"), { recursive: true });
  const edge = start(t, [main, "--config", await configFile("fra1")]);
  assert.equal(await edge.ended, 1);
  assert.ok(
    edge
      .said()
      .includes(
        `can't read the fleet document in ${directory}/data/fleet.json (it is a directory): check the file and `,
      ),
    edge.said(),
  );
});

test("--check-config says ok, and of which file", async (t) => {
  const file = await (await place(t)).configFile("fra1");
  const checked = start(t, [main, "--config", file, "--check-config"]);
  assert.equal(await checked.ended, 0);
  assert.equal(checked.said(), `${file}: ok\n`);
});
