/**
 * The runbook, run: every block as it stands in deploy/docs/runbook.md, in its order, on machines of those
 * names.
 *
 *   deploy/docs/runbook.md ─▶ chapters ─▶ blocks ─▶ on a machine each (```sh fra1), in the checkout (```sh build)
 *                                     └ ```yaml FILE: what `editor FILE` makes of that file there
 *
 * A block must succeed. One marked `refused` must be refused (exit status 4), one marked `repeat` succeeds once what it
 * waits for has happened. Between the chapters the test does what a
 * runbook can't: visitors ask for pictures all the while, a release comes out, a machine dies.
 *
 * `npm test` leaves out what the long form has (`longOnly`); `npm run test:long` runs every block.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { machineMs } from "../../lab/machine-clock.ts";
import { type Block, blocksIn } from "../../support/documents.ts";
import { rounds } from "../../support/long.ts";
import { needs } from "../../support/needs.ts";
import { type Ground, openGround, whyNoGround } from "./ground.ts";
import { type Visitors, visitorsOf } from "./visitors.ts";

const file = fileURLToPath(new URL("../../../deploy/docs/runbook.md", import.meta.url));
const blocks = blocksIn(await readFile(file, "utf8"));
const isLong = rounds(0, 1) === 1;

/** Chapters of the long form alone: each waits for another drain of 15 s, or needs what the others do not. */
const longOnly = new Set(["The next node", "A node leaves for good", "Return to the previous release"]);

const refusedStatus = 4;
/** How long a reader of the runbook would repeat a command before he gets worried. */
const repeatMs = 60_000;

/** What visitors ask for: pictures that `nearcast put pictures/` stored, some of which no edge has seen before. */
const host = "img.cdn.example.com";
const nameservers = ["192.0.2.10", "198.51.100.10"];
const picturesOf = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `/${from + index}.jpg?w=${24 + (index % 8)}`);

interface Chapter {
  heading: string;
  blocks: Block[];
}

const chapters = blocks.reduce<Chapter[]>((list, block) => {
  const last = list.at(-1);
  if (last?.heading === block.heading) last.blocks.push(block);
  else list.push({ heading: block.heading, blocks: [block] });
  return list;
}, []);
const chaptersOfThisForm = chapters.filter(({ heading }) => isLong || !longOnly.has(heading));

test("every block of the runbook is run, or says why it is not", () => {
  const headings = new Set(chapters.map(({ heading }) => heading));
  assert.deepEqual(
    [...longOnly].filter((heading) => !headings.has(heading)),
    [],
    "chapters of the long form are there",
  );
  const others = blocks.filter(
    ({ language, words, notRun }) =>
      notRun === undefined && !((language === "sh" || language === "yaml") && words.length > 0),
  );
  assert.deepEqual(
    others.map(({ line }) => `deploy/docs/runbook.md:${line}`),
    [],
    "a fence says where its block is run (```sh fra1), or <!-- not run: WHY --> stands before it",
  );
});

test("the runbook, typed as it stands, runs a fleet", { timeout: 1_800_000 }, async (t) => {
  const reason = await whyNoGround();
  if (!needs(t, reason === undefined, reason ?? "")) return;
  const ground = await openGround(t);
  const visits = openVisits(ground);
  t.after(async () => await visits.end());
  let isBroken = false;
  for (const { heading, blocks: steps } of chaptersOfThisForm) {
    await t.test(heading, async (chapter) => {
      if (isBroken) {
        chapter.skip("a chapter before it failed");
        return;
      }
      isBroken = true;
      await before(heading, ground, visits);
      for (const step of steps) {
        const ran = await follow(step, ground);
        if (ran !== undefined) chapter.diagnostic(ran);
      }
      isBroken = false;
    });
  }
  await visits.end();
  if (!isBroken) await nodesHadNothingToComplainAbout(ground);
});

/** Units, users and limits as they are shipped: what a node can't do under them, it says in its journal. */
async function nodesHadNothingToComplainAbout(ground: Ground): Promise<void> {
  for (const name of ["fra1", "nyc1"]) {
    const { output } = await ground.run(name, "journalctl --no-pager --unit nearcast-edge --output cat");
    const complaints = output
      .split("\n")
      .filter((line) => /without a (?:memory ceiling|system-call filter)/.test(line));
    assert.deepEqual(complaints, [], name);
  }
}

