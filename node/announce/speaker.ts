/**
 * Speaks BGP to one peer over TCP: executes the decisions of session.ts, and keeps the routes that the peer has from us
 * (announced-routes.ts) equal to the wanted ones.
 *
 *   socket, timers ──event──▶ nextSession ──actions──▶ socket, timers
 *   want(routes) ───────────▶ changesTo ───UPDATE────▶ socket
 *
 * Nothing is queued here: routes that change while there is no session are sent when there is one. Unsent data is
 * bounded: past 64 KiB the session ends.
 */
import type { Socket } from "node:net";
import type { Cancel, Clock } from "#base/clock.ts";
import { systemReason } from "#base/system-reason.ts";
import { createFramer, readMessage, updateMessage } from "./bgp/message.ts";
import { BgpError, ceaseSubcodes, type Notification } from "./bgp/notification.ts";
import { writeEndOfRib } from "./bgp/update.ts";
import type { Dial } from "./dial.ts";
import { changesTo, nothingWanted, type Sent, type Wanted } from "./announced-routes.ts";
import {
  idleSession,
  nextSession,
  type Session,
  type SessionAction,
  type SessionEvent,
  type SessionSettings,
  type SessionTimer,
} from "./session.ts";

export interface Speaker {
  /** Connects to the peer, with retries. Different settings end the current session (6/6). */
  start: (settings: SessionSettings) => void;
  /** Sets the routes that the peer should have from us; kept across sessions. */
  want: (wanted: Wanted) => void;
  /** Ends the session; resolves when pending messages are on their way and the socket is closed. */
  stop: (notification: Notification, reason: string) => Promise<void>;
  session: () => Session;
  /** The prefixes that were sent and not withdrawn. */
  announced: () => readonly string[];
}

/** Hundreds of our largest updates; a peer that reads at all never reaches it. */
const unsentBytesMax = 64 * 1024;
/** How long closing a connection may take before it is destroyed. */
const goodbyeMs = 300;

/** One record: the session with the peer, and the routes that it has from us. */
interface Line {
  readonly dial: Dial;
  readonly clock: Clock;
  readonly changed: () => void;
  readonly timers: Map<SessionTimer, Cancel>;
  session: Session;
  settings: SessionSettings | undefined;
  wanted: Wanted;
  sent: Sent;
  /** While a connection is being made. */
  cancelDial: Cancel | undefined;
  socket: Socket | undefined;
  closing: Promise<void>;
}

/** @param options.changed called after each change of the session or of the announced routes */
export function createSpeaker(options: { dial: Dial; clock: Clock; changed: () => void }): Speaker {
  const line: Line = {
    ...options,
    timers: new Map(),
    session: idleSession,
    settings: undefined,
    wanted: nothingWanted,
    sent: new Map(),
    cancelDial: undefined,
    socket: undefined,
    closing: Promise.resolve(),
  };
  return {
    start(settings) {
      start(line, settings);
    },
    want(wanted) {
      line.wanted = wanted;
      const before = line.sent;
      sendChanges(line);
      if (line.sent !== before) line.changed();
    },
    async stop(notification, reason) {
      take(line, { kind: "stop", notification, reason });
      await line.closing;
    },
    session: () => line.session,
    announced: () => [...line.sent.keys()],
  };
}

function start(line: Line, next: SessionSettings): void {
  const { settings } = line;
  const isSame =
    settings !== undefined &&
    Object.entries(next).every(([key, value]) => settings[key as keyof SessionSettings] === value);
  if (line.session.state !== "idle") {
    if (isSame) return;
    const subcode = ceaseSubcodes.otherConfigurationChange;
    take(line, { kind: "stop", notification: { code: 6, subcode, data: new Uint8Array() }, reason: "new settings" });
  }
  line.settings = next;
  take(line, { kind: "start" });
}

function take(line: Line, event: SessionEvent): void {
  if (line.settings === undefined) return;
  const before = line.session;
  const step = nextSession(before, event, line.settings);
  line.session = step.session;
  for (const action of step.actions) act(line, action);
  if (line.session !== before) line.changed();
}

function act(line: Line, action: SessionAction): void {
  const { timers, clock } = line;
  switch (action.do) {
    case "connect":
      call(line);
      return;
    case "disconnect":
      hangUp(line);
      return;
    case "send":
      line.socket?.write(action.bytes);
      return;
    case "time": {
      timers.get(action.timer)?.();
      const cancel = clock.after(action.afterMs, () => {
        take(line, { kind: "expired", timer: action.timer });
      });
      timers.set(action.timer, cancel);
      return;
    }
    case "untime":
      timers.get(action.timer)?.();
      timers.delete(action.timer);
      return;
    case "begin":
      line.sent = new Map();
      sendChanges(line);
      for (const family of line.session.families) line.socket?.write(updateMessage(writeEndOfRib(family)));
      return;
    case "end":
      line.sent = new Map();
      return;
    case "repeat": {
      const { messages } = changesTo(new Map(), line.wanted, [action.family]);
      for (const message of messages) line.socket?.write(message);
    }
  }
}

function sendChanges(line: Line): void {
  if (line.session.state !== "established") return;
  const { messages, sent } = changesTo(line.sent, line.wanted, line.session.families);
  line.sent = sent;
  // One packet for all messages.
  if (messages.length > 0) line.socket?.write(Buffer.concat(messages));
}

function call(line: Line): void {
  const cancel = line.dial((outcome) => {
    if (line.cancelDial !== cancel) return;
    line.cancelDial = undefined;
    if (outcome instanceof Error) take(line, { kind: "disconnected", reason: systemReason(outcome) });
    else {
      listen(line, outcome);
      take(line, { kind: "connected" });
    }
  });
  line.cancelDial = cancel;
}

function listen(line: Line, mine: Socket): void {
  const frames = createFramer();
  line.socket = mine;
  // Events of a closed socket are ignored.
  const event = (what: SessionEvent): void => {
    if (line.socket === mine) take(line, what);
  };
  mine.on("data", (chunk: Buffer) => {
    try {
      for (const bytes of frames(chunk)) {
        if (line.socket !== mine) return;
        event({ kind: "message", message: readMessage(bytes, line.session.isFourOctetAs) });
      }
    } catch (error) {
      if (!(error instanceof BgpError)) throw error;
      event({ kind: "failed", error });
    }
    if (mine.writableLength > unsentBytesMax) {
      const error = new BgpError(6, ceaseSubcodes.outOfResources, "the peer does not read from its socket");
      event({ kind: "failed", error });
    }
  });
  mine.on("end", () => {
    event({ kind: "disconnected", reason: "BIRD closed the connection" });
  });
  mine.on("error", (error) => {
    event({ kind: "disconnected", reason: systemReason(error) });
  });
  mine.on("close", () => {
    event({ kind: "disconnected", reason: "the connection was closed" });
  });
}

function hangUp(line: Line): void {
  line.cancelDial?.();
  line.cancelDial = undefined;
  const old = line.socket;
  line.socket = undefined;
  if (old === undefined || old.destroyed) return;
  line.closing = new Promise((resolve) => {
    const cut = line.clock.after(goodbyeMs, () => {
      old.destroy();
    });
    old.once("close", () => {
      cut();
      resolve();
    });
    // Discards unread data: it would turn the close into a reset.
    old.resume();
    old.end();
  });
}
