/**
 * The addresses of nodes that are listed by host name, for their probes. A looked-up address is kept for a while, so
 * the probed address is the counted one (probe-budget.ts), and a name with slow servers does not delay others.
 *
 *   192.0.2.1 ─▶ itself      node.example ─▶ kept for 5 s ─▶ looked up again, the old one serves meanwhile
 *                                               └─ no answer ─▶ the old one goes on; asked again after 30 s
 */
import { isIP } from "node:net";
import type { Clock } from "#base/clock.ts";
import { leadsInto, unreachable } from "#base/networks.ts";
import { type LookUp, openLookUp } from "./look-up.ts";

const freshMs = 5000;
/** A name without an address may get one at any time, and its node is expected. */
const failureFreshMs = 1000;
/** A name that was slow to fail is left alone for this long, so that many such names leave room for others. */
const slowMs = 1000;
const slowFreshMs = 30_000;
/** As many names as one edge token may register, so that the first look-up of a name waits for no other. */
const lookupsAtOnce = 256;

interface Known {
  address: string | Error;
  untilMs: number;
}

export interface ProbeAddresses {
  /**
   * The address of a URL's host.
   * @throws Error if the name has none, or one that can't be another machine
   */
  of: (hostname: string, timeoutMs: number) => Promise<string>;
  /** The last result of of(); undefined if it failed. */
  last: (hostname: string) => string | undefined;
}

export function openProbeAddresses(clock: Clock, look: LookUp = openLookUp({ clock })): ProbeAddresses {
  const known = new Map<string, Known>();
  const looking = new Map<string, Promise<void>>();
  const waiting: (() => void)[] = [];
  let running = 0;

  async function refresh(hostname: string): Promise<void> {
    // A slot passes directly to the next in line, so nobody can slip in between.
    if (running < lookupsAtOnce) running += 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    const begunMs = clock.monotonicMs();
    const found = await look(hostname).catch((error: unknown) => error as Error);
    const nowMs = clock.monotonicMs();
    known.set(hostname, found instanceof Error ? failed(hostname, found, nowMs - begunMs) : fresh(found));
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  }

  function fresh(address: string): Known {
    return { address, untilMs: clock.monotonicMs() + freshMs };
  }

  function failed(hostname: string, error: Error, tookMs: number): Known {
    const nowMs = clock.monotonicMs();
    if (tookMs < slowMs) return { address: error, untilMs: nowMs + failureFreshMs };
    // No answer says nothing about the known address (RFC 8767).
    const before = known.get(hostname)?.address;
    return { address: typeof before === "string" ? before : error, untilMs: nowMs + slowFreshMs };
  }

  function refreshOnce(hostname: string): Promise<void> {
    const one = looking.get(hostname) ?? refresh(hostname).finally(() => looking.delete(hostname));
    looking.set(hostname, one);
    return one;
  }

  function forget(nowMs: number): void {
    for (const [hostname, { untilMs }] of known) if (nowMs - untilMs > 60 * freshMs) known.delete(hostname);
  }

  return {
    async of(hostname, timeoutMs) {
      const bare = hostname.replace(/^\[|\]$/g, "");
      if (isIP(bare) !== 0) {
        // The origin refuses these; nodes that joined an older one may still have them.
        if (leadsInto(unreachable, bare)) throw new Error(`${bare} can't be the address of another machine`);
        return bare;
      }
      const nowMs = clock.monotonicMs();
      const before = known.get(hostname);
      if (before === undefined) {
        forget(nowMs);
        const deadline = AbortSignal.timeout(timeoutMs);
        await Promise.race([
          refreshOnce(hostname),
          new Promise((_resolve, reject) => {
            deadline.addEventListener("abort", () => {
              reject(new Error(`${hostname} was not looked up in time`));
            });
          }),
        ]);
      } else if (nowMs > before.untilMs) void refreshOnce(hostname);
      const address = known.get(hostname)?.address ?? new Error(`${hostname} was not looked up`);
      if (address instanceof Error) throw address;
      return address;
    },
    last(hostname) {
      const address = known.get(hostname)?.address;
      return typeof address === "string" ? address : undefined;
    },
  };
}
