/** The thread behind read-in-thread.ts: reads one document, posts what came of it, and ends. */
import assert from "node:assert/strict";
import { parentPort, workerData } from "node:worker_threads";
import type { Checked } from "#base/schema.ts";
import type { Fleet } from "./document.ts";
import { packZones } from "./packed-zones.ts";
import { parseFleet } from "./read-document.ts";

assert(parentPort !== null, "this file is the start of a thread");
const read = parseFleet(workerData as string);
const answer: Checked<Fleet> = read.ok ? { ok: true, value: packZones(read.value) } : read;
parentPort.postMessage(answer);
