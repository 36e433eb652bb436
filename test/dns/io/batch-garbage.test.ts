/** Nothing is allocated per query on the batch path, or else it would be collected some time. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { DnsStats } from "../../../dns/counters.ts";
import { isBatchAvailable } from "#base/system-calls.ts";
import type { ListenAddress } from "../../../dns/io/transport.ts";
import { rounds } from "../../support/long.ts";
import { needs } from "../../support/needs.ts";
import { queryOf } from "../support/ask.ts";
import { playPingPong } from "./ping-pong.ts";

test("a million queries collect next to no garbage", { timeout: 60_000 }, async (t) => {
  const available = isBatchAvailable();
  if (!needs(t, available.ok, available.ok ? "" : available.reason)) return;
  // With a young generation of 1 MB even one number of 16 octets per query would be some 16 collections.
  const child = fork(fileURLToPath(new URL("./batch-process.ts", import.meta.url)), {
    execArgv: ["--max-semi-space-size=1", "--no-freeze-flags-after-init"],
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  t.after(() => child.kill("SIGKILL"));
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (output += text));
  const [to] = (await once(child, "message")) as [ListenAddress];

  const names = Array.from({ length: 250 }, (_, index) => {
    switch (index % 5) {
      case 0:
        return { name: `none${index}.cdn.test`, subnet: `10.${index}.0.0/16` };
      case 1:
        return { name: "img.cdn.test", subnet: `10.${index}.0.0/16` };
      case 2:
        return {
          name: `n${index % 100}.cdn.test`,
          edns: { options: [{ code: 10, data: [1, 2, 3, 4, 5, 6, 7, index] }] },
        };
      default:
        return { name: `n${index % 100}.cdn.test` };
    }
  });
  const queries = names.map((asking) => queryOf(asking));
  const play = (total: number): void => {
    playPingPong(to, {
      total,
      window: 100,
      queries,
      check(answer, length, index) {
        const asked = index % queries.length;
        const rcode = (answer[3] ?? 0) & 0x0f;
        if (rcode !== (asked % 5 === 0 ? 3 : 0)) throw new Error(`query ${asked}: rcode ${rcode}`);
        if (asked % 5 < 3) return;
        // The address stands last.
        if (answer[length - 1] !== asked % 100) throw new Error(`query ${asked}: ${answer[length - 1]}`);
      },
    });
  };
  play(100_000); // until it is compiled
  child.send("trace");
  await once(child, "message");
  const total = rounds(1_000_000, 10_000_000);
  play(total);
  const ended = once(child, "close");
  child.send("end");
  const [stats] = (await once(child, "message")) as [DnsStats];
  await ended;
  const { udp } = stats.outcomes;
  assert.equal(udp.noerror + udp.nxdomain + udp.nodata, total + 100_000);
  const collections = output.split("\n").filter((line) => line.includes(" ms: "));
  // The clock's reading is a number of its own for each batch, so some 16 octets for 10 queries; the rest is the
  // compiler's, and the main thread's.
  assert.ok(collections.length <= rounds(5, 30), output);
});
