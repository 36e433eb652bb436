/** Servers that never end what stands around a body: none keeps the asker's thread busy for long. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import { systemClock } from "#base/clock.ts";
import { openAssetFetcher } from "../../../node/fetch/asset.ts";
import { openProbeClient } from "../../../node/fetch/http-probe.ts";

/** In a thread of its own: what it costs is not what is measured. */
async function flooding(t: TestContext, opening: string, piece: string): Promise<string> {
  const worker = new Worker(new URL("../../support/flood-server.ts", import.meta.url), {
    workerData: { opening, piece },
  });
  t.after(async () => await worker.terminate());
  const [{ port }] = (await once(worker, "message")) as [AddressInfo];
  return `http://127.0.0.1:${port}`;
}

const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const rows: [what: string, opening: string, piece: string][] = [
  ["interim responses", "", "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"],
  ["continuing", "", "HTTP/1.1 100 Continue\r\n\r\n"],
  ["empty lines", "", "\r\n"],
  ["fields", "HTTP/1.1 200 OK\r\n", "a: b\r\n"],
  ["one field", "HTTP/1.1 200 OK\r\na: ", "a"],
  ["a reason", "HTTP/1.1 200 ", "a"],
  ["small chunks", chunked, "1\r\nx\r\n"],
  ["a chunk's extension", `${chunked}1;a=`, "a"],
  ["a chunk's size", chunked, "0"],
  ["trailers", `${chunked}0\r\n`, "a: b\r\n"],
];

/** Without a bound it is a third to a half of each probe's second, for as long as the node is there. */
const cpuMsMax = 1000;

for (const [what, opening, piece] of rows) {
  test(`endless: ${what}`, async (t) => {
    const url = await flooding(t, opening, piece);
    const probes = openProbeClient({ secrets: () => [], clock: systemClock });
    t.after(async () => await probes.close());
    const before = process.threadCpuUsage();
    for (let probe = 0; probe < 10; probe += 1) {
      assert.equal((await probes.probe({ name: "fra1", http: url }, 1000)).outcome, "failed");
    }
    const { user, system } = process.threadCpuUsage(before);
    const cpuMs = (user + system) / 1000;
    t.diagnostic(`${cpuMs.toFixed()} ms`);
    assert.ok(cpuMs < cpuMsMax, `ten probes cost ${cpuMs.toFixed()} ms`);
  });
}

test("an assets origin that sends interim responses without an end is given up, too", async (t) => {
  const url = await flooding(t, "", "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n");
  const fetcher = openAssetFetcher({
    node: "fra1",
    privateNetworks: ["127.0.0.0/8"],
    clock: systemClock,
    random: () => 0,
  });
  t.after(async () => await fetcher.close());
  const wanted = {
    origin: url,
    method: "GET",
    target: "/",
    clientFields: {},
    extra: {},
    timeoutMs: 10_000,
    client: "192.0.2.0/24",
  } as const;
  await assert.rejects(fetcher.fetch(wanted), /more than 16 interim responses/);
});
