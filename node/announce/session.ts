/**
 * A BGP session as a pure state machine (RFC 4271 §8): an event goes in, a new session and a list of actions come out.
 * speaker.ts carries them out on a socket and three timers.
 *
 *                    ┌──────────────── anything goes wrong: retry ───────────────┐
 *                    ▼                                                           │
 *   idle ─start─▶ connecting ─connected─▶ open-sent ─OPEN─▶ open-confirm ─KEEPALIVE─▶ established
 *                        OPEN ─▶          KEEPALIVE ─▶                            UPDATE ─▶, KEEPALIVE ⇄
 *
 * Smaller than the RFC's: we always call and never listen, so there is no Active and no collision, and `connecting`
 * covers the pause before the next try as well.
 *
 * Both ends are on one machine, and the point of the lease is to be back soon after BIRD is: a refused connection or
 * a Cease (BIRD stops, restarts, or still clears away the last session) is tried again after 100 ms, then 200, 400,
 * 500. What a human must mend, such as a wrong AS number, is tried after 1 s, 2 s, … 10 s, so that logs stay readable.
 *
 * The hold time that counts is the lower of the two (§4.2). Zero would mean that a frozen process keeps its
 * announcement for ever, which is what a lease is there to prevent: a peer that wants it is refused.
 */
import { keepaliveMessage, type Message, notificationMessage, openMessage } from "./bgp/message.ts";
import { BgpError, describeNotification, type Notification } from "./bgp/notification.ts";
import type { Open } from "./bgp/open.ts";
import type { Family } from "./bgp/prefix.ts";

/** How far the session is (RFC 4271 §8.2.2). */
export type SessionState = "idle" | "connecting" | "open-sent" | "open-confirm" | "established";

export interface SessionSettings {
  /** Of both sides. */
  readonly as: number;
  /** Our BGP identifier as a number; it must not be the peer's router id. */
  readonly identifier: number;
  readonly holdSeconds: number;
}

export interface Session {
  readonly state: SessionState;
  /** What happened last, for people; empty until something did. */
  readonly reason: string;
  /** The last NOTIFICATION and who sent it, such as `BIRD said 2/2 bad peer AS`. */
  readonly lastNotification: string | null;
  /** Tries that failed since the last time that it was established. */
  readonly retries: number;
  /** Agreed on with the peer; 0 before its OPEN. */
  readonly holdMs: number;
  readonly families: readonly Family[];
  readonly isFourOctetAs: boolean;
}

export type SessionTimer = "retry" | "hold" | "keepalive";

export type SessionEvent =
  | { readonly kind: "start" }
  /** The end by our own will; the peer is told why, if there is one. */
  | { readonly kind: "stop"; readonly notification: Notification; readonly reason: string }
  | { readonly kind: "connected" }
  /** The connection could not be made, or is gone. */
  | { readonly kind: "disconnected"; readonly reason: string }
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "failed"; readonly error: BgpError }
  | { readonly kind: "expired"; readonly timer: SessionTimer };

export type SessionAction =
  | { readonly do: "connect" }
  /** Sends what is still to be sent, then closes. */
  | { readonly do: "disconnect" }
  | { readonly do: "send"; readonly bytes: Uint8Array }
  /** Starts a timer, or starts it anew. */
  | { readonly do: "time"; readonly timer: SessionTimer; readonly afterMs: number }
  | { readonly do: "untime"; readonly timer: SessionTimer }
  /** Routes can be sent now. */
  | { readonly do: "begin" }
  /** What was sent is forgotten by the peer. */
  | { readonly do: "end" }
  /** The peer wants to hear all routes of this family again (RFC 2918). */
  | { readonly do: "repeat"; readonly family: Family };

export interface Step {
  readonly session: Session;
  readonly actions: readonly SessionAction[];
}

/** How long a connection may take, and then the peer's OPEN; both are on this machine. */
const openingMs = 5000;
const quickRetryMs = { first: 100, most: 500 } as const;
const slowRetryMs = { first: 1000, most: 10_000 } as const;
/** Doubling stops to matter long before; a number that only grows would be one more thing to think of. */
const retriesMost = 20;
/** Cease subcodes after which trying at once is pointless: too many prefixes, out of resources. */
const slowCeases: readonly number[] = [1, 8];
const ourFamilies: readonly Family[] = [4, 6];

export const idleSession: Session = {
  state: "idle",
  reason: "",
  lastNotification: null,
  retries: 0,
  holdMs: 0,
  families: [],
  isFourOctetAs: false,
};

/** The next session, and what has to be done for it, in this order. */
export function nextSession(session: Session, event: SessionEvent, settings: SessionSettings): Step {
  if (event.kind === "stop") return stopped(session, event);
  switch (session.state) {
    case "idle":
      return event.kind === "start" ? connect(session) : { session, actions: [] };
    case "connecting":
      return connecting(session, event, settings);
    case "open-sent":
    case "open-confirm":
    case "established":
      return talking(session, event, settings);
  }
}

function connect(session: Session): Step {
  return {
    session: { ...session, state: "connecting" },
    actions: [{ do: "time", timer: "retry", afterMs: openingMs }, { do: "connect" }],
  };
}

function connecting(session: Session, event: SessionEvent, settings: SessionSettings): Step {
  if (event.kind === "disconnected") return retry(session, event.reason, quickRetryMs);
  if (event.kind === "expired" && event.timer === "retry") {
    // Of a try that hangs, or of the pause after one that failed: a new one begins, the old one is dropped.
    const again = connect(session);
    return { ...again, actions: [{ do: "disconnect" }, ...again.actions] };
  }
  if (event.kind !== "connected") return { session, actions: [] };
  const open = {
    ...settings,
    families: ourFamilies,
    hasRouteRefresh: true,
    isFourOctetAs: true,
  };
  return {
    session: { ...session, state: "open-sent", holdMs: 0, families: [] },
    actions: [
      { do: "untime", timer: "retry" },
      { do: "send", bytes: openMessage(open) },
      { do: "time", timer: "hold", afterMs: openingMs },
    ],
  };
}

