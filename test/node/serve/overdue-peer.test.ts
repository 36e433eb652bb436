/** Peers that never answer, or never end their answer: each is waited for once, and then passed over. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { RequestListener } from "node:http";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { openPeerClient } from "../../../node/peer/client.ts";
import { listenForPeers } from "../../../node/peer/peer-listener.ts";
import type { Member } from "../../../node/peer/members.ts";
import { joinPeers } from "../../../node/serve/peers.ts";
import { writeTold } from "../../../node/serve/wire.ts";
import { shiftedClock } from "../../support/shifted-clock.ts";
import { until } from "../../support/world.ts";

const secret = randomBytes(32);
const timeoutMs = 1000;

async function startMember(t: TestContext, name: string, application: RequestListener): Promise<Member> {
  const listener = await listenForPeers({
    host: "127.0.0.1",
    port: 0,
    secrets: () => [secret],
    application,
    clock: systemClock,
    log: silentLog,
  });
  t.after(() => listener.close(0));
  return { name, node: name, site: "fra", host: "127.0.0.1", port: listener.port };
}

/** The site of `members`, asked for one and the same thing by one more node. */
function startAsker(t: TestContext, members: readonly Member[]) {
  const clock = shiftedClock();
  const client = openPeerClient({ self: "fra9", site: "fra", secrets: () => [secret], clock, log: silentLog });
  t.after(client.close);
  const directory = {
    ownersBefore: () => members,
    shieldFor: () => [],
    roomElsewhere: () => [],
    site: () => members,
    isMember: () => true,
  };
  const peers = joinPeers({
    directory,
    client,
    isBusy: () => false,
    position: () => null,
    gate: () => null,
    served: () => undefined,
    clock,
    log: silentLog,
  });
  const ask = async (): Promise<{ text: string | null; tookMs: number }> => {
    const begunMs = performance.now();
    const answer = await peers.ask({
      role: "owner",
      members: () => members,
      triesMax: 2,
      path: "/v1/image",
      headers: {},
      network: "192.0.2.0/24",
      timeoutMs,
      read: async ({ body }) => await body.text(),
    });
    return { text: answer?.result ?? null, tookMs: performance.now() - begunMs };
  };
  return { ask, skip: clock.skip };
}

const told = writeTold({ ageMs: 0, log: null, mark: null, status: null });
const honest: RequestListener = (_asked, response) => response.writeHead(200, told).end("right");

const evils: [what: string, application: RequestListener][] = [
  ["never answers", () => undefined],
  [
    "sends one byte at a time, without an end",
    (_asked, response) => {
      response.writeHead(200, told);
      const timer = setInterval(() => response.write("x"), 50);
      response.once("close", () => {
        clearInterval(timer);
      });
    },
  ],
];

for (const [what, application] of evils) {
  test(`a member that ${what} is waited for once, and then passed over for a while`, async (t) => {
    const calls = { evil: 0 };
    const evil = await startMember(t, "fra1", (asked, response) => {
      calls.evil += 1;
      application(asked, response);
    });
    const good = await startMember(t, "fra2", honest);
    const { ask, skip } = startAsker(t, [evil, good]);
    const first = await ask();
    assert.equal(first.text, null, "the work is then done at home");
    assert.ok(first.tookMs < 10 * timeoutMs, `${first.tookMs} ms`);
    for (let again = 0; again < 5; again += 1) assert.equal((await ask()).text, "right");
    assert.equal(calls.evil, 1);
    skip(31);
    // One that never answered is knocked at first (peer/client.ts), so not every request reaches it.
    await until("it gets another chance", async () => {
      await ask();
      return calls.evil > 1;
    });
  });
}

test("the member that took most of the time is passed over, not the one that was left the rest", async (t) => {
  const calls = { slow: 0, last: 0 };
  const slow = await startMember(t, "fra1", (_asked, response) => {
    calls.slow += 1;
    setTimeout(() => response.writeHead(500).end(), 0.8 * timeoutMs);
  });
  const last = await startMember(t, "fra2", (asked, response) => {
    calls.last += 1;
    // A header, so that it is not taken for dead.
    if (calls.last === 1) response.writeHead(200, told).write("rig");
    else honest(asked, response);
  });
  const { ask } = startAsker(t, [slow, last]);
  assert.equal((await ask()).text, null, "neither answers in time");
  assert.deepEqual(calls, { slow: 1, last: 1 });
  assert.equal((await ask()).text, "right");
  assert.deepEqual(calls, { slow: 1, last: 2 });
});
