/**
 * DNS over UDP on Node's dgram: one socket per address. Packets are answered at once, in order of arrival. When the
 * kernel's queue is full, it drops packets, and the clients retry.
 *
 * No socket error ends the process. A failed send is counted (the client or its network may be gone), and so are errors
 * that the socket itself reports.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import { count, counterIndex } from "../counters.ts";
import type { Client } from "../answer/state.ts";
import { emptyAddress, readIp } from "../wire/address.ts";
import {
  datagramAnswerRoomBytes,
  receiveBufferBytes,
  type ListenAddress,
  type Transport,
  type TransportDeps,
} from "./transport.ts";

/** Binds the socket; rejects if the address can't be bound. */
export async function openDatagram(listen: ListenAddress, deps: TransportDeps): Promise<Transport> {
  const { respond, counters, log, sharesPorts = false } = deps;
  const sendErrors = counterIndex("sendErrors");
  const six = isIPv6(listen.host);
  const socket = createSocket({
    type: six ? "udp6" : "udp4",
    ipv6Only: six,
    reusePort: sharesPorts,
    // Destinations are always addresses. Without this, each send would pass through the resolver's queue.
    lookup: (hostname, _options, done) => {
      done(null, hostname, six ? 6 : 4);
    },
  });
  await bind(socket, listen);
  try {
    socket.setRecvBufferSize(receiveBufferBytes);
  } catch (error) {
    log.debug({ error }, "the receive buffer could not be enlarged");
  }

  const out = new Uint8Array(datagramAnswerRoomBytes);
  const address = emptyAddress();
  const client = { address, port: 0, transport: "udp" } satisfies Client;
  let isClosed = false;

  const onSent = (error: Error | null): void => {
    if (error !== null) count(counters, sendErrors);
  };
  socket.on("message", (query: Buffer, sender: RemoteInfo) => {
    if (!readIp(sender.address, address)) return;
    client.port = sender.port;
    const length = respond(query, query.length, client, out);
    if (length === 0) return;
    try {
      // The kernel may read the bytes later, so each answer gets its own buffer.
      socket.send(Buffer.copyBytesFrom(out, 0, length), sender.port, sender.address, onSent);
    } catch {
      count(counters, sendErrors);
    }
  });
  socket.on("error", (error) => {
    count(counters, sendErrors);
    log.debug({ error }, "UDP socket failed");
  });

  return {
    address: { host: listen.host, port: socket.address().port },
    close: () =>
      new Promise((resolve) => {
        if (isClosed) {
          resolve();
          return;
        }
        isClosed = true;
        socket.close(() => {
          resolve();
        });
      }),
  };
}

function bind(socket: Socket, { host, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once("error", onError);
    // exclusive: the socket belongs to one process and is not shared through a cluster's parent.
    socket.bind({ address: host, port, exclusive: true }, () => {
      socket.off("error", onError);
      resolve();
    });
  });
}
