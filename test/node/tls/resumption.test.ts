/** Sessions resume at every node and process of the fleet, over days and over a new fleet secret. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test, type TestContext } from "node:test";
import { laneTlsMissing, lanesMissing } from "../../../node/front/lane/lanes.ts";
import { openTicketKeys } from "../../../node/tls/ticket-keys.ts";
import { certificateFor } from "../../support/certificates.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { needs } from "../../support/needs.ts";
import { get } from "../front/fronted.ts";
import { exchangeSecure, openSecure, served, startSecured, type Secured, testBoth, type Through } from "./secured.ts";

const dayMs = 86_400_000;
const versions = ["TLSv1.2", "TLSv1.3"] as const;
const names = ["a.example", "*.b.example"];
const certificates = [served(await certificateFor(names)), served(await certificateFor(names, { key: "rsa" }))];

async function node(
  t: TestContext,
  through: Through,
  secrets: readonly Uint8Array[],
  clock = fakeClock(),
): Promise<Secured> {
  return await startSecured(t, certificates, { secrets: () => secrets, clock, through });
}

interface Visit {
  isResumed: boolean;
  session: Buffer;
}

/** A visit with one request; the session is the last that the node gave. */
async function visit(
  t: TestContext,
  { listener }: Secured,
  maxVersion: (typeof versions)[number],
  session?: Buffer,
): Promise<Visit> {
  const opening = openSecure(t, listener, {
    servername: "a.example",
    maxVersion,
    ...(session === undefined ? {} : { session }),
  });
  const socket = await opening;
  const isResumed = socket.isSessionReused();
  let latest = session ?? socket.getSession();
  socket.on("session", (fresh: Buffer) => (latest = fresh));
  if (maxVersion === "TLSv1.2") latest = socket.getSession() ?? latest;
  await exchangeSecure(socket, get("/hit/1", "Connection: close"));
  assert.ok(latest !== undefined);
  return { isResumed, session: latest };
}

testBoth("sessions of one node resume at another: all of them, with either version", async (t, through) => {
  const secret = randomBytes(32);
  const nodes = [await node(t, through, [secret]), await node(t, through, [secret]), await node(t, through, [secret])];
  for (const version of versions) {
    let { isResumed, session } = await visit(t, nodes[0] as Secured, version);
    assert.equal(isResumed, false);
    for (let round = 0; round < 30; round += 1) {
      ({ isResumed, session } = await visit(t, nodes[round % 3] as Secured, version, session));
      assert.ok(isResumed, `${version} at visit ${round}`);
    }
  }
});

testBoth("nodes with other secrets, and nodes without one, accept only their own sessions", async (t, through) => {
  const [one, other, none, alsoNone] = [
    await node(t, through, [randomBytes(32)]),
    await node(t, through, [randomBytes(32)]),
    await node(t, through, []),
    await node(t, through, []),
  ];
  for (const version of versions) {
    const { session } = await visit(t, one, version);
    assert.equal((await visit(t, other, version, session)).isResumed, false);
    const own = await visit(t, none, version);
    assert.equal((await visit(t, none, version, own.session)).isResumed, true);
    assert.equal((await visit(t, alsoNone, version, own.session)).isResumed, false);
  }
});

testBoth(
  "a session lasts over the change of the day, also with a clock that is behind, and ends after two",
  async (t, through) => {
    const secret = randomBytes(32);
    const clock = fakeClock();
    const later = await node(t, through, [secret], clock);
    const today = await node(t, through, [secret]);
    for (const version of versions) {
      const { session } = await visit(t, today, version);
      assert.equal((await visit(t, later, version, session)).isResumed, true);
    }
    const sessions = await Promise.all(versions.map(async (version) => (await visit(t, later, version)).session));
    clock.advance(dayMs);
    later.refresh();
    for (const [index, version] of versions.entries()) {
      const session = sessions[index] as Buffer;
      assert.equal((await visit(t, later, version, session)).isResumed, true, `${version} of yesterday`);
      const fresh = await visit(t, later, version);
      assert.equal((await visit(t, today, version, fresh.session)).isResumed, true, `${version} of tomorrow`);
    }
    clock.advance(dayMs);
    later.refresh();
    for (const [index, version] of versions.entries()) {
      assert.equal((await visit(t, later, version, sessions[index] as Buffer)).isResumed, false, version);
    }
  },
);

testBoth("a new fleet secret keeps the sessions of the previous one", async (t, through) => {
  const [previous, current] = [randomBytes(32), randomBytes(32)];
  const secrets: Uint8Array[] = [previous];
  const one = await startSecured(t, certificates, { secrets: () => secrets, through });
  for (const version of versions) {
    const { session } = await visit(t, one, version);
    secrets.splice(0, 2, current, previous);
    one.refresh();
    assert.equal((await visit(t, one, version, session)).isResumed, true, version);
    const fresh = await visit(t, one, version);
    secrets.splice(0, 2, randomBytes(32), current);
    one.refresh();
    assert.equal((await visit(t, one, version, session)).isResumed, false, version);
    assert.equal((await visit(t, one, version, fresh.session)).isResumed, true, version);
    secrets.splice(0, 2, previous);
    one.refresh();
  }
});

const missing = lanesMissing() ?? laneTlsMissing();

test("sessions of a lane resume in the main thread, and the other way round", async (t) => {
  if (!needs(t, missing === undefined, missing ?? "")) return;
  const secret = randomBytes(32);
  const nodes = [await node(t, "the main thread", [secret]), await node(t, "a lane", [secret])] as const;
  for (const version of versions) {
    for (const [first, second] of [nodes, nodes.toReversed() as unknown as typeof nodes]) {
      const { session } = await visit(t, first, version);
      const there = await visit(t, second, version, session);
      assert.ok(there.isResumed, version);
      assert.ok((await visit(t, first, version, there.session)).isResumed, `${version}, and back`);
    }
  }
  assert.equal(nodes[1].counts().completed["TLSv1.3"].resumed, 2);
});

test("ticket keys: the same on all nodes, one for each day, none for two purposes", () => {
  const clock = fakeClock();
  const secret = Buffer.alloc(32, 1);
  const [one, other] = [openTicketKeys(() => [secret], clock), openTicketKeys(() => [secret], clock)];
  assert.deepEqual(one(), other());
  assert.equal(one(), one(), "derived once");
  const before = one();
  assert.equal(before.current.length, 48);
  assert.equal(before.accepted.size, 3);
  clock.advance(dayMs);
  const after = one();
  assert.notDeepEqual(after.current, before.current);
  const common = [...after.accepted.keys()].filter((name) => before.accepted.has(name));
  assert.equal(common.length, 2);
});
