/**
 * A process that holds a lease, for tests that kill it, block it or freeze it. Its settings are its first argument,
 * its state is a JSON line after each change, and its standard input says what happens to it, one word a line.
 */
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Worker } from "node:worker_threads";
import { systemClock } from "#base/clock.ts";
import { openLog } from "#base/log.ts";
import { systemRandom } from "#base/random.ts";
import { readFleet } from "#document/read-in-thread.ts";
import { openLease } from "../../../node/announce/lease.ts";
import type { LeaseOptions } from "../../../node/announce/lease-holding.ts";

const settings = JSON.parse(process.argv[2] ?? "{}") as Pick<
  LeaseOptions,
  "announce" | "as" | "prefixes" | "damping" | "processIndex"
>;
let isRight = true;
let thread: Worker | undefined;
process.on("worker", (worker) => (thread = worker));
let hasOthers = true;

const lease = openLease({
  ...settings,
  selfCheck: () =>
    Promise.resolve(isRight ? { ok: true } : { ok: false, reason: "DNS over TCP at 192.0.2.53: timeout" }),
  mayFall: () => hasOthers,
  isAlone: () => !hasOthers,
  changed(state) {
    process.stdout.write(`${JSON.stringify(state)}\n`);
  },
  clock: systemClock,
  random: systemRandom,
  log: openLog("holder", "info"),
});

createInterface({ input: process.stdin }).on("line", (line) => {
  const [word = "", rest = ""] = line.split(" ");
  const told: Record<string, () => unknown> = {
    right: () => (isRight = true),
    wrong: () => (isRight = false),
    alone: () => (hasOthers = false),
    others: () => (hasOthers = true),
    read: async () => {
      const read = await readFleet(await readFile(rest, "utf8"));
      process.stderr.write(read.ok ? "read\n" : "has problems\n");
    },
    block: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(rest)),
    drain: () => lease.drain(),
    undrain: () => {
      lease.undrain();
    },
    hurry: () => {
      lease.hurry();
    },
    prefixes: () => {
      lease.setPrefixes(rest === "" ? [] : rest.split(","), settings.as);
    },
    "end-thread": () => thread?.terminate(),
    close: () => lease.close(),
    exit: () => process.exit(0),
  };
  told[word]?.();
});
