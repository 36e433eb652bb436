/**
 * A BGP session as a pure state machine (RFC 4271 §8): it takes an event and returns a new session and a list of
 * actions. speaker.ts executes them on a socket and three timers.
 *
 *                    ┌──────────────── anything goes wrong: retry ───────────────┐
 *                    ▼                                                           │
 *   idle ─start─▶ connecting ─connected─▶ open-sent ─OPEN─▶ open-confirm ─KEEPALIVE─▶ established
 *                        OPEN ─▶          KEEPALIVE ─▶                            UPDATE ─▶, KEEPALIVE ⇄
 *
 * Smaller than the RFC's: we always connect and never listen, so there is no Active state and no collision, and
 * `connecting` also covers the delay before the next attempt.
 *
 * Both ends are on one machine, and the lease must be back soon after BIRD is: after a refused connection or a Cease
 * (BIRD stops, restarts, or still cleans up the last session) the next attempt follows after 100 ms, then 200, 400,
 * 500. Errors that a person must correct, such as a wrong AS number, are retried after 1 s, 2 s, … 10 s, so that logs
 * stay readable.
 *
 * The hold time in force is the lower of the two (§4.2). With zero, a frozen process would keep its announcement
 * forever, which the lease must prevent: a peer that wants zero is refused.
 */
import { keepaliveMessage, type Message, notificationMessage, openMessage } from "./bgp/message.ts";
import { BgpError, describeNotification, type Notification } from "./bgp/notification.ts";
import type { Open } from "./bgp/open.ts";
import type { Family } from "./bgp/prefix.ts";

/** The state of the session (RFC 4271 §8.2.2). */
export type SessionState = "idle" | "connecting" | "open-sent" | "open-confirm" | "established";

export interface SessionSettings {
  /** The AS number of both sides. */
  readonly as: number;
  /** Our BGP identifier as a number; it must not be the peer's router id. */
  readonly identifier: number;
  readonly holdSeconds: number;
}

export interface Session {
  readonly state: SessionState;
  /** The last event, for people; empty before the first. */
  readonly reason: string;
  /** The last NOTIFICATION and who sent it, such as `BIRD said 2/2 bad peer AS`. */
  readonly lastNotification: string | null;
  /** Failed attempts since the session was last established. */
  readonly retries: number;
  /** As negotiated with the peer; 0 before its OPEN. */
  readonly holdMs: number;
  readonly families: readonly Family[];
  readonly isFourOctetAs: boolean;
}

export type SessionTimer = "retry" | "hold" | "keepalive";

export type SessionEvent =
  | { readonly kind: "start" }
  /** We end the session; the peer gets the reason, if there is one. */
  | { readonly kind: "stop"; readonly notification: Notification; readonly reason: string }
  | { readonly kind: "connected" }
  /** The connection failed or was closed. */
  | { readonly kind: "disconnected"; readonly reason: string }
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "failed"; readonly error: BgpError }
  | { readonly kind: "expired"; readonly timer: SessionTimer };

export type SessionAction =
  | { readonly do: "connect" }
  /** Sends pending data, then closes. */
  | { readonly do: "disconnect" }
  | { readonly do: "send"; readonly bytes: Uint8Array }
  /** Starts or restarts a timer. */
  | { readonly do: "time"; readonly timer: SessionTimer; readonly afterMs: number }
  | { readonly do: "untime"; readonly timer: SessionTimer }
  /** Routes can be sent now. */
  | { readonly do: "begin" }
  /** The peer has forgotten what was sent. */
  | { readonly do: "end" }
  /** The peer requests all routes of this family again (RFC 2918). */
  | { readonly do: "repeat"; readonly family: Family };

export interface Step {
  readonly session: Session;
  readonly actions: readonly SessionAction[];
}

/** The deadline of a connection, and then of the peer's OPEN; both are on this machine. */
const openingMs = 5000;
const quickRetryMs = { first: 100, most: 500 } as const;
const slowRetryMs = { first: 1000, most: 10_000 } as const;
/** The delay stops doubling long before; this keeps the counter from growing without bound. */
const retriesMost = 20;
/** Cease subcodes after which an immediate retry is pointless: too many prefixes, out of resources. */
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

/** The next session, and the actions that it requires, in this order. */
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
    // Either an attempt hangs, or the delay after a failed one is over: a new attempt starts, the old one is dropped.
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

/** Handles events while a connection exists and both sides exchange messages. */
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
      // A family that was not negotiated is ignored (RFC 2918 §4).
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

/** Checks the peer's OPEN against our settings (RFC 4271 §6.2, RFC 6286 §2.2). */
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

/** Sends the peer the error, and ends the connection. */
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
