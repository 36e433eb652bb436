import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { CommandFailure, exitCodes } from "../../../deploy/cli/exit-codes.ts";
import { putImage } from "../../../deploy/cli/origin-api.ts";
import { createOriginClient } from "../../../deploy/cli/origin-client.ts";
import { startTestOrigin } from "../../origin/running-origin.ts";
import { temporaryFolder } from "../support/command.ts";

test("a file that can't be read is no origin that can't be reached", async (t) => {
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  const folder = await temporaryFolder(t, "put");
  await mkdir(join(folder, "folder.jpg"));
  const client = createOriginClient({ url: origin.url, urlFrom: "--origin", token: async () => origin.tokens.writer });
  t.after(client.close);
  for (const [name, reason] of [
    ["gone.jpg", /gone\.jpg can't be read: ENOENT/],
    ["folder.jpg", /folder\.jpg can't be read: EISDIR/],
  ] as const) {
    const source = { file: join(folder, name), sizeBytes: 5, onBytes: () => {} };
    await assert.rejects(putImage(client, name, source), (error) => {
      assert.ok(error instanceof CommandFailure);
      assert.match(error.message, reason);
      assert.equal(error.exitCode, exitCodes.failed);
      return true;
    });
  }
});
