/**
 * Reading a fleet document beside the main thread, which has pictures to serve and a lease to hold: 4 MiB take half a
 * second, and a lease goes stale after a quarter (node/announce/lease.ts).
 *
 *   text ──▶ reading-thread.ts: YAML, schema, rules, zones packed ──▶ a Fleet without its records, frozen
 *
 * The thread lives for one document: they are rare, and what reading took of memory goes with it.
 */
import { Worker } from "node:worker_threads";
import { type Checked, deepFreeze } from "#base/schema.ts";
import type { Fleet } from "./document.ts";
import { parseFleet } from "./read-document.ts";

/** Shorter ones are read in place: they take some ten milliseconds, and starting a thread takes a hundred. */
const apartFromCharacters = 16 * 1024;
/** A slow machine under load takes some seconds for the longest document. */
const readMsMax = 60_000;
/** The longest document takes 0.4 GB while it is read. */
const heapMegabytesMax = 1024;

/** As parseFleet() does; a document that can't be read in time, or in that much memory, has that as its problem. */
export async function readFleet(text: string): Promise<Checked<Fleet>> {
  if (text.length < apartFromCharacters) return parseFleet(text);
  const thread = new Worker(new URL("./reading-thread.ts", import.meta.url), {
    workerData: text,
    resourceLimits: { maxOldGenerationSizeMb: heapMegabytesMax },
  });
  const { promise, resolve } = Promise.withResolvers<Checked<Fleet>>();
  const failed = (reason: string): void => {
    resolve({ ok: false, problems: [{ path: "", message: `the document could not be read: ${reason}` }] });
  };
  const deadline = AbortSignal.timeout(readMsMax);
  deadline.addEventListener("abort", () => {
    failed(`it takes longer than ${readMsMax / 1000} s`);
  });
  thread.once("message", resolve);
  thread.once("error", (error: Error) => {
    failed(error.message);
  });
  thread.once("exit", () => {
    failed("its thread ended without a word");
  });
  try {
    const read = await promise;
    // Copies between threads are not frozen.
    return read.ok ? { ok: true, value: deepFreeze(read.value) } : read;
  } finally {
    await thread.terminate();
  }
}
