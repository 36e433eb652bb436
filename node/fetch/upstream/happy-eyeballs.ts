/**
 * One TCP connection to whichever of a host's addresses answers first (Happy Eyeballs version 2, RFC 8305): families
 * alternate, and the next address is tried when one has failed or has been silent for a quarter of a second. So an
 * origin whose IPv6 is broken costs a quarter of a second, not a time-out.
 */
import { connect, isIPv6, type Socket } from "node:net";
import type { Cancel, Clock } from "#base/clock.ts";

/** RFC 8305 §5 recommends 250 ms. */
const attemptDelayMs = 250;
/** More addresses than this are not tried: all attempts together must fit into the deadline for connecting. */
const addressesMax = 8;

interface Race {
  readonly addresses: readonly string[];
  readonly port: number;
  readonly clock: Clock;
  readonly open: Set<Socket>;
  next: number;
  cancelNext: Cancel | undefined;
  isOver: boolean;
  /** The first failure counts: its address is the one that the system prefers. */
  failure: Error | undefined;
  readonly settle: PromiseWithResolvers<Socket>;
}

/**
 * @param addresses the system's order (RFC 6724); at least one
 * @param signal ends all attempts
 * @throws the first failure when all addresses failed, or the signal's reason
 */
export async function connectToFirst(
  addresses: readonly string[],
  port: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<Socket> {
  signal.throwIfAborted();
  const race: Race = {
    addresses: alternating(addresses).slice(0, addressesMax),
    port,
    clock,
    open: new Set(),
    next: 0,
    cancelNext: undefined,
    isOver: false,
    failure: undefined,
    settle: Promise.withResolvers<Socket>(),
  };
  const abort = (): void => {
    end(race);
    race.settle.reject(signal.reason as Error);
  };
  signal.addEventListener("abort", abort, { once: true });
  tryNext(race);
  try {
    return await race.settle.promise;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** The addresses with alternating families, beginning with the first one's (RFC 8305 §4). */
export function alternating(addresses: readonly string[]): string[] {
  const isFirstIpv6 = isIPv6(addresses[0] ?? "");
  const first = addresses.filter((address) => isIPv6(address) === isFirstIpv6);
  const other = addresses.filter((address) => isIPv6(address) !== isFirstIpv6);
  return Array.from({ length: Math.max(first.length, other.length) }, (_, index) => [first[index], other[index]])
    .flat()
    .filter((address) => address !== undefined);
}

function tryNext(race: Race): void {
  race.cancelNext?.();
  race.cancelNext = undefined;
  const host = race.addresses[race.next];
  if (race.isOver || host === undefined) return;
  race.next += 1;
  const socket = connect({ host, port: race.port, autoSelectFamily: false });
  race.open.add(socket);
  const failed = (error: Error): void => {
    race.open.delete(socket);
    race.failure ??= error;
    socket.destroy();
    if (race.isOver) return;
    if (race.next < race.addresses.length) tryNext(race);
    else if (race.open.size === 0) {
      end(race);
      race.settle.reject(race.failure);
    }
  };
  socket.once("error", failed);
  socket.once("connect", () => {
    socket.off("error", failed);
    race.open.delete(socket);
    end(race);
    race.settle.resolve(socket);
  });
  if (race.next < race.addresses.length) {
    race.cancelNext = race.clock.after(attemptDelayMs, () => {
      tryNext(race);
    });
  }
}

/** Stops all other attempts. */
function end(race: Race): void {
  race.isOver = true;
  race.cancelNext?.();
  for (const socket of race.open) {
    socket.on("error", () => undefined);
    socket.destroy();
  }
  race.open.clear();
}
