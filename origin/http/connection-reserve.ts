/**
 * Room for the next connection. Whoever has the edge token can open connections and keep them; without a bound he takes
 * all that the origin has, and writers and other edges get none.
 *
 *   open connections ──past 7/8 of the limit──▶ the network with the most gives one back: its oldest idle one,
 *                                               else its oldest; connections with the writer's token stay
 *
 * So it costs nothing while there is room, and then it costs the one who takes the most.
 */
import type { Socket } from "node:net";

export interface Reserve {
  /** A connection is open. Called once for each. */
  readonly add: (socket: Socket, network: string) => void;
  /** It has sent a request, with this kind of token. @returns to be called when the request is over */
  readonly begin: (socket: Socket, isWriter: boolean) => () => void;
}

interface Held {
  readonly socket: Socket;
  readonly network: string;
  /** Requests that run. */
  running: number;
  isWriter: boolean;
}

export function openReserve(connectionsMax: number): Reserve {
  const heldMax = connectionsMax - Math.max(1, Math.floor(connectionsMax / 8));
  // Sets keep the order of insertion, so the first is the oldest. Bounded by connectionsMax.
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
      // The newest is in the set as well, but it is the oldest of its network only where it is the only one.
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
