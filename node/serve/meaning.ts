/**
 * What names stand for, and for how long that is valid: the record of a source (cache/records), whether it may be used
 * now, and the request that renews it. Coalesced per name, and given up when everyone who waits has left. One
 * conditional request gives a record and, if the bytes are new, the bytes.
 */
import type { Clock } from "#base/clock.ts";
import type { ImagesHost } from "#document/schema/hosts.ts";
import type { PictureFacts } from "#base/picture-facts.ts";
import { createFlights, type Joined } from "../cache/flights.ts";
import { judgeUse, type Use } from "../cache/freshness.ts";
import { type Purge, purgesSource } from "../cache/purge.ts";
import { knownHashesMax, type Records, type SourceRecord } from "../cache/records.ts";
import type { RequestContext } from "./request-context.ts";
import { freshnessOf } from "./source-freshness.ts";
import type { Route, SourceName, Sources } from "./source.ts";
import { ofAnotherLog } from "./wire.ts";

/** The result of a question. */
export interface Asked {
  record: SourceRecord;
  /** The bytes, if they were sent. */
  source: Buffer | null;
  fetchMs: number;
  /** How old the answer was when it arrived; 0 from the origin. */
  ageSeconds: number;
  /** Cache-Status of the shield, if the shield answered. */
  status: string | null;
}

export interface Meanings {
  /** How a record may be used now, given its mark. */
  useOf: (record: SourceRecord, host: ImagesHost) => Use;
  /** Asks what the name means; others that ask meanwhile join. The result rejects with ORIGIN_* or BODY_TOO_LARGE. */
  ask: (source: SourceName, before: SourceRecord | undefined, most: Route, context: RequestContext) => Joined<Asked>;
  /** Whether a request that asks now joins a running question. */
  isUnderWay: (source: SourceName, most: Route) => boolean;
  /** Nobody joins a question that was asked before a purge of its name. */
  purge: (purge: Purge) => void;
  counts: () => { revalidations: number };
}

export function createMeanings(parts: { records: Records; sources: Sources; clock: Clock }): Meanings {
  const { records, sources, clock } = parts;
  const askings = createFlights<Asked>();
  const counts = { revalidations: 0 };

  return {
    useOf(record, host) {
      const use = judgeUse(freshnessOf(record, host), clock.wallMs());
      if (record.mark === null || use.state === "expired") return use;
      const ttlSeconds = Math.min(0, use.ttlSeconds);
      // Past its window, a soft purge does not allow answering without asking.
      if (record.mark === "soft" && use.state !== "stale-if-error") {
        return { ...use, ttlSeconds, state: "stale-revalidate" };
      }
      if (record.mark === "soft") return use;
      if (record.mark === "replaced") return { ...use, ttlSeconds, state: "stale-if-error" };
      return { ...use, ttlSeconds, state: "expired" };
    },
    ask(source, before, most, context) {
      const { name } = source;
      const route = sources.routeFor(name, most);
      return askings.joinWhile(keyOfQuestion(route, name), context.signal, async (flight) => {
        const startedMs = clock.monotonicMs();
        if (before !== undefined) counts.revalidations += 1;
        const known = before?.knownHashes ?? [];
        const { answer, ageMs, feedSeq, mark, status } = await sources.find(source, known, route, {
          ...context,
          signal: flight.signal,
        });
        const meaning = answer.outcome === "absent" ? { absentStatus: answer.status } : { sha256: answer.sha256 };
        const knownHashes = answer.outcome === "absent" ? known : hashesWith(answer.sha256, known);
        const validatedAtMs = clock.wallMs() - ageMs;
        const picture = answer.outcome === "absent" ? undefined : (answer.picture ?? pictureIn(before, answer.sha256));
        const record: SourceRecord = {
          name,
          meaning,
          ...(picture === undefined ? {} : { picture }),
          knownHashes,
          validatedAtMs,
          feedSeq: feedSeq ?? ofAnotherLog,
          mark,
        };
        // Overtaken: a purge arrived while the origin answered, so this answer may date from before it.
        if (!flight.isOvertaken && feedSeq !== null) records.store(record);
        return {
          record,
          source: answer.outcome === "found" ? answer.body : null,
          fetchMs: clock.monotonicMs() - startedMs,
          ageSeconds: Math.floor(ageMs / 1000),
          status,
        };
      });
    },
    isUnderWay: ({ name }, most) => askings.running(keyOfQuestion(sources.routeFor(name, most), name)) !== undefined,
    purge(purge) {
      askings.overtake((key) => purgesSource(purge, key.slice(key.indexOf("\n") + 1)));
    },
    counts: () => ({ ...counts }),
  };
}

/** Kept apart by route: two nodes that each take the other for the shield would wait for each other. */
function keyOfQuestion(route: Route, name: string): string {
  return `${route}\n${name}`;
}

/** What a record says about these bytes. */
function pictureIn(record: SourceRecord | undefined, sha256: string): PictureFacts | undefined {
  return record !== undefined && "sha256" in record.meaning && record.meaning.sha256 === sha256
    ? record.picture
    : undefined;
}

/** The hashes that a name had, the newest first. */
export function hashesWith(sha256: string, known: readonly string[]): readonly string[] {
  return [sha256, ...known.filter((hash) => hash !== sha256)].slice(0, knownHashesMax);
}
