/**
 * Keeps room for the next connection. Whoever has the edge token can open connections and keep them; without a bound,
 * one client could take all connections, and writers and other edges would get none.
 *
 *   open connections ──past 7/8 of the limit──▶ the network with the most loses one: its oldest idle one,
 *                                               else its oldest; connections with the writer's token stay
 *
 * This costs nothing while there is room, and then it affects the client that takes the most.
 */
import type { Socket } from "node:net";

export interface Reserve {
  /** Adds an open connection. Call this once for each. */
  readonly add: (socket: Socket, network: string) => void;
  /** It has sent a request with this kind of token. @returns a function to call when the request is over */
  readonly begin: (socket: Socket, isWriter: boolean) => () => void;
}

interface Held {
  readonly socket: Socket;
  readonly network: string;
  /** Number of running requests. */
  running: number;
  isWriter: boolean;
}

export function openReserve(connectionsMax: number): Reserve {
  const heldMax = connectionsMax - Math.max(1, Math.floor(connectionsMax / 8));
  // A map keeps the order of insertion, so the first is the oldest. Bounded by connectionsMax.
  const all = new Map<Socket, Held>();
  const byNetwork = new Map<string, Set<Held>>();

  function forget(held: Held): void {
    all.delete(held.socket);
    const ofNetwork = byNetwork.get(held.network);
    ofNetwork?.delete(held);
    if (ofNetwork?.size === 0) byNetwork.delete(held.network);
  }

  function giveOneBack(): void {
    const networks = [...byNetwork.values()].toSorted((one, other) => other.size - one.size);
    for (const ofNetwork of networks) {
      const others = [...ofNetwork].filter(({ isWriter }) => !isWriter);
      const chosen = others.find(({ running }) => running === 0) ?? others[0];
      if (chosen === undefined) continue;
      forget(chosen);
      chosen.socket.destroy();
      return;
    }
  }

  return {
    add(socket, network) {
      const held: Held = { socket, network, running: 0, isWriter: false };
      all.set(socket, held);
      const ofNetwork = byNetwork.get(network);
      if (ofNetwork === undefined) byNetwork.set(network, new Set([held]));
      else ofNetwork.add(held);
      socket.once("close", () => {
        forget(held);
      });
      // The new connection is included, but it is the oldest of its network only if it is the only one.
      if (all.size > heldMax) giveOneBack();
    },
    begin(socket, isWriter) {
      const held = all.get(socket);
      if (held === undefined) return () => undefined;
      held.running += 1;
      held.isWriter ||= isWriter;
      return () => {
        held.running -= 1;
      };
    },
  };
}
