/**
 * Where a node that is named by a host name stands, for its probes. A name is looked up once for a while, so that what
 * is probed is the address that was counted (probe-budget.ts), and a name whose servers are slow holds up no other.
 *
 *   192.0.2.1 ─▶ itself      node.example ─▶ kept for 5 s ─▶ looked up behind, the old one serves meanwhile
 *                                               └─ no answer ─▶ the old one goes on; asked again after 30 s
 */
import { isIP } from "node:net";
import type { Clock } from "#base/clock.ts";
import { leadsInto, unreachable } from "#base/networks.ts";
import { type LookUp, openLookUp } from "./look-up.ts";

const freshMs = 5000;
/** A name that has no address may be given one at any time, and its node is waited for. */
const failureFreshMs = 1000;
/** A name that was slow to fail is let rest, so that such names, however many there are, leave room for others. */
const slowMs = 1000;
const slowFreshMs = 30_000;
/** As many names as one edge token may register, so that one that is looked up first time waits for no other. */
const lookupsAtOnce = 256;

interface Known {
  address: string | Error;
  untilMs: number;
}

export interface ProbeAddresses {
  /**
   * The address of a URL's host.
   * @throws Error when the name has none, or one at which no other machine is
   */
  of: (hostname: string, timeoutMs: number) => Promise<string>;
  /** What of() gave last; undefined when it failed. */
  last: (hostname: string) => string | undefined;
}

export function openProbeAddresses(clock: Clock, look: LookUp = openLookUp({ clock })): ProbeAddresses {
  const known = new Map<string, Known>();
  const looking = new Map<string, Promise<void>>();
  const waiting: (() => void)[] = [];
  let running = 0;

  async function refresh(hostname: string): Promise<void> {
    // A slot goes to the next in line as it is, so nobody can slip in between.
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
    // No answer says nothing of the address that was known (RFC 8767).
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
        if (leadsInto(unreachable, bare)) throw new Error(`${bare} is where no other machine is`);
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
