/**
 * New connections to an origin, for undici: lookup and check of the addresses, TCP to the first that responds, TLS. One
 * deadline covers all of it.
 */
import type { Socket } from "node:net";
import { buildConnector } from "undici";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { before } from "#base/lifecycle.ts";
import { type AddressPolicy, allowedAddresses } from "./addresses.ts";
import { connectToFirst } from "./happy-eyeballs.ts";

/**
 * TCP repeats its first packet after 1 s and 3 s. A new connection takes another port then, and maybe another path.
 */
export const connectTimeoutMs = 3000;
/** The same as undici's own. */
const tcpKeepAliveMs = 60_000;

/** A failure before a request could be sent: look-up, TCP or TLS. It concerns the origin as a whole. */
export class ConnectFailure extends Error {
  /** Nothing came back at all in time: a new attempt costs the origin nothing. */
  readonly isTimeout: boolean;
  constructor(cause: unknown, isTimeout: boolean) {
    super("no connection", { cause });
    this.isTimeout = isTimeout;
  }
}

export type Connect = (options: buildConnector.Options, signal: AbortSignal, callback: buildConnector.Callback) => void;

/** @returns fails with a ConnectFailure, or with ORIGIN_NOT_ALLOWED */
export function createConnect(parts: { policy: AddressPolicy; clock: Clock }): Connect {
  // HTTP/1.1 only: over one HTTP/2 connection, one stalled response could stall all others. Sessions are resumed.
  const startTls = buildConnector({ allowH2: false, timeout: connectTimeoutMs });

  function secure(options: buildConnector.Options, socket: Socket, signal: AbortSignal): Promise<Socket> {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const abort = (): void => {
      socket.destroy();
      reject(signal.reason as Error);
    };
    signal.addEventListener("abort", abort, { once: true });
    startTls({ ...options, httpSocket: socket }, (error, secured) => {
      signal.removeEventListener("abort", abort);
      if (error === null) resolve(secured);
      else reject(error);
    });
    return promise;
  }

  async function open(options: buildConnector.Options, signal: AbortSignal): Promise<Socket> {
    const isSecure = options.protocol === "https:";
    const port = options.port === "" ? (isSecure ? 443 : 80) : Number(options.port);
    const addresses = await before(signal, allowedAddresses(options.hostname, parts.policy));
    const socket = await connectToFirst(addresses, port, parts.clock, signal);
    if (signal.aborted) {
      socket.destroy();
      throw signal.reason as Error;
    }
    socket.setNoDelay(true).setKeepAlive(true, tcpKeepAliveMs);
    return isSecure ? await secure(options, socket, signal) : socket;
  }

  /** Reports the result to undici in the form that it expects. */
  async function report(opening: Promise<Socket>, callback: buildConnector.Callback, late: Error): Promise<void> {
    let socket: Socket;
    try {
      socket = await opening;
    } catch (error) {
      callback(error instanceof NearcastError ? error : new ConnectFailure(error, error === late), null);
      return;
    }
    callback(null, socket);
  }

  return (options, signal, callback) => {
    const deadline = new AbortController();
    const late = new Error("the connection timed out");
    const cancel = parts.clock.after(connectTimeoutMs, () => {
      deadline.abort(late);
    });
    const abort = (): void => {
      deadline.abort(signal.reason);
    };
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    void report(open(options, deadline.signal), callback, late).finally(() => {
      cancel();
      signal.removeEventListener("abort", abort);
    });
  };
}