/** A connection is there, and both sides say something. */
function talking(session: Session, event: SessionEvent, settings: SessionSettings): Step {
  switch (event.kind) {
    case "disconnected":
      return retry(session, event.reason, quickRetryMs);
    case "failed":
      return refuse(session, event.error);
    case "expired":
      if (event.timer === "hold")
        return refuse(session, new BgpError(4, 0, "the peer sent nothing within the hold time"));
      if (event.timer === "retry") return { session, actions: [] };
      return { session, actions: [{ do: "send", bytes: keepaliveMessage }, ...keepalive(session.holdMs)] };
    case "message":
      if (event.message.type === "notification") return notified(session, event.message.notification);
      return heard(session, event.message, settings);
    case "start":
    case "connected":
    case "stop":
      return { session, actions: [] };
  }
}

function heard(session: Session, message: Message, settings: SessionSettings): Step {
  const hold: SessionAction = { do: "time", timer: "hold", afterMs: session.holdMs };
  if (session.state === "open-sent" && message.type === "open") return opened(session, message.open, settings);
  if (session.state === "open-confirm" && message.type === "keepalive") {
    return {
      session: { ...session, state: "established", reason: "", retries: 0 },
      actions: [hold, { do: "begin" }],
    };
  }
  if (session.state === "established") {
    if (message.type === "keepalive" || message.type === "update") return { session, actions: [hold] };
    if (message.type === "route-refresh") {
      const { family } = message;
      // One that we did not agree on is ignored (RFC 2918 §4).
      const isOurs = family !== undefined && session.families.includes(family);
      return { session, actions: isOurs ? [hold, { do: "repeat", family }] : [hold] };
    }
  }
  const subcode = { "open-sent": 1, "open-confirm": 2, established: 3, idle: 0, connecting: 0 }[session.state];
  return refuse(session, new BgpError(5, subcode, `a message of type ${message.type}`));
}

function opened(session: Session, open: Open, settings: SessionSettings): Step {
  const problem = problemOf(open, settings);
  if (problem !== undefined) return refuse(session, problem);
  const holdMs = 1000 * Math.min(open.holdSeconds, settings.holdSeconds);
  return {
    session: {
      ...session,
      state: "open-confirm",
      holdMs,
      families: ourFamilies.filter((family) => open.families.includes(family)),
      isFourOctetAs: open.isFourOctetAs,
    },
    actions: [
      { do: "send", bytes: keepaliveMessage },
      { do: "time", timer: "hold", afterMs: holdMs },
      ...keepalive(holdMs),
    ],
  };
}

/** What RFC 4271 §6.2 and RFC 6286 §2.2 want of the peer, given who we are. */
function problemOf(open: Open, settings: SessionSettings): BgpError | undefined {
  if (open.as !== settings.as) return new BgpError(2, 2, `the peer is AS ${open.as}, we are AS ${settings.as}`);
  if (open.identifier === settings.identifier) return new BgpError(2, 3, "the peer uses our own BGP identifier");
  if (open.holdSeconds === 0) return new BgpError(2, 6, "a lease needs a hold time above 0");
  return undefined;
}

/** A third of the hold time (RFC 4271 §4.4). */
function keepalive(holdMs: number): SessionAction[] {
  return [{ do: "time", timer: "keepalive", afterMs: holdMs / 3 }];
}

function notified(session: Session, notification: Notification): Step {
  const words = `BIRD said ${describeNotification(notification)}`;
  const isPassing = notification.code === 6 && !slowCeases.includes(notification.subcode);
  return retry({ ...session, lastNotification: words }, words, isPassing ? quickRetryMs : slowRetryMs);
}

/** The peer hears what is wrong, and the connection ends. */
function refuse(session: Session, error: BgpError): Step {
  const step = retry(
    { ...session, lastNotification: `we said ${describeNotification(error.notification)}` },
    `we said ${error.message}`,
    error.notification.code === 4 ? quickRetryMs : slowRetryMs,
  );
  return { ...step, actions: [{ do: "send", bytes: notificationMessage(error.notification) }, ...step.actions] };
}

function retry(session: Session, reason: string, delays: { readonly first: number; readonly most: number }): Step {
  const afterMs = Math.min(delays.first * 2 ** session.retries, delays.most);
  return {
    session: { ...session, state: "connecting", reason, retries: Math.min(session.retries + 1, retriesMost) },
    actions: [...end(session), { do: "time", timer: "retry", afterMs }],
  };
}

function stopped(session: Session, { notification, reason }: Extract<SessionEvent, { kind: "stop" }>): Step {
  const isTalking = session.state !== "idle" && session.state !== "connecting";
  const words = `we said ${describeNotification(notification)}`;
  return {
    session: { ...idleSession, reason, lastNotification: isTalking ? words : session.lastNotification },
    actions: [
      ...(isTalking ? [{ do: "send", bytes: notificationMessage(notification) } as const] : []),
      ...end(session),
    ],
  };
}

function end(session: Session): SessionAction[] {
  return [
    ...(session.state === "established" ? [{ do: "end" } as const] : []),
    { do: "untime", timer: "retry" },
    { do: "untime", timer: "hold" },
    { do: "untime", timer: "keepalive" },
    { do: "disconnect" },
  ];
}
