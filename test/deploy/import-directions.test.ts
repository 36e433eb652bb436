/** The lint rules that keep the rooms apart really report what they forbid, and nothing that is allowed. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

const imports: [file: string, imported: string, verdict: "allowed" | "forbidden"][] = [
  ["node/base/probe.ts", "./clock.ts", "allowed"],
  ["node/base/probe.ts", "../config.ts", "forbidden"],
  ["node/base/probe.ts", "#document/document.ts", "forbidden"],
  ["node/base/probe.ts", "#record/zone.ts", "forbidden"],
  ["node/base/probe.ts", "#image/pool.ts", "forbidden"],
  ["node/secret/probe.ts", "#base/clock.ts", "allowed"],
  ["node/secret/probe.ts", "#document/document.ts", "forbidden"],
  ["node/document/probe.ts", "#record/zone.ts", "allowed"],
  ["node/document/schema/probe.ts", "../policies.ts", "allowed"],
  ["node/document/schema/probe.ts", "../../cache/disk/disk-tier.ts", "forbidden"],
  ["node/document/probe.ts", "#health/health.ts", "forbidden"],
  ["node/document/probe.ts", "#image/pool.ts", "forbidden"],
  ["node/document/probe.ts", "../cache/disk/disk-tier.ts", "forbidden"],
  ["node/health/probe.ts", "#document/document.ts", "allowed"],
  ["node/health/probe.ts", "#follow/feed.ts", "forbidden"],
  ["node/health/probe.ts", "../fetch/http-probe.ts", "forbidden"],
  ["node/purge/probe.ts", "#document/document.ts", "allowed"],
  ["node/purge/kinds/probe.ts", "../entry-tags.ts", "allowed"],
  ["node/purge/probe.ts", "#follow/feed.ts", "forbidden"],
  ["node/purge/kinds/probe.ts", "../../cache/purge.ts", "forbidden"],
  ["node/document/probe.ts", "#purge/kinds.ts", "forbidden"],
  ["node/cache/probe.ts", "#purge/entry-tags.ts", "allowed"],
  ["dns/zone/probe.ts", "#purge/kinds.ts", "forbidden"],
  ["node/follow/probe.ts", "#document/document.ts", "allowed"],
  ["node/follow/probe.ts", "#health/health.ts", "forbidden"],
  ["node/follow/probe.ts", "../fetch/origin.ts", "forbidden"],
  ["node/review/probe.ts", "#health/health.ts", "allowed"],
  ["node/review/probe.ts", "#follow/feed.ts", "forbidden"],
  ["node/variant/probe.ts", "#document/document.ts", "allowed"],
  ["node/variant/probe.ts", "../cache/disk/disk-tier.ts", "forbidden"],
  ["node/cache/probe.ts", "#base/clock.ts", "allowed"],
  ["node/cache/probe.ts", "../variant/key.ts", "forbidden"],
  ["node/cache/probe.ts", "../fetch/origin.ts", "forbidden"],
  ["node/cache/disk/probe.ts", "../object.ts", "allowed"],
  ["node/cache/disk/probe.ts", "../../fetch/origin.ts", "forbidden"],
  ["node/cache/probe.ts", "#image/pool.ts", "forbidden"],
  ["node/fetch/http-probe.ts", "../cache/disk/disk-tier.ts", "forbidden"],
  ["node/image/probe.ts", "#base/clock.ts", "allowed"],
  ["node/image/probe.ts", "../variant/variant.ts", "forbidden"],
  ["node/image/probe.ts", "#document/document.ts", "forbidden"],
  ["node/deliver/probe.ts", "#base/body.ts", "allowed"],
  ["node/deliver/probe.ts", "../cache/object.ts", "allowed"],
  ["node/deliver/probe.ts", "../serve/machine.ts", "forbidden"],
  ["node/deliver/probe.ts", "../http/http1-sink.ts", "forbidden"],
  ["node/deliver/probe.ts", "#document/document.ts", "forbidden"],
  ["node/cache/probe.ts", "../deliver/sink.ts", "forbidden"],
  ["node/front/probe.ts", "../deliver/sink.ts", "allowed"],
  ["node/front/probe.ts", "../serve/asset.ts", "forbidden"],
  ["node/tls/probe.ts", "../deliver/turns.ts", "allowed"],
  ["node/tls/probe.ts", "#secret/derived-keys.ts", "allowed"],
  ["node/tls/probe.ts", "../front/relay.ts", "forbidden"],
  ["node/tls/probe.ts", "#document/document.ts", "forbidden"],
  ["node/front/probe.ts", "../http/listener.ts", "forbidden"],
  ["node/serve/probe.ts", "../front/front.ts", "forbidden"],
  ["node/http/probe.ts", "../front/front.ts", "allowed"],
  ["node/serve/probe.ts", "../cache/disk/disk-tier.ts", "allowed"],
  ["node/serve/probe.ts", "../deliver/outcome.ts", "allowed"],
  ["node/serve/probe.ts", "../http/context.ts", "forbidden"],
  ["node/serve/probe.ts", "../../dns/start.ts", "forbidden"],
  ["node/edge-probe.ts", "../dns/start.ts", "forbidden"],
  ["node/main.ts", "../dns/start.ts", "allowed"],
  ["node/main.ts", "../origin/app.ts", "forbidden"],
  ["node/http/probe.ts", "../../origin/app.ts", "forbidden"],
  ["node/http/probe.ts", "../../test/support/ask.ts", "forbidden"],
  ["dns/zone/probe.ts", "../wire/name.ts", "allowed"],
  ["dns/zone/probe.ts", "#base/clock.ts", "allowed"],
  ["dns/zone/probe.ts", "#document/document.ts", "allowed"],
  ["dns/zone/probe.ts", "#record/zone.ts", "allowed"],
  ["dns/zone/probe.ts", "#follow/feed.ts", "forbidden"],
  ["dns/zone/probe.ts", "#image/pool.ts", "forbidden"],
  ["dns/record/probe.ts", "#base/schema.ts", "allowed"],
  ["dns/record/zone-file/probe.ts", "../names.ts", "allowed"],
  ["dns/record/probe.ts", "#document/document.ts", "forbidden"],
  ["dns/record/probe.ts", "../wire/name.ts", "forbidden"],
  ["dns/record/zone-file/probe.ts", "../../wire/name.ts", "forbidden"],
  ["dns/zone/probe.ts", "../../node/cache/disk/disk-tier.ts", "forbidden"],
  ["dns/zone/probe.ts", "../../origin/app.ts", "forbidden"],
  ["dns/zone/probe.ts", "../../bench/dns.ts", "forbidden"],
  ["origin/routes/probe.ts", "#image/pool.ts", "allowed"],
  ["origin/routes/probe.ts", "../../node/cache/disk/disk-tier.ts", "forbidden"],
  ["origin/routes/probe.ts", "../../dns/start.ts", "forbidden"],
  ["origin/probe.ts", "../test/support/ask.ts", "forbidden"],
  ["deploy/cli/probe.ts", "#document/document.ts", "allowed"],
  ["deploy/cli/probe.ts", "../../node/config.ts", "allowed"],
  ["deploy/cli/verbs/up/probe.ts", "../../../../origin/config.ts", "allowed"],
  ["deploy/cli/probe.ts", "../../node/edge/edge.ts", "forbidden"],
  ["deploy/cli/probe.ts", "../../origin/backup/restore.ts", "allowed"],
  ["deploy/cli/probe.ts", "../../origin/app.ts", "forbidden"],
  ["deploy/cli/probe.ts", "../../dns/start.ts", "forbidden"],
  ["deploy/cli/probe.ts", "../../test/support/ask.ts", "forbidden"],
  ["deploy/docs/probe.ts", "../../node/observe/edge-metrics.ts", "allowed"],
  ["deploy/docs/probe.ts", "../../test/support/ask.ts", "forbidden"],
  ["bench/probe.ts", "../node/edge/edge.ts", "allowed"],
  ["bench/probe.ts", "../test/support/ask.ts", "forbidden"],
  ["test/node/probe.ts", "../../node/edge/edge.ts", "allowed"],
  ["test/node/probe.ts", "../../bench/dns.ts", "forbidden"],
];

const properties: [file: string, expression: string, verdict: "allowed" | "forbidden"][] = [
  ["node/cache/probe.ts", "Date.now()", "forbidden"],
  ["node/base/clock.ts", "Date.now()", "allowed"],
  ["dns/io/probe.ts", "performance.now()", "forbidden"],
  ["node/base/random.ts", "Math.random()", "allowed"],
  ["origin/probe.ts", "Math.random()", "forbidden"],
  ["origin/config.ts", "process.env", "allowed"],
  ["origin/probe.ts", "process.env", "forbidden"],
  ["origin/main.ts", "process.exit()", "allowed"],
  ["node/edge-probe.ts", "process.exit()", "forbidden"],
  ["deploy/cli/main.ts", "process.env", "allowed"],
  ["deploy/cli/probe.ts", "process.env", "forbidden"],
  ["deploy/cli/probe.ts", "process.exit()", "forbidden"],
];

test("each forbidden import and property is reported, each allowed one is not", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "nearcast-lint-"));
  t.after(async () => {
    await rm(folder, { recursive: true });
  });
  // Types would need the whole project around each probe; these rules look at text alone.
  const config = JSON.parse(await readFile(join(root, ".oxlintrc.json"), "utf8")) as Record<string, unknown>;
  delete config["options"];
  await writeFile(join(folder, ".oxlintrc.json"), JSON.stringify(config));

  // One line of one file for each case, so that a report's place says which case it is.
  const lines = new Map<string, string[]>();
  const expected: { file: string; line: number; rule: string; what: string; verdict: string }[] = [];
  const add = (file: string, text: string, rule: string, verdict: string): void => {
    const before = lines.get(file) ?? [];
    lines.set(file, [...before, text]);
    expected.push({ file, line: before.length + 1, rule, what: `${file}: ${text}`, verdict });
  };
  for (const [file, imported, verdict] of imports) add(file, `import ${JSON.stringify(imported)};`, "imports", verdict);
  for (const [file, expression, verdict] of properties) add(file, `void ${expression};`, "properties", verdict);
  for (const [file, text] of lines) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), `${text.join("\n")}\n`);
  }

  const reports = await lint(folder);
  for (const { file, line, rule, what, verdict } of expected) {
    const isReported = reports.some(
      (report) => report.file === file && report.line === line && report.rule.includes(`no-restricted-${rule}`),
    );
    assert.equal(isReported ? "forbidden" : "allowed", verdict, what);
  }
});

test("an import cycle is reported, over relative paths, over aliases, and through types", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "nearcast-lint-"));
  t.after(async () => {
    await rm(folder, { recursive: true });
  });
  const config = JSON.parse(await readFile(join(root, ".oxlintrc.json"), "utf8")) as Record<string, unknown>;
  delete config["options"];
  const files: Record<string, string> = {
    ".oxlintrc.json": JSON.stringify(config),
    "package.json": await readFile(join(root, "package.json"), "utf8"),
    "node/peer/one.ts": 'import { two } from "./two.ts";\nexport const one = () => two;\n',
    "node/peer/two.ts": 'import { one } from "./one.ts";\nexport const two = () => one;\n',
    "node/health/one.ts": 'import { three } from "#document/three.ts";\nexport const four = () => three;\n',
    "node/document/three.ts": 'import { four } from "#health/one.ts";\nexport const three = () => four;\n',
    "node/peer/type.ts": 'import { six } from "./value.ts";\nexport type Six = typeof six;\n',
    "node/peer/value.ts": 'import type { Six } from "./type.ts";\nexport const six: Six | 6 = 6;\n',
    "node/peer/alone.ts": 'import { one } from "./one.ts";\nexport const five = () => one;\n',
  };
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), text);
  }
  const reports = (await lint(folder)).filter(({ rule }) => rule.includes("no-cycle"));
  assert.deepEqual(reports.map(({ file }) => file).toSorted(), [
    "node/document/three.ts",
    "node/health/one.ts",
    "node/peer/one.ts",
    "node/peer/two.ts",
    "node/peer/type.ts",
    "node/peer/value.ts",
  ]);
});

async function lint(folder: string): Promise<{ file: string; line: number; rule: string }[]> {
  const output = await new Promise<string>((resolve) => {
    // Its status is 1 when it has something to report, which is the point here.
    execFile(join(root, "node_modules/.bin/oxlint"), ["--format", "json", "."], { cwd: folder }, (_error, stdout) => {
      resolve(stdout);
    });
  });
  const { diagnostics } = JSON.parse(output) as {
    diagnostics: { code: string; filename: string; labels: { span: { line: number } }[] }[];
  };
  return diagnostics.map(({ code, filename, labels }) => ({
    file: filename.replace(/^\.\//, ""),
    line: labels[0]?.span.line ?? 0,
    rule: code,
  }));
}
