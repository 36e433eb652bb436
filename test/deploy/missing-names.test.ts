/** Names and versions that are not there: each verb says so in the same words, with what there is instead. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { stringify } from "yaml";
import { jpeg, startTestOrigin } from "../origin/running-origin.ts";
import { fleetValue } from "../support/fleet.ts";
import { eachOf, nearcast } from "./support/command.ts";

test("a picture, a version or a fleet version that is not there", async (t) => {
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  const where = ["--origin", origin.url, "--token-file", origin.tokenFiles.writer];
  for (const [name, mark] of [
    ["shop/chair.jpg", 1],
    ["shop/chair.jpg", 2],
    ["once.jpg", 3],
  ] as const) {
    assert.ok((await origin.call("PUT", `/images/${name}`, { body: await jpeg(mark) })).ok, name);
  }
  const none = await nearcast(["fleet", "rollback", "1", ...where]);
  assert.match(
    none.stderr,
    /^nearcast: no fleet document has been published yet\n  Publish one: npx nearcast fleet apply/,
  );
  for (const colour of ["one.test", "two.test"]) {
    const body = stringify(fleetValue({ hosts: [{ name: colour, kind: "images" }] }));
    assert.ok((await origin.call("PUT", "/fleet?force=true", { body })).ok);
  }
  const chair = 'no picture named "shop/chiar.jpg"; did you mean "shop/chair.jpg"?';
  const cases: [words: string[], says: string][] = [
    [["rm", "shop/chiar.jpg"], `${chair}\n`],
    [["versions", "shop/chiar.jpg"], `nearcast: ${chair}\n  \`npx nearcast ls\` lists all pictures.\n`],
    [["versions", "chair.jpg"], 'nearcast: no picture named "chair.jpg"\n  `npx nearcast ls` lists all pictures.\n'],
    [["versions", "shp/chair.jpg"], 'nearcast: no picture named "shp/chair.jpg"; did you mean "shop/chair.jpg"?\n'],
    [["rollback", "shop/chiar.jpg"], `nearcast: ${chair}\n`],
    [["rollback", "shop/chiar.jpg", "9"], `nearcast: ${chair}\n`],
    [
      ["rollback", "shop/chair.jpg", "9"],
      'nearcast: "shop/chair.jpg" has no version 9; it has 1, 2\n' +
        "  `npx nearcast versions shop/chair.jpg` describes each version.\n",
    ],
    [["rollback", "once.jpg"], 'nearcast: "once.jpg" has no earlier version'],
    [
      ["fleet", "rollback", "77"],
      "nearcast: the fleet document has no version 77; it has 1, 2\n" +
        "  `npx nearcast fleet releases` shows what each changed.\n",
    ],
    [["fleet", "show", "--version", "77"], "nearcast: the fleet document has no version 77; it has 1, 2\n"],
  ];
  const ran = await eachOf(cases, async ([words, says]) => ({
    words,
    says,
    result: await nearcast([...words, ...where]),
  }));
  for (const { words, says, result } of ran) {
    assert.equal(result.status, 4, `${words.join(" ")}: ${result.stderr}`);
    assert.ok(result.stderr.startsWith(says), `${words.join(" ")}: ${result.stderr}\nnot: ${says}`);
  }
  // The API says it in the same words, whatever is done with the name.
  for (const [method, path] of [
    ["DELETE", "/images/none.jpg"],
    ["GET", "/images/none.jpg"],
    ["GET", "/versions/none.jpg"],
  ] as const) {
    const { detail } = await origin.json<{ detail: string }>(404, method, path);
    assert.equal(detail, 'no picture named "none.jpg"', `${method} ${path}`);
  }
});

test("the help of rollback is about pictures, and sends to the fleet's own verb", async () => {
  const { stdout } = await nearcast(["rollback", "--help"]);
  assert.match(stdout, /^Usage: nearcast rollback \[options\] <name> \[version\]\n/);
  assert.match(stdout, /`npx nearcast fleet rollback \[version\]`/);
  assert.doesNotMatch(stdout, /--force|--yes|--dry-run|--if-version/);
});
