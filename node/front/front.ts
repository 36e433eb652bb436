/**
 * The front stands between clients' connections and Node's HTTP server. It answers hits itself, and relays everything
 * else to the server, complete and unchanged. connection.ts has the phases of a connection.
 *
 * A connection has one response in progress, and starts one request per turn of the event loop, however many requests
 * it sends at once. The bytes of the others wait. Beyond a limit, the front stops reading from the connection.
 */
import { clientNetworkOf } from "#base/client-network.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { Connection, FrontParts, State } from "./connection.ts";
import { hasRoom, type Member } from "./crowd.ts";
import { dateField } from "./date-field.ts";
import { joinedBytesMax, openLaneSink } from "./lane-sink.ts";
import { answered, arrived, ended } from "./reading.ts";
import { dropRest, holds, holdsNothing, refuse } from "./refusing.ts";
import { isEncrypted } from "./relay.ts";
import { newRequestHead } from "./request-head.ts";
import { lineStates } from "./request-line.ts";
import { createUnfinished } from "./unfinished.ts";

export interface Front {
  readonly accept: (socket: ClientConnection) => void;
  /** A request of this relay has begun, with what Node's server had of it. */
  readonly begun: (relay: object) => void;
  /** Node's server has sent all responses of this relay. */
  readonly idle: (relay: object) => void;
  /** Drops what a relay's client still sends: the connection closes after its responses. */
  readonly refuse: (relay: object) => void;
  /** Closes connections that have been silent for too long. */
  readonly sweep: () => void;
  /** From now on, connections close as soon as they are idle. */
  readonly drain: () => void;
  readonly closeAll: () => void;
}

export function openFront(parts: FrontParts): Front {
  const state: State = {
    ...parts,
    connections: new Set(),
    byRelay: new WeakMap(),
    unfinished: createUnfinished(),
    head: newRequestHead(),
    common: {
      date: dateField(parts.clock),
      keepAliveSeconds: Math.floor(parts.waits.idle / 1000),
      joined: Buffer.allocUnsafeSlow(joinedBytesMax),
    },
    isDraining: false,
  };
  state.crowd.groups.push({ size: () => state.connections.size, members: () => membersOf(state) });
  return {
    accept(socket) {
      accept(state, socket);
    },
    begun(relay) {
      const connection = state.byRelay.get(relay);
      if (connection === undefined) return;
      connection.relayedBytes = 0;
      connection.socket.setBusy?.(true);
      holds(state, connection);
    },
    idle(relay) {
      const connection = state.byRelay.get(relay);
      if (connection?.phase === "relaying") {
        connection.socket.setTimeout(0); // the server's own, for an idle connection
        answered(state, connection);
        return;
      }
      connection?.socket.setBusy?.(false);
      if (state.isDraining) connection?.socket.destroySoon();
    },
    refuse(relay) {
      const connection = state.byRelay.get(relay);
      if (connection !== undefined) dropRest(state, connection);
    },
    sweep() {
      sweep(state);
    },
    drain() {
      state.isDraining = true;
      for (const connection of state.connections) if (!isBusy(state, connection)) connection.socket.destroySoon();
    },
    closeAll() {
      for (const { socket } of state.connections) socket.destroy();
    },
  };
}

/** Those that wait for their clients are idle, also with an incomplete request. */
function membersOf(state: State): Member[] {
  const { connections } = state;
  const members: Member[] = [];
  for (const connection of connections) {
    const { network, socket } = connection;
    const close = (): void => {
      connections.delete(connection);
      socket.destroy();
    };
    const is = !isBusy(state, connection) ? "idle" : socket.writableNeedDrain ? "stalled" : "busy";
    members.push({ network, is, close });
  }
  return members;
}

/** Whether a response is in progress, or a request waits for its turn. */
function isBusy({ isAnswering }: State, { phase, relay }: Connection): boolean {
  if (phase === "relayed" || phase === "refused") return relay !== null && isAnswering(relay);
  return phase !== "reading";
}

function accept(state: State, socket: ClientConnection): void {
  const { remoteAddress } = socket;
  let known: string | undefined;
  const network = (): string => (known ??= clientNetworkOf(remoteAddress));
  const sinceMs = state.clock.monotonicMs();
  if (!hasRoom(state.crowd, network, sinceMs)) {
    socket.destroy();
    return;
  }
  const connection: Connection = {
    socket,
    network,
    heldBytes: 0,
    sink: openLaneSink(socket, state.common),
    isSecure: isEncrypted(socket),
    phase: "reading",
    rest: null,
    relay: null,
    inLine: null,
    line: lineStates.done,
    relayedBytes: 0,
    isWanted: false,
    pieces: 0,
    droppedBytes: 0,
    sinceMs,
    hasAnswered: false,
    isEnded: false,
  };
  state.connections.add(connection);
  socket.on("data", (chunk: Buffer) => {
    arrived(state, connection, chunk);
  });
  socket.on("end", () => {
    ended(state, connection);
  });
  socket.on("late", () => {
    if (connection.phase === "reading") refuse(state, connection, "late");
  });
  socket.on("error", () => undefined); // followed by "close"
  socket.on("close", () => {
    if (connection.inLine !== null) state.sessionTurns.leave(connection.network(), connection.inLine);
    holdsNothing(state, connection);
    state.connections.delete(connection);
  });
}

function sweep(state: State): void {
  const nowMs = state.clock.monotonicMs();
  const { headers, idle } = state.waits;
  for (const connection of state.connections) {
    const { phase, rest, sinceMs, hasAnswered, socket } = connection;
    if (phase !== "reading") continue;
    const silentMs = nowMs - sinceMs;
    if (rest !== null && silentMs >= headers) {
      refuse(state, connection, "late");
    } else if (rest === null && silentMs >= (hasAnswered ? idle : headers)) socket.destroySoon();
  }
}
