/**
 * What carries queries in and answers out: datagram.ts and stream.ts on Node's own sockets, and batch.ts, which takes
 * UDP packets from the kernel many at a time.
 */
import type { Log } from "#base/log.ts";
import type { Counters } from "../counters.ts";
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
  readonly counters: Counters;
  readonly log: Log;
  /**
   * Other processes of this user may bind the same address and port (SO_REUSEPORT): the kernel spreads clients over all
   * that do. Default: nobody else may.
   */
  readonly sharesPorts?: boolean;
}

/** Room for an answer over UDP. None is longer than 1,232 octets, so that it needs no fragments (RFC 9715 §3.2). */
export const datagramAnswerRoomBytes = 4096;

/**
 * Room for a burst of 40,000 queries while the process is kept from running: the kernel counts some 830 octets for a
 * small packet, and twice the number that is set. Without privilege it grants net.core.rmem_max at most.
 */
export const receiveBufferBytes = 16 * 1024 * 1024;
