/** Too many clients of one listening socket: some make room for new ones (crowd.ts). */
import { clientNetworkOf } from "#base/client-network.ts";
import * as crowds from "../crowd.ts";
import { sayGoodbye } from "./channel.ts";
import { count } from "./counts.ts";
import { isIdleHttp2 } from "./http2-clients.ts";
import type { Client, Lane, ListeningSocket } from "./lane.ts";
import { abandon, takeBack } from "./sessions.ts";

/** @param address of the newcomer */
export function hasRoom(lane: Lane, { crowd }: ListeningSocket, address: string): boolean {
  return crowds.hasRoom(crowd, () => clientNetworkOf(address), lane.nowMs);
}

/** No descriptor is left: idle clients go, whoever comes next. */
export function freeDescriptors(lane: Lane, { crowd }: ListeningSocket): void {
  crowds.makeRoom(crowd, undefined, lane.nowMs);
}

export function clientsOf(lane: Lane, listening: ListeningSocket): crowds.Group {
  return {
    size: () => listening.openClients,
    members() {
      const members: crowds.Member[] = [];
      for (const client of lane.clients.values()) {
        if (client.listening === listening) members.push(memberFor(lane, client));
      }
      return members;
    },
  };
}

function memberFor(lane: Lane, client: Client): crowds.Member {
  const is = !isBusy(client) ? "idle" : isStalled(client) ? "stalled" : "busy";
  const close = (): void => {
    count(lane.counts, "refused");
    if (is === "idle") drop(lane, client);
    else abandon(lane, client); // without TLS's goodbye, after which the response could look complete
  };
  return { network: client.network, is, close };
}

/** Whether a response is in progress, here or in the main thread, or a request waits for its turn. */
function isBusy({ pair, unsent, isWaiting, http2 }: Client): boolean {
  if (http2 !== null && !isIdleHttp2(http2)) return true;
  return unsent !== null || isWaiting || (pair !== null && !pair.isQuiet && pair.isBusy);
}

/** Whether the client does not read what it has asked for. */
function isStalled({ pair, unsent, http2 }: Client): boolean {
  if (unsent !== null || pair?.isClientFull === true) return true;
  if (http2 === null) return false;
  if (http2.deadlines.size > 0) return true;
  for (const relay of http2.relays.values()) if (relay.pair?.isClientFull === true) return true;
  return false;
}

/** Closes the connection of a client that nobody answers. */
export function drop(lane: Lane, client: Client): void {
  if (client.pair?.isQuiet === true) takeBack(lane, client.pair);
  sayGoodbye(lane, client);
  abandon(lane, client);
}
