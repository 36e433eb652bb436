/** Checks whether addresses can be bound, for a start that binds them later: it must not begin if one is in use. */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { listenFailure } from "#base/listen-failure.ts";

interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Binds each address and releases it. @throws NearcastError CANNOT_LISTEN */
export async function checkFree(addresses: readonly Endpoint[]): Promise<void> {
  for (const address of addresses) {
    // UDP first, like the listeners, so that the message is the same.
    await bindUdp(address).catch((error: unknown) => {
      throw listenFailure("DNS over UDP", address, error);
    });
    await bindTcp(address).catch((error: unknown) => {
      throw listenFailure("DNS over TCP", address, error);
    });
  }
}

function bindUdp({ host, port }: Endpoint): Promise<void> {
  const isV6 = host.includes(":");
  const socket = createSocket({ type: isV6 ? "udp6" : "udp4", ipv6Only: isV6 });
  return new Promise((resolve, reject) => {
    socket.once("error", (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address: host, port, exclusive: true }, () => {
      socket.close(resolve);
    });
  });
}

function bindTcp({ host, port }: Endpoint): Promise<void> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, ipv6Only: host.includes(":"), exclusive: true }, () => {
      server.close(() => {
        resolve();
      });
    });
  });
}
