/**
 * Tests of a listener in all its forms: Node's server alone, behind a front that leaves everything to it, and with a
 * lane before that. What a client sees must be the same.
 */
import { test as testOnce, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import type { Lanes } from "../../../node/front/lane/lanes.ts";
import { listen } from "../../../node/http/listener.ts";
import { sharedLanes } from "../../support/shared-lanes.ts";

interface Form {
  t: TestContext;
  /** Of the form that is tested. */
  listen: typeof listen;
}

export const listenBehindFront: typeof listen = async (host, port, application, options) =>
  await listen(host, port, application, { ...options, front: { answer: () => "relay", clock: systemClock } });

export const listenInLane =
  (lanes: Lanes): typeof listen =>
  async (host, port, application, options) =>
    await listenBehindFront(host, port, application, { ...options, lanes });

/** Three times node:test's test(). */
export function test(name: string, run: (form: Form) => Promise<void>): void {
  testOnce(name, (t) => run({ t, listen }));
  testOnce(`${name}; behind a front`, (t) => run({ t, listen: listenBehindFront }));
  testOnce(`${name}; in a lane`, async (t) => {
    const lanes = await sharedLanes(t);
    if (lanes !== undefined) await run({ t, listen: listenInLane(lanes) });
  });
}
