/** Many certificates are renewed at once under load: no request fails, and no turn of the main thread is long. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "#base/clock.ts";
import { openCertificates } from "../../../node/tls/certificates.ts";
import { certificateFor, writePair } from "../../support/certificates.ts";
import { keptLog } from "../../support/kept-log.ts";
import { rounds } from "../../support/long.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { startHandshakes, timeHits } from "../../support/tls-crowd.ts";
import { longestTurn } from "../../support/turns.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { openSecure, startSecured, testBoth } from "./secured.ts";

const certificates = rounds(200, 2000);
/** A few batches of files in one turn. */
const turnMsMax = 200;

testBoth("all certificates are renewed at once, under load", async (t, through) => {
  const directory = await temporaryDirectory(t);
  const names = Array.from({ length: certificates }, (_, at) => `h${at}.example`);
  const write = async (): Promise<void> => {
    for (const name of names) await writePair(join(directory, name), await certificateFor([name]));
  };
  await write();
  const settings = { certificates: [], certificateDirectory: directory };
  const changed = (): void => undefined;
  const opened = await openCertificates({ settings, changed, clock: systemClock, log: keptLog().log });
  t.after(opened.close);
  const secured = await startSecured(t, opened.index, { through });
  const { port } = secured.listener;

  const handshakes = startHandshakes(t, { port, name: "h5.example", networks: 4, clients: 4 });
  let longestMs = 0;
  const hits = await timeHits(
    t,
    { port, name: "h1.example", from: 200, networks: 4, clients: 4, target: "/hit" },
    async () => {
      await write();
      // Making them took most of the time; that they are read and told to lanes is what counts.
      const { longestMs: most } = await longestTurn(async () => {
        await turnsUntil(() => opened.counts().reloads >= certificates, 20);
        await sleep(1500);
      });
      longestMs = most;
    },
  );
  secured.refresh();
  const done = handshakes.done();
  t.diagnostic(`${hits.requests} hits, p99 ${hits.p99Ms.toFixed(1)} ms; ${done} handshakes`);
  t.diagnostic(`the longest turn of the main thread took ${longestMs.toFixed(1)} ms`);
  assert.equal(hits.failures, 0);
  assert.ok(done > 0 && hits.requests > 0);
  assert.equal(opened.counts().failedReloads, 0);
  assert.ok(longestMs < turnMsMax, `a turn took ${longestMs.toFixed(1)} ms`);
  const last = names.at(-1) ?? "";
  const socket = await openSecure(t, { port }, { servername: last });
  const served = opened.all().find((one) => one.names.includes(last));
  assert.equal(socket.getPeerX509Certificate()?.fingerprint256.replaceAll(":", "").toLowerCase(), served?.fingerprint);
});
