/**
 * Reads a fleet document outside the main thread, which has to serve pictures and hold a lease: 4 MiB take half a
 * second, and a lease goes stale after a quarter (node/announce/heartbeat.ts).
 *
 *   text ──▶ reading-thread.ts: YAML, schema, rules, zones packed ──▶ a Fleet without its records, frozen
 */
import { type Checked, deepFreeze } from "#base/schema.ts";
import { inThread } from "#base/task-thread.ts";
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
  try {
    const file = new URL("./reading-thread.ts", import.meta.url);
    const read = await inThread<Checked<Fleet>>(file, text, { msMax: readMsMax, heapMegabytesMax });
    // Copies between threads are not frozen.
    return read.ok ? { ok: true, value: deepFreeze(read.value) } : read;
  } catch (error) {
    const message = `the document could not be read: ${(error as Error).message}`;
    return { ok: false, problems: [{ path: "", message }] };
  }
}
