/** When the front leaves a request to the application, although there may be a hit. */
import assert from "node:assert/strict";
import { Socket } from "node:net";
import { test } from "node:test";
import { createLoadMeter } from "#health/load-meter.ts";
import { openLaneSink } from "../../../node/front/lane-sink.ts";
import { newRequestHead, readRequestHead } from "../../../node/front/request-head.ts";
import type { Presence } from "../../../node/http/app.ts";
import { openReadyMemory } from "../../../node/front/ready/ready-memory.ts";
import { createHits } from "../../../node/http/hits.ts";
import { openReadyHits } from "../../../node/http/ready-hits.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { fleetWith } from "../../support/fleet.ts";
import { keptLog } from "../../support/kept-log.ts";
import { openTransfers } from "../../support/transfers.ts";

const document = fleetWith({ hosts: [{ name: "img.cdn.test", kind: "images" }] });

/** Whether a look-up was made for a request, in this state of the node. */
function looksUp(state: { isGated?: boolean; presence?: Presence; hasFleet?: boolean }, target = "/a.jpg"): boolean {
  const clock = fakeClock();
  let lookUps = 0;
  const serveNow = (): undefined => {
    lookUps += 1;
  };
  const noteUses = (): void => assert.fail("nothing is used");
  const hits = createHits({
    node: "fra1",
    images: { serveNow },
    assets: { serveNow },
    fleet: () => (state.hasFleet === false ? null : { document }),
    presence: () => state.presence ?? "ready",
    isGated: () => state.isGated ?? false,
    ready: openReadyHits({
      node: "fra1",
      memory: openReadyMemory(new ArrayBuffer(64 * 1024), 1),
      hasLanes: false,
      settle: () => undefined,
      used: { images: { noteUses }, assets: { noteUses } },
      keepAliveSeconds: 65,
      clock,
    }),
    transfers: openTransfers(clock),
    served: () => assert.fail("nothing is served"),
    load: createLoadMeter(clock),
    clock,
    log: keptLog().log,
  });
  const bytes = Buffer.from(`GET ${target} HTTP/1.1\r\nHost: img.cdn.test\r\n\r\n`);
  const head = newRequestHead();
  assert.equal(readRequestHead(bytes, 0, bytes.length, head), "whole");
  const socket = new Socket();
  const sink = openLaneSink(socket, { date: () => "", keepAliveSeconds: 65, joined: Buffer.alloc(0) });
  assert.equal(hits.front({ bytes, head, socket, sink }), "relay");
  return lookUps > 0;
}

test("a node looks for hits once it is ready and has applied all purges that it missed", () => {
  assert.equal(looksUp({}), true);
  assert.equal(looksUp({ isGated: true }), false);
  assert.equal(looksUp({ presence: "draining" }), false);
  assert.equal(looksUp({ presence: "starting" }), false);
  assert.equal(looksUp({ hasFleet: false }), false);
});

test("requests that the application has rules for are left to it", () => {
  assert.equal(looksUp({}, "/.nearcast/health"), false);
  assert.equal(looksUp({}, "/%2e%2e/a.jpg"), false);
  assert.equal(looksUp({}, "/a.jpg?w=-1"), false);
});
