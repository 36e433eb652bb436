/** The state machine of RFC 4271 §8, as a table of events and what must follow from them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BgpError, describeNotification } from "../../../node/announce/bgp/notification.ts";
import type { Message } from "../../../node/announce/bgp/message.ts";
import type { Open } from "../../../node/announce/bgp/open.ts";
import {
  idleSession,
  nextSession,
  type Session,
  type SessionAction,
  type SessionEvent,
} from "../../../node/announce/session.ts";
import { readAll } from "./bgp/octets.ts";

const settings = { as: 64_500, identifier: 0x7f_00_00_02, holdSeconds: 3 };
const bird: Open = {
  as: 64_500,
  holdSeconds: 90,
  identifier: 0xc0_00_02_01,
  families: [4, 6],
  hasRouteRefresh: true,
  isFourOctetAs: true,
};
const cease = (subcode: number): SessionEvent =>
  heard({
    type: "notification",
    notification: { code: 6, subcode, data: new Uint8Array() },
  });

function heard(message: Message): SessionEvent {
  return { kind: "message", message };
}
function opened(change: Partial<Open> = {}): SessionEvent {
  return heard({ type: "open", open: { ...bird, ...change } });
}
const keepalive = heard({ type: "keepalive" });

/** The session after these events, and what the last of them made it do, in words. */
function after(...events: readonly SessionEvent[]): { session: Session; done: string[] } {
  let session = idleSession;
  let actions: readonly SessionAction[] = [];
  for (const event of events) ({ session, actions } = nextSession(session, event, settings));
  return { session, done: actions.map(words) };
}

function words(action: SessionAction): string {
  switch (action.do) {
    case "send": {
      const [message] = readAll(action.bytes);
      return message?.type === "notification"
        ? `send ${describeNotification(message.notification)}`
        : `send ${message?.type ?? "nothing"}`;
    }
    case "time":
      return `${action.timer} in ${action.afterMs}`;
    case "untime":
      return `no ${action.timer}`;
    case "repeat":
      return `repeat ${action.family}`;
    case "connect":
    case "disconnect":
    case "begin":
    case "end":
      return action.do;
  }
}

const hangUp = ["no retry", "no hold", "no keepalive", "disconnect"];
const toOpenSent: readonly SessionEvent[] = [{ kind: "start" }, { kind: "connected" }];
const toEstablished: readonly SessionEvent[] = [...toOpenSent, opened(), keepalive];

test("a session is opened by OPEN and KEEPALIVE of both sides, and kept by KEEPALIVEs", () => {
  assert.deepEqual(after({ kind: "start" }).done, ["retry in 5000", "connect"]);
  const sent = after(...toOpenSent);
  assert.deepEqual(sent.done, ["no retry", "send open", "hold in 5000"]);
  assert.equal(sent.session.state, "open-sent");
  const confirm = after(...toOpenSent, opened());
  assert.deepEqual(confirm.done, ["send keepalive", "hold in 3000", "keepalive in 1000"]);
  assert.equal(confirm.session.state, "open-confirm");
  const established = after(...toEstablished);
  assert.deepEqual(established.done, ["hold in 3000", "begin"]);
  assert.equal(established.session.state, "established");
  assert.deepEqual(after(...toEstablished, { kind: "expired", timer: "keepalive" }).done, [
    "send keepalive",
    "keepalive in 1000",
  ]);
  assert.deepEqual(after(...toEstablished, keepalive).done, ["hold in 3000"]);
});

test("the lower hold time counts, and its third is the time between KEEPALIVEs", () => {
  const { session } = after(...toOpenSent, opened({ holdSeconds: 3 }));
  assert.equal(session.holdMs, 3000);
  const wide = nextSession({ ...idleSession, state: "open-sent" }, opened({ holdSeconds: 30 }), {
    ...settings,
    holdSeconds: 60,
  });
  assert.equal(wide.session.holdMs, 30_000);
  assert.deepEqual(wide.actions.map(words).slice(1), ["hold in 30000", "keepalive in 10000"]);
});

test("families are those of both sides", () => {
  assert.deepEqual(after(...toOpenSent, opened({ families: [6] })).session.families, [6]);
  assert.deepEqual(after(...toEstablished).session.families, [4, 6]);
});

test("a peer that can't be ours is told why, and tried again slowly", () => {
  const cases: readonly (readonly [Partial<Open>, string])[] = [
    [{ as: 64_501 }, "2/2 bad peer AS"],
    [{ identifier: settings.identifier }, "2/3 bad BGP identifier"],
    [{ holdSeconds: 0 }, "2/6 unacceptable hold time"],
  ];
  for (const [change, notification] of cases) {
    const { session, done } = after(...toOpenSent, opened(change));
    assert.deepEqual(done, [`send ${notification}`, ...hangUp, "retry in 1000"]);
    assert.equal(session.state, "connecting");
    assert.equal(session.lastNotification, `we said ${notification}`);
  }
});

