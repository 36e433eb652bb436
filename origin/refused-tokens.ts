/**
 * Refused tokens: unknown ones, and edge tokens where the writer token is required. They are counted for the metrics,
 * kept to explain why a node is away (channel/questions.ts), and written to the audit log. They change nothing, so the
 * log is written once a minute, with one entry per address and reason: a thousand attempts a second become one entry
 * with a count. A kill loses the last minute.
 *
 * Requests without any token are not recorded: those are health checks and scanners, and there are many.
 */
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { Catalogue } from "./catalogue/catalogue.ts";
import { feedPath } from "./http/app-type.ts";
import type { TokenName } from "./token/token-kind.ts";

const flushMs = 60_000;
/** Addresses and reasons that get their own entry in a minute; the rest share one entry. */
const keptMax = 64;
/** Addresses of edges with unknown tokens, each with its last request. */
const edgesKeptMax = 64;
/** An edge whose token is refused retries the feed within 5 s; after this time it is gone, or has a valid token. */
const latelyMs = 60_000;

/**
 * `malformed`: the field contains no token; `unknown`: not one of ours; `wrong-kind`: an edge's instead of a writer's.
 */
export type RefusalReason = "malformed" | "unknown" | "wrong-kind";

export interface Refusal {
  readonly address: string;
  readonly reason: RefusalReason;
  /** A token of the wrong kind; undefined: it is unknown. */
  readonly token: TokenName | undefined;
  /** Method and pattern of the route, never text from the client. */
  readonly route: string;
}

export interface Refusals {
  readonly note: (refusal: Refusal) => void;
  /** Since the start. */
  readonly counts: () => Readonly<Record<RefusalReason, number>>;
  /** Recent requests for the feed with an unknown token, latest first: only edges follow it. */
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
  /** Time of each address's last request, monotonic; in that order. */
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
        // Deleted and added again, so that the map is ordered by the last request.
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
