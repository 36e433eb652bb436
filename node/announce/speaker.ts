/**
 * Speaks BGP to one peer over TCP: carries out what session.ts decides, and keeps the peer's picture of our routes
 * (routes.ts) equal to what is wanted.
 *
 *   socket, timers ──event──▶ nextSession ──actions──▶ socket, timers
 *   want(routes) ───────────▶ changesTo ───UPDATE────▶ socket
 *
 * Nothing is queued here: routes that change while there is no session are sent when there is one. What the peer
 * doesn't take from its socket is bounded: past 64 KiB the session ends.
 */
import type { Socket } from "node:net";
import type { Cancel, Clock } from "#base/clock.ts";
import { createFramer, readMessage, updateMessage } from "./bgp/message.ts";
import { BgpError, ceaseSubcodes, type Notification } from "./bgp/notification.ts";
import { writeEndOfRib } from "./bgp/update.ts";
import type { Dial } from "./dial.ts";
import { changesTo, nothingWanted, type Sent, type Wanted } from "./routes.ts";
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
  /** Calls the peer, again and again. Different settings end the session that there is (6/6). */
  start: (settings: SessionSettings) => void;
  /** Says what the peer shall hold from us; kept over sessions. */
  want: (wanted: Wanted) => void;
  /** Ends the session; resolves when what was said is on its way and the socket is closed. */
  stop: (notification: Notification, reason: string) => Promise<void>;
  session: () => Session;
  /** The prefixes that were sent and not taken back. */
  announced: () => readonly string[];
}

/** Hundreds of our largest updates; a peer that reads at all never comes near it. */
const unsentBytesMax = 64 * 1024;
/** How long the end of a connection may take before it is cut. */
const goodbyeMs = 300;

/** @param options.changed called after each change of the session or of what is announced */
export function createSpeaker(options: { dial: Dial; clock: Clock; changed: () => void }): Speaker {
  const { dial, clock, changed } = options;
  const timers = new Map<SessionTimer, Cancel>();
  let session = idleSession;
  let settings: SessionSettings | undefined;
  let wanted = nothingWanted;
  let sent: Sent = new Map();
  /** While a connection is being made. */
  let cancelDial: Cancel | undefined;
  let socket: Socket | undefined;
  let closing: Promise<void> = Promise.resolve();

  function take(event: SessionEvent): void {
    if (settings === undefined) return;
    const before = session;
    const step = nextSession(session, event, settings);
    ({ session } = step);
    for (const action of step.actions) act(action);
    if (session !== before) changed();
  }

  function act(action: SessionAction): void {
    switch (action.do) {
      case "connect":
        call();
        return;
      case "disconnect":
        hangUp();
        return;
      case "send":
        socket?.write(action.bytes);
        return;
      case "time": {
        timers.get(action.timer)?.();
        const cancel = clock.after(action.afterMs, () => {
          take({ kind: "expired", timer: action.timer });
        });
        timers.set(action.timer, cancel);
        return;
      }
      case "untime":
        timers.get(action.timer)?.();
        timers.delete(action.timer);
        return;
      case "begin":
        sent = new Map();
        sendChanges();
        for (const family of session.families) socket?.write(updateMessage(writeEndOfRib(family)));
        return;
      case "end":
        sent = new Map();
        return;
      case "repeat": {
        const { messages } = changesTo(new Map(), wanted, [action.family]);
        for (const message of messages) socket?.write(message);
      }
    }
  }

  function sendChanges(): void {
    if (session.state !== "established") return;
    const changes = changesTo(sent, wanted, session.families);
    ({ sent } = changes);
    // One packet for all of them.
    if (changes.messages.length > 0) socket?.write(Buffer.concat(changes.messages));
  }

  function call(): void {
    const cancel = dial((outcome) => {
      if (cancelDial !== cancel) return;
      cancelDial = undefined;
      if (outcome instanceof Error) take({ kind: "disconnected", reason: outcome.message });
      else {
        listen(outcome);
        take({ kind: "connected" });
      }
    });
    cancelDial = cancel;
  }

  function listen(mine: Socket): void {
    const frames = createFramer();
    socket = mine;
    // Events of a socket that was hung up are nobody's concern any more.
    const event = (what: SessionEvent): void => {
      if (socket === mine) take(what);
    };
    mine.on("data", (chunk: Buffer) => {
      try {
        for (const bytes of frames(chunk)) {
          if (socket !== mine) return;
          event({ kind: "message", message: readMessage(bytes, session.isFourOctetAs) });
        }
      } catch (error) {
        if (!(error instanceof BgpError)) throw error;
        event({ kind: "failed", error });
      }
      if (mine.writableLength > unsentBytesMax) {
        const error = new BgpError(6, ceaseSubcodes.outOfResources, "the peer does not read what it asks for");
        event({ kind: "failed", error });
      }
    });
    mine.on("end", () => {
      event({ kind: "disconnected", reason: "BIRD closed the connection" });
    });
    mine.on("error", (error) => {
      event({ kind: "disconnected", reason: error.message });
    });
    mine.on("close", () => {
      event({ kind: "disconnected", reason: "the connection is gone" });
    });
  }

  function hangUp(): void {
    cancelDial?.();
    cancelDial = undefined;
    const old = socket;
    socket = undefined;
    if (old === undefined || old.destroyed) return;
    closing = new Promise((resolve) => {
      const cut = clock.after(goodbyeMs, () => {
        old.destroy();
      });
      old.once("close", () => {
        cut();
        resolve();
      });
      // Nothing more is read: bytes that wait unread would turn the goodbye into a reset.
      old.resume();
      old.end();
    });
  }

  return {
    start(next) {
      const isSame =
        settings !== undefined &&
        Object.entries(next).every(([key, value]) => settings?.[key as keyof SessionSettings] === value);
      if (session.state !== "idle") {
        if (isSame) return;
        const subcode = ceaseSubcodes.otherConfigurationChange;
        take({ kind: "stop", notification: { code: 6, subcode, data: new Uint8Array() }, reason: "new settings" });
      }
      settings = next;
      take({ kind: "start" });
    },
    want(next) {
      wanted = next;
      const before = sent;
      sendChanges();
      if (sent !== before) changed();
    },
    async stop(notification, reason) {
      take({ kind: "stop", notification, reason });
      await closing;
    },
    session: () => session,
    announced: () => [...sent.keys()],
  };
}
