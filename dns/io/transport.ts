/**
 * The transports of queries and answers: datagram.ts and stream.ts use Node's own sockets; batch.ts receives many UDP
 * packets from the kernel at a time.
 */
import type { Log } from "#base/log.ts";
import type { Counters } from "../counters.ts";
import type { Respond } from "../responder.ts";

export interface ListenAddress {
  /** An IPv4 or IPv6 address; never a wildcard where several addresses are served, since UDP answers must leave
   *  from the address that the query was sent to. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
}

export interface Transport {
  /** The address with the port that was actually bound. */
  readonly address: ListenAddress;
  /** Stops accepting queries and frees the socket; resolves when nothing is left. Calling it twice is harmless. */
  close: () => Promise<void>;
}

export interface TransportDeps {
  readonly respond: Respond;
  readonly counters: Counters;
  readonly log: Log;
  /**
   * Other processes of this user may bind the same address and port (SO_REUSEPORT): the kernel spreads clients over all
   * that do. Default: no other process may.
   */
  readonly sharesPorts?: boolean;
}

/** Room for an answer over UDP. None is longer than 1,232 octets, so that it needs no fragments (RFC 9715 §3.2). */
export const datagramAnswerRoomBytes = 4096;

/**
 * Room for a burst of 40,000 queries while the process can't run: the kernel accounts some 830 octets for a small
 * packet, and doubles the size that is set. Without privileges it grants at most net.core.rmem_max.
 */
export const receiveBufferBytes = 16 * 1024 * 1024;
