/**
 * A process with few descriptors, started by lanes.test.ts: it opens a lane, takes more clients than it can have, and
 * says whether it still serves when some have left.
 */
import assert from "node:assert/strict";
import { systemClock } from "#base/clock.ts";
import { openLanes } from "../../../../node/front/lane/lanes.ts";
import { listen } from "../../../../node/http/listener.ts";
import { keptLog } from "../../../support/kept-log.ts";

const lanes = await openLanes({ count: 1, clock: systemClock, log: keptLog().log });
const listener = await listen("127.0.0.1", 0, (_asked, response) => response.end("served"), {
  lanes,
  front: { answer: () => "relay", clock: systemClock },
  connectionsMax: 10_000,
});
assert(process.send !== undefined);
process.send({ port: listener.port });
process.on("message", () => {
  process.send?.({ counts: lanes.counts(), restarts: lanes.restarts() });
});
