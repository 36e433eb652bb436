/**
 * A process that answers with one batch thread and writes on standard output when a thread collects garbage, from
 * the message "trace" on, until the message "end".
 */
import { setFlagsFromString } from "node:v8";
import { serveBatch } from "./batch-served.ts";
import { snapshotOf } from "./udp-suite.ts";

const served = await serveBatch([{ host: "127.0.0.1", port: 0 }], 1, {
  // Counts every answer and limits none.
  guard: { responsesPerSecond: 10_000_000, slip: 2, amplificationMax: 100 },
});
served.batch.setSecrets([new Uint8Array(16).fill(7)]);
served.publish(snapshotOf(1));
process.on("message", (message) => {
  if (message === "trace") {
    setFlagsFromString("--trace-gc");
    process.send?.("tracing");
    return;
  }
  process.send?.(served.stats());
  process.disconnect?.();
  void served.close();
});
process.send?.(served.addresses[0]);
