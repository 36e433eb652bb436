/** The longest fleet documents: while the origin reads and reviews one, it goes on answering. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { recordsDocument, zoneTextDocument } from "../support/long-documents.ts";
import { longestTurn } from "../support/turns.ts";
import { startTestOrigin } from "./running-origin.ts";

/** Of CPU; a text of 4 MB alone takes some 30 ms on its way in and into the catalogue. */
const turnMsMax = 150;

for (const [what, text] of [
  ["4 MB of zone file", zoneTextDocument()],
  ["10,000 records of YAML", recordsDocument()],
] as const) {
  test(`${what}: no turn of the origin takes ${turnMsMax} ms, whatever is done with it`, async (t) => {
    const scope = { after: (cleanUp: () => Promise<void>) => t.after(cleanUp) };
    const origin = await startTestOrigin(scope);
    const changed = text.replace("10.0.0.7", "10.9.9.9");
    const other = changed.replace("10.0.0.8", "10.9.9.8");
    const calls: [what: string, status: number, method: string, path: string, body?: string][] = [
      ["first", 201, "PUT", "/fleet", text],
      ["the next", 201, "PUT", "/fleet", changed],
      ["dry run", 200, "PUT", "/fleet?dryRun=true", other],
      ["with a problem", 422, "PUT", "/fleet", other.replace("policy: geo", "policy: astrology")],
      ["rollback", 201, "POST", "/fleet/rollbacks", "{}"],
      ["nodes", 200, "GET", "/nodes/connected"],
    ];
    for (const [step, status, method, path, body] of calls) {
      const headers = { "content-type": path.startsWith("/fleet/") ? "application/json" : "application/yaml" };
      const { longestMs, totalMs } = await longestTurn(async () => {
        const answer = await origin.call(method, path, body === undefined ? {} : { body, headers });
        assert.equal(answer.status, status, `${step}: ${(await answer.text()).slice(0, 500)}`);
      });
      t.diagnostic(`${step}: longest turn ${longestMs.toFixed(0)} ms, ${totalMs.toFixed(0)} ms in all`);
      assert.ok(longestMs < turnMsMax, `${step}: ${longestMs} ms`);
    }
    await origin.close();
    const restarted = await longestTurn(async () => await startTestOrigin(scope, { dataDir: origin.dataDir }));
    t.diagnostic(`restart: longest turn ${restarted.longestMs.toFixed(0)} ms`);
    assert.ok(restarted.longestMs < turnMsMax, `restart: ${restarted.longestMs} ms`);
  });
}

const nyc = "sites:\n  - name: nyc\n    place: { latitude: 40, longitude: -74 }\n";

test("what happens while a document is judged counts: a node that joined meanwhile is not lost", async (t) => {
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  const text = zoneTextDocument(2000);
  await origin.json(201, "PUT", "/fleet", { body: text.replace("sites:\n", nyc) });
  // Without nyc, where nobody is yet.
  const publishing = origin.call("PUT", "/fleet", { body: text });
  const node = { site: "nyc", http: "http://192.0.2.77:8080", addresses: ["192.0.2.77"] };
  const headers = { "content-type": "application/json" };
  await origin.json(201, "POST", "/nodes", { body: JSON.stringify(node), headers });
  const refused = await publishing;
  assert.deepEqual([refused.status, ((await refused.json()) as { code: string }).code], [409, "DANGEROUS_FLEET"]);
});

test("documents that are published at once follow each other, each judged against the one before it", async (t) => {
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  const text = zoneTextDocument(2000);
  await origin.json(201, "PUT", "/fleet", { body: text });
  const presets = ["a", "b", "c"].map((name) => `${text}presets: { ${name}: { w: 300 } }\n`);
  const answers = await Promise.all(presets.map(async (body) => await origin.json(201, "PUT", "/fleet", { body })));
  assert.deepEqual(new Set(answers.map(({ version }) => version)), new Set([2, 3, 4]));
  for (const { version, summary } of answers) {
    const added = version === 2 ? /^preset [abc] added$/ : /^preset [abc] added; preset [abc] removed$/;
    assert.match(String(summary), added);
  }
  // With a precondition, one wins and the others are told.
  const ifMatch = { "if-match": '"4"' };
  const more = await Promise.all(
    presets.map(async (body) => await origin.call("PUT", "/fleet", { body: `${body}# again\n`, headers: ifMatch })),
  );
  assert.deepEqual(more.map(({ status }) => String(status)).toSorted(), ["201", "412", "412"]);
});
