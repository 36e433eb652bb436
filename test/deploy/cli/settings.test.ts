/** Which nodes the command takes for those of this machine. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { stringify } from "yaml";
import { findNodes } from "../../../deploy/cli/settings.ts";
import { temporaryFolder } from "../support/command.ts";

test("what is left of a trial in ./data is not asked where another origin is named", async (t) => {
  const folder = await temporaryFolder(t, "settings");
  await mkdir(join(folder, "data"));
  const origin = { url: "http://127.0.0.1:7070", tokenFile: "edge.token" };
  await writeFile(join(folder, "data", "edge-fra1.yaml"), stringify({ node: "fra1", site: "fra", origin }));
  const before = process.cwd();
  process.chdir(folder);
  t.after(() => process.chdir(before));
  const names = async (...[options, environment]: Parameters<typeof findNodes>): Promise<string[]> =>
    (await findNodes(options, environment)).map(({ name }) => name);
  const elsewhere = "http://192.0.2.1:7070";
  assert.deepEqual(await names({}, {}), ["fra1"]);
  assert.deepEqual(await names({ origin: "http://127.0.0.1:7070/" }, {}), ["fra1"]);
  assert.deepEqual(await names({ origin: elsewhere }, {}), []);
  assert.deepEqual(await names({}, { NEARCAST_ORIGIN: elsewhere }), []);
  assert.deepEqual(await names({}, { NEARCAST_ORIGIN: "" }), ["fra1"], "an empty variable is not set");
  assert.deepEqual(await names({ data: "data" }, { NEARCAST_ORIGIN: elsewhere }), ["fra1"], "the folder was named");
});
