/**
 * Refused attempts in the audit log: a token that is none of ours, and an edge's token where a writer's is needed. They
 * change nothing, so they are counted in memory and written once a minute, one entry for each address and reason:
 * somebody who tries a thousand tokens a second gets one line with a count. A kill loses the last minute of them.
 *
 * Requests without any token are not written: those are health checks and scanners, and there are many.
 */
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { Catalogue } from "./catalogue/catalogue.ts";
import type { TokenName } from "./token/kind.ts";

const flushMs = 60_000;
/** Addresses and reasons told one by one in a minute; the rest share one entry. */
const keptMax = 64;

export interface Refusal {
  readonly address: string;
  /** Undefined: it is none of ours. */
  readonly token: TokenName | undefined;
  readonly status: 401 | 403;
  /** Method and pattern of the route, never the client's own words. */
  readonly route: string;
}

export interface Refusals {
  readonly note: (refusal: Refusal) => void;
  readonly close: () => Promise<void>;
}

export function openRefusals(deps: { catalogue: Pick<Catalogue, "record">; clock: Clock; log: Log }): Refusals {
  const { catalogue, clock, log } = deps;
  let counted = new Map<string, { refusal: Refusal | undefined; count: number }>();

  const flush = async (): Promise<void> => {
    const due = counted;
    counted = new Map();
    for (const { refusal, count } of due.values()) {
      const actor = {
        token: refusal?.token,
        author: refusal?.token?.kind ?? "unknown",
        address: refusal?.address,
      };
      const facts = { count, status: refusal?.status, route: refusal?.route };
      try {
        await catalogue.record(actor, { kind: "refused", targets: [], facts });
      } catch (error) {
        log.error({ err: error, ...facts }, "refused attempts can't be written to the audit log");
      }
    }
  };
  let flushing: Promise<void> = Promise.resolve();
  const cancel = clock.every(flushMs, () => {
    flushing = flushing.then(flush);
  });

  return {
    note(refusal) {
      const { address, token, status } = refusal;
      const wanted = `${address} ${status} ${token?.id ?? ""}`;
      const key = counted.has(wanted) || counted.size < keptMax ? wanted : "";
      const entry = counted.get(key) ?? { refusal: key === "" ? undefined : refusal, count: 0 };
      counted.set(key, { ...entry, count: entry.count + 1 });
    },
    async close() {
      cancel();
      await flushing;
      await flush();
    },
  };
}
