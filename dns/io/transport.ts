/**
 * What carries queries in and answers out. Two stand here, datagram.ts and stream.ts; a path that takes packets from
 * the kernel in batches fits behind the same interface.
 */
import type { Log } from "#base/log.ts";
import type { DnsStats } from "../counters.ts";
import type { Respond } from "../responder.ts";

export interface ListenAddress {
  /** An IPv4 or IPv6 address; never a wildcard where several addresses are served, since UDP answers must leave
   *  from the address that was asked. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
}

export interface Transport {
  /** The address with the port that was really bound. */
  readonly address: ListenAddress;
  /** Stops taking queries and frees the socket; resolves when nothing is left. Calling it twice is harmless. */
  close: () => Promise<void>;
}

export interface TransportDeps {
  readonly respond: Respond;
  readonly stats: DnsStats;
  readonly log: Log;
}
