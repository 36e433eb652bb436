/** What the code has is documented, and what the pages name is in the code. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { errorCatalogue } from "#base/errors.ts";
import { documentedVerbs } from "../../deploy/docs/commands-page.ts";
import { documentedKeys } from "../../deploy/docs/configuration-page.ts";
import { generatedPages } from "../../deploy/docs/generate.ts";
import { documentedMetrics } from "../../deploy/docs/metrics-page.ts";
import { documentationPages, type Page, root, spansOf } from "./pages.ts";

const pages = await documentationPages();

function page(name: string): Page {
  const found = pages.find(({ path }) => path === `deploy/docs/${name}`);
  assert.ok(found !== undefined, `deploy/docs/${name}`);
  return found;
}

test("the generated pages are what the code says", async () => {
  for (const [name, text] of await generatedPages()) assert.equal(page(name).text, text, "run: npm run docs");
});

test("every error code is documented with its status, and no other", () => {
  const items = [...page("errors.md").text.matchAll(/^- `([A-Z_]+)`, (\d{3}):/gm)];
  const listed = Object.fromEntries(items.map(([, code = "", status = ""]) => [code, Number(status)]));
  const wanted = Object.fromEntries(Object.entries(errorCatalogue).map(([code, { status }]) => [code, status]));
  assert.deepEqual(listed, wanted);
});

test("every configuration key is documented, and pages name no other", () => {
  const text = page("configuration.md").text;
  const known = new Set<string>();
  for (const keys of documentedKeys().values()) {
    for (const { section, key } of keys) {
      assert.ok(text.includes(`\n- \`${key}\``), `${section}.${key}`);
      // As prose names it: `sites[].bgp` is also sites.bgp.
      for (const path of [section, section === "" ? key : `${section}.${key}`]) known.add(path.replaceAll("[]", ""));
    }
  }
  const sections = new Set([...known].filter((path) => path.includes(".")).map((path) => path.split(".")[0]));
  // File names and the fields of `--json` look alike.
  const others = /\.(?:ts|md|yaml|yml|json|conf|service|token|key|log|nft|sh|mjs|test|com|net|example|mmdb|address)$/;
  const unknown = pages.flatMap((one) =>
    spansOf(one)
      .filter((span) => /^[a-z]\w*(?:\[\])?(?:\.\w+(?:\[\])?)+$/.test(span) && !others.test(span))
      .filter((span) => sections.has(span.split(/[.[]/)[0]))
      .filter((span) => !known.has(span.replaceAll("[]", "")))
      .map((span) => `${one.path}: ${span}`),
  );
  assert.deepEqual(unknown, []);
});

test("every metric is documented, and pages name no other", async () => {
  const { edge, origin } = await documentedMetrics();
  const names = new Set([...edge, ...origin].map(({ name }) => name));
  assert.ok(names.size > 70, `${names.size} metrics`);
  for (const name of names) assert.ok(page("metrics.md").text.includes(`\`${name}\``), name);
  const unknown = pages.flatMap(({ path, text }) =>
    (text.match(/\bnearcast_[a-z_]+[a-z]\b/g) ?? [])
      .filter((name) => !names.has(name))
      .map((name) => `${path}: ${name}`),
  );
  assert.deepEqual(unknown, []);
});

test("the metrics of the code are those of the page", async () => {
  const { edge, origin } = await documentedMetrics();
  const names = new Set([...edge, ...origin].map(({ name }) => name));
  const ofEdge = ["edge-metrics", "cache-metrics", "traffic-metrics", "tls-metrics", "dns-metrics", "metrics-registry"];
  for (const file of [...ofEdge.map((name) => `node/observe/${name}.ts`), "origin/origin-metrics.ts"]) {
    const text = await readFile(join(root, file), "utf8");
    const named = [...text.matchAll(/"(nearcast_[a-z_]+)"/g)].map(([, name = ""]) => name);
    for (const name of named) assert.ok(names.has(name), `${file}: ${name}`);
  }
});

test("every verb is documented, and pages name no other", () => {
  const verbs = documentedVerbs();
  const headings = [...page("commands.md").text.matchAll(/^## nearcast (.+)$/gm)].map(([, verb]) => verb);
  assert.deepEqual(headings, [...verbs.keys()]);
  const firsts = new Set([...verbs.keys()].map((verb) => verb.split(" ")[0]));
  const unknown = pages.flatMap((one) =>
    spansOf(one)
      .map((span) => /^nearcast ([a-z]+)/.exec(span)?.[1])
      .filter((verb) => verb !== undefined && !firsts.has(verb))
      .map((verb) => `${one.path}: ${verb}`),
  );
  assert.deepEqual(unknown, []);
});

test("every dependency is listed with its reason", async () => {
  const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as Record<
    "dependencies" | "optionalDependencies",
    Record<string, string>
  >;
  const wanted = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
  const items = [...page("dependencies.md").text.matchAll(/^- (`.+?): /gm)].map(([, names = ""]) => names);
  const listed = items.flatMap((names) => [...names.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name));
  assert.deepEqual(listed.toSorted(), wanted.toSorted());
});

test("the README names every folder of the top level", () => {
  const readme = pages.find(({ path }) => path === "README.md")?.text ?? "";
  for (const folder of ["node", "dns", "origin", "deploy", "test", "bench"]) {
    assert.ok(readme.includes(`\n${folder}/ `), folder);
  }
});