/** @returns what was run, and how long it took */
async function follow(block: Block, ground: Ground): Promise<string | undefined> {
  const { language, words, text, line, notRun } = block;
  if (notRun !== undefined) return undefined;
  if (language === "yaml") {
    await ground.stateEdit(block);
    return undefined;
  }
  const [where = "", expected] = words;
  const wanted = expected === "refused" ? refusedStatus : 0;
  let ran = await ground.run(where, text);
  if (expected === "repeat") {
    await soon(async () => {
      if (ran.status !== wanted) ran = await ground.run(where, text);
      return ran.status === wanted;
    });
  }
  if (ran.status !== wanted) {
    const said = `status ${ran.status} instead of ${wanted}\n${text}\n${ran.output}`;
    assert.fail(`deploy/docs/runbook.md:${line}, on ${where}: ${said}\n${await ground.logOf(where)}`);
  }
  return `line ${line}, ${where}: ${ran.tookMs} ms\n${ran.output}`;
}

/** Visitors from the first nodes on; each chapter may exchange them for others. */
interface Visits {
  /** Those of before leave, all of whom must have got their pictures; others come. */
  begin: (paths: string[]) => Promise<void>;
  end: () => Promise<void>;
}

function openVisits({ network }: Ground): Visits {
  let visitors: Visitors | undefined;
  const end = async (): Promise<void> => {
    const report = await visitors?.leave();
    visitors = undefined;
    if (report === undefined) return;
    assert.deepEqual(report.failures, [], `of ${report.requests} requests`);
    assert.ok(report.requests > 0, "visitors asked");
  };
  return {
    end,
    async begin(paths) {
      await end();
      visitors = visitorsOf(network, { nameservers, host, paths, intervalMs: 100 });
    },
  };
}

/** What a runbook can't do: the world around it. */
async function before(heading: string, ground: Ground, visits: Visits): Promise<void> {
  switch (heading) {
    case "Upgrade, one node at a time":
      await ground.publish();
      await visits.begin(picturesOf(0, 50));
      return;
    case "Roll back":
      await visits.end();
      await nodesRunTheNewRelease(ground);
      return;
    case "The origin is lost":
      // Pictures that the edges have: nothing else can be had while there is no origin.
      await visits.begin(picturesOf(0, 50));
      await ground.lose("origin");
      await ground.replace("origin");
      return;
    case "Rotate secrets":
      // Pictures that no edge has: each is a request with the edge token.
      await visits.begin(picturesOf(100, 300));
      return;
    case "End the older edge token":
      await edgesUseTheNewToken(ground);
      return;
    case "A node under attack":
      await visits.end();
      return;
    default:
  }
}

async function nodesRunTheNewRelease(ground: Ground): Promise<void> {
  const versions = await Promise.all(
    ["workstation", "origin", "fra1"].map(async (name) => (await ground.run(name, "nearcast --version")).output),
  );
  assert.equal(new Set(versions).size, 1, versions.join(", "));
  const { output } = await ground.run("fra1", "ls /opt/nearcast/releases");
  assert.equal(output.trim().split("\n").length, 2, "the release before stays");
}

async function edgesUseTheNewToken(ground: Ground): Promise<void> {
  const areThere = await soon(async () => {
    const { status, output } = await ground.run("workstation", "nearcast token list --json");
    if (status !== 0) return false;
    const { tokens } = JSON.parse(output) as { tokens: { kind: string; current: boolean; usedFrom: string[] }[] };
    const current = tokens.find(({ kind, current: isCurrent }) => kind === "edge" && isCurrent);
    return ["10.0.1.1", "10.0.2.1"].every((address) => current?.usedFrom.includes(address));
  });
  assert.ok(areThere, `both edges use the new token within ${repeatMs} ms`);
}

/** Whether it becomes so within the time that a reader would wait. */
async function soon(isSo: () => Promise<boolean>): Promise<boolean> {
  const deadlineMs = machineMs() + repeatMs;
  while (!(await isSo())) if (machineMs() > deadlineMs) return false;
  return true;
}
