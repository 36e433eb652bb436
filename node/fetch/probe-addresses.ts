/**
 * Where a node that is named by a host name stands, for its probes. A name is looked up once for a while, so that what
 * is probed is the address that was counted (probe-budget.ts), and a name whose servers are slow holds up no other.
 *
 *   192.0.2.1 ─▶ itself      node.example ─▶ kept for 5 s ─▶ looked up behind, the old one serves meanwhile
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Clock } from "#base/clock.ts";
import { leadsInto, loopback, unreachable } from "#base/networks.ts";

const freshMs = 5000;
/** A name that has no address may be given one at any time, and its node is waited for. */
const failureFreshMs = 1000;
/** Look-ups occupy threads that the file system needs as well: of its four, so many. */
const lookupsAtOnce = 2;

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

export function openProbeAddresses(clock: Clock, look: typeof lookUp = lookUp): ProbeAddresses {
  const known = new Map<string, Known>();
  const looking = new Map<string, Promise<void>>();
  const waiting: (() => void)[] = [];
  let running = 0;

  async function refresh(hostname: string): Promise<void> {
    if (running >= lookupsAtOnce) await new Promise<void>((resolve) => waiting.push(resolve));
    running += 1;
    try {
      const address = await look(hostname).catch((error: unknown) => error as Error);
      const keptMs = address instanceof Error ? failureFreshMs : freshMs;
      known.set(hostname, { address, untilMs: clock.monotonicMs() + keptMs });
    } finally {
      running -= 1;
      waiting.shift()?.();
    }
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

async function lookUp(hostname: string): Promise<string> {
  const { address } = await lookup(hostname);
  const isLocal = hostname === "localhost" || hostname.endsWith(".localhost");
  // Names are chosen by whoever registers them, and so are their addresses.
  if (!isLocal && (leadsInto(unreachable, address) || leadsInto(loopback, address))) {
    throw new Error(`${hostname} leads to ${address}, where no other machine is`);
  }
  return address;
}
