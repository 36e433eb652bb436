/**
 * Tests of a listener in both its forms: Node's server alone, and behind a front that leaves everything to it. What a
 * client sees must be the same.
 */
import { test as testOnce, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { listen } from "../../../node/http/listener.ts";

interface Form {
  t: TestContext;
  /** Of the form that is tested. */
  listen: typeof listen;
}

export const listenBehindFront: typeof listen = async (host, port, application, options) =>
  await listen(host, port, application, { ...options, front: { answer: () => "relay", clock: systemClock } });

/** Twice node:test's test(). */
export function test(name: string, run: (form: Form) => Promise<void>): void {
  testOnce(name, (t) => run({ t, listen }));
  testOnce(`${name}; behind a front`, (t) => run({ t, listen: listenBehindFront }));
}
