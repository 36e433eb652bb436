/**
 * A client's connection as the front uses it: a net.Socket, or a connection whose socket belongs to a lane
 * (lane/lent-connection.ts).
 *
 * Besides the events of a stream, and "timeout", a lent connection emits "late" when the time for an incomplete request
 * head is over.
 */
import type { Duplex } from "node:stream";

export interface ClientConnection extends Duplex {
  /** Undefined: the client has left already. */
  readonly remoteAddress?: string | undefined;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Whether it uses TLS; the same name as in TLS sockets. */
  readonly encrypted?: boolean;
  /** "h2": the client has negotiated HTTP/2 (ALPN, RFC 7301); the same name as in TLS sockets. */
  readonly alpnProtocol?: string | false | null;
  /** Set by setTimeout(), in ms. */
  readonly timeout?: number | undefined;
  /** "timeout" is emitted when nothing was read or written for `timeMs`; 0: never. */
  setTimeout: (timeMs: number) => unknown;
  /** Closes the connection when everything is written. */
  destroySoon: () => void;
  /**
   * Called when nothing is in progress and all bytes that were read are answered: whoever has lent the connection may
   * have it back. Absent: nobody has.
   */
  readonly offerBack?: () => void;
  /**
   * Says whether a response is in progress, or only the beginning of a request is there: such a connection may have to
   * make room (crowd.ts). At first, one is in progress. Absent: whoever asks looks for itself.
   */
  readonly setBusy?: (isBusy: boolean) => void;
}