test("messages at the wrong time are an error of the state machine (RFC 6608)", () => {
  const update = heard({ type: "update", update: {} as never });
  const cases: readonly (readonly [readonly SessionEvent[], string])[] = [
    [[...toOpenSent, keepalive], "5/1 unexpected message in OpenSent"],
    [[...toOpenSent, update], "5/1 unexpected message in OpenSent"],
    [[...toOpenSent, opened(), opened()], "5/2 unexpected message in OpenConfirm"],
    [[...toOpenSent, opened(), update], "5/2 unexpected message in OpenConfirm"],
    [[...toEstablished, opened()], "5/3 unexpected message in Established"],
  ];
  for (const [events, notification] of cases) {
    assert.equal(after(...events).done[0], `send ${notification}`);
    assert.equal(after(...events).session.state, "connecting");
  }
});

test("silence for the hold time ends the session in each state", () => {
  const expired: SessionEvent = { kind: "expired", timer: "hold" };
  for (const events of [toOpenSent, [...toOpenSent, opened()], toEstablished]) {
    const { session, done } = after(...events, expired);
    assert.equal(done[0], "send 4/0 hold timer expired");
    assert.equal(done.at(-1), "retry in 100");
    assert.equal(session.lastNotification, "we said 4/0 hold timer expired");
  }
});

test("what can't be read is answered with its NOTIFICATION", () => {
  const failed: SessionEvent = { kind: "failed", error: new BgpError(1, 1, "no marker") };
  const { session, done } = after(...toEstablished, failed);
  assert.deepEqual(done, ["send 1/1 connection not synchronized", "end", ...hangUp, "retry in 1000"]);
  assert.equal(session.reason, "we said 1/1 connection not synchronized: no marker");
});

test("a failed connection is tried again after 100, 200, 400, 500 ms; a session resets the delay", () => {
  const gone: SessionEvent = { kind: "disconnected", reason: "refused" };
  const again: SessionEvent = { kind: "expired", timer: "retry" };
  const delays: (string | undefined)[] = [];
  const events: SessionEvent[] = [{ kind: "start" }];
  for (let i = 0; i < 30; i++) {
    delays.push(after(...events, gone).done.at(-1));
    events.push(gone, again);
  }
  assert.deepEqual(
    delays.slice(0, 5),
    [100, 200, 400, 500, 500].map((ms) => `retry in ${ms}`),
  );
  assert.equal(delays.at(-1), "retry in 500");
  assert.deepEqual(after(...events).done, ["disconnect", "retry in 5000", "connect"]);
  const stood = after(...events, { kind: "connected" }, opened(), keepalive, gone);
  assert.equal(stood.done.at(-1), "retry in 100");
  assert.equal(stood.done[0], "end");
  assert.equal(stood.session.reason, "refused");
});

test("a Cease is tried again soon; what a human must mend is not", () => {
  const last = (...events: readonly SessionEvent[]): string | undefined => after(...events).done.at(-1);
  const again: SessionEvent = { kind: "expired", timer: "retry" };
  assert.equal(last(...toEstablished, cease(2)), "retry in 100");
  assert.equal(last(...toOpenSent, cease(5)), "retry in 100");
  assert.equal(last(...toEstablished, cease(1)), "retry in 1000");
  const badAs = heard({ type: "notification", notification: { code: 2, subcode: 2, data: new Uint8Array() } });
  assert.equal(last(...toOpenSent, badAs), "retry in 1000");
  assert.equal(last(...toOpenSent, badAs, again, { kind: "connected" }, badAs), "retry in 2000");
  assert.equal(after(...toOpenSent, badAs).session.lastNotification, "BIRD said 2/2 bad peer AS");
});

test("a ROUTE-REFRESH is answered for the families of the session only", () => {
  const refresh = (family: 4 | 6 | undefined): SessionEvent => heard({ type: "route-refresh", family });
  assert.deepEqual(after(...toEstablished, refresh(6)).done, ["hold in 3000", "repeat 6"]);
  assert.deepEqual(after(...toEstablished, refresh(undefined)).done, ["hold in 3000"]);
  const only4: readonly SessionEvent[] = [...toOpenSent, opened({ families: [4] }), keepalive];
  assert.deepEqual(after(...only4, refresh(6)).done, ["hold in 3000"]);
});

test("the end by our own will says so to a peer that is there, and leaves nothing running", () => {
  const stop: SessionEvent = {
    kind: "stop",
    notification: { code: 6, subcode: 3, data: new Uint8Array() },
    reason: "nothing to announce",
  };
  assert.deepEqual(after(...toEstablished, stop).done, ["send 6/3 peer de-configured", "end", ...hangUp]);
  assert.deepEqual(after({ kind: "start" }, stop).done, hangUp);
  assert.equal(after(...toEstablished, stop).session.state, "idle");
  assert.equal(after(...toEstablished, stop, { kind: "start" }).session.state, "connecting");
});

test("events that come too late change nothing", () => {
  const late: readonly SessionEvent[] = [
    { kind: "connected" },
    { kind: "disconnected", reason: "late" },
    { kind: "expired", timer: "hold" },
    keepalive,
  ];
  for (const event of late) assert.deepEqual(after(event), { session: idleSession, done: [] });
  assert.deepEqual(after(...toEstablished, { kind: "expired", timer: "retry" }).done, []);
});
