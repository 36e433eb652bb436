/** The thread of judge-in-thread.ts: judges one document, posts the result, and ends. */
import assert from "node:assert/strict";
import { parentPort, workerData } from "node:worker_threads";
import { type FleetCase, judgeFleet } from "./judge-document.ts";

assert(parentPort !== null, "this file is the start of a thread");
parentPort.postMessage(judgeFleet(workerData as FleetCase));
