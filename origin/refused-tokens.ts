/**
 * Refused tokens: one that is none of ours, and an edge's where a writer's is needed. They are counted for the metrics,
 * kept for the explanation why a node is away (channel/questions.ts), and written into the audit log. They change
 * nothing, so the log gets them once a minute, one entry for each address and reason: somebody who tries a thousand
 * tokens a second gets one line with a count. A kill loses the last minute of them.
 *
 * Requests without any token are not written: those are health checks and scanners, and there are many.
 */
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { Catalogue } from "./catalogue/catalogue.ts";
import { feedPath } from "./http/app-type.ts";
import type { TokenName } from "./token/token-kind.ts";

const flushMs = 60_000;
/** Addresses and reasons told one by one in a minute; the rest share one entry. */
const keptMax = 64;
/** Addresses of edges with unknown tokens, each with its last request. */
const edgesKeptMax = 64;
/** An edge whose token is refused tries the feed again within 5 s; after so long it is gone, or has a good one. */
const latelyMs = 60_000;

/** `malformed`: the header holds no token; `unknown`: none of ours; `wrong-kind`: an edge's where a writer's is due. */
export type RefusalReason = "malformed" | "unknown" | "wrong-kind";

export interface Refusal {
  readonly address: string;
  readonly reason: RefusalReason;
  /** Of a wrong kind; undefined: it is none of ours. */
  readonly token: TokenName | undefined;
  /** Method and pattern of the route, never the client's own words. */
  readonly route: string;
}

export interface Refusals {
  readonly note: (refusal: Refusal) => void;
  /** Since the start. */
  readonly counts: () => Readonly<Record<RefusalReason, number>>;
  /** Who asked for the feed with an unknown token lately, the last first: only edges follow it. */
  readonly unknownEdges: () => readonly UnknownEdge[];
  readonly close: () => Promise<void>;
}

export interface UnknownEdge {
  readonly address: string;
  readonly agoMs: number;
}

const feedRoute = `GET ${feedPath}`;

export function openRefusals(deps: { catalogue: Pick<Catalogue, "record">; clock: Clock; log: Log }): Refusals {
  const { catalogue, clock, log } = deps;
  let counted = new Map<string, { refusal: Refusal | undefined; count: number }>();
  const counts: Record<RefusalReason, number> = { malformed: 0, unknown: 0, "wrong-kind": 0 };
  /** When each address asked last, monotonic; in the order of that. */
  const edges = new Map<string, number>();

  const flush = async (): Promise<void> => {
    const due = counted;
    counted = new Map();
    for (const { refusal, count } of due.values()) {
      const actor = {
        token: refusal?.token,
        author: refusal?.token?.kind ?? "unknown",
        address: refusal?.address,
      };
      const facts = { count, status: refusal && statusOf(refusal), route: refusal?.route };
      try {
        await catalogue.record(actor, { kind: "refused", targets: [], facts });
      } catch (error) {
        log.error({ err: error, ...facts }, "could not write refused attempts to the audit log");
      }
    }
  };
  let flushing: Promise<void> = Promise.resolve();
  const cancel = clock.every(flushMs, () => {
    flushing = flushing.then(flush);
  });

  return {
    note(refusal) {
      const { address, token, reason, route } = refusal;
      counts[reason] += 1;
      if (reason === "unknown" && route === feedRoute) {
        // Taken out and put in again, so that the map's order is that of the last request.
        edges.delete(address);
        edges.set(address, clock.monotonicMs());
        const [oldest] = edges.keys();
        if (edges.size > edgesKeptMax && oldest !== undefined) edges.delete(oldest);
      }
      const wanted = `${address} ${statusOf(refusal)} ${token?.id ?? ""}`;
      const key = counted.has(wanted) || counted.size < keptMax ? wanted : "";
      const entry = counted.get(key) ?? { refusal: key === "" ? undefined : refusal, count: 0 };
      counted.set(key, { ...entry, count: entry.count + 1 });
    },
    counts: () => counts,
    unknownEdges: () =>
      [...edges]
        .map(([address, atMs]) => ({ address, agoMs: clock.monotonicMs() - atMs }))
        .filter(({ agoMs }) => agoMs <= latelyMs)
        .toReversed(),
    async close() {
      cancel();
      await flushing;
      await flush();
    },
  };
}

function statusOf({ reason }: Refusal): 401 | 403 {
  return reason === "wrong-kind" ? 403 : 401;
}
