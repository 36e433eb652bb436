/** The suite once more, with several threads on each address. */
import { isBatchAvailable } from "#base/system-calls.ts";
import { serveBatch } from "./batch-served.ts";
import { udpSuite } from "./udp-suite.ts";

// Where there are no batches batch.test.ts says so.
if (isBatchAvailable().ok) udpSuite("batch, three threads", (addresses) => serveBatch(addresses, 3));
