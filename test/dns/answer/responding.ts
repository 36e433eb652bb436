/** A responder's state for tests that call single steps, over the fleet of support/fleet.ts. */
import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { newResponding, type Client, type Responding, type ResponderDeps } from "../../../dns/answer/state.ts";
import { newCounters } from "../../../dns/counters.ts";
import { createCookies } from "../../../dns/guard/cookie.ts";
import { parseIp } from "../../../dns/wire/address.ts";
import { readQuery } from "../../../dns/wire/message.ts";

const address = parseIp("127.0.0.1");
assert.ok(address);
export const udpClient: Client = { address, port: 40_000, transport: "udp" };

/** A state that has read `query`, and is about to begin its answer. */
export function respondingTo(query: Uint8Array, deps: Partial<ResponderDeps> = {}): Responding {
  const state = newResponding({
    snapshot: () => undefined,
    counters: newCounters(),
    cookies: createCookies(),
    rateLimit: undefined,
    identity: { nsid: undefined, version: undefined, id: undefined },
    amplificationMax: 0,
    random: seededRandom(1),
    nowMs: () => 0,
    onFailure: assert.fail,
    ...deps,
  });
  state.out = new Uint8Array(65_535);
  readQuery(query, query.length, state.query);
  return state;
}
