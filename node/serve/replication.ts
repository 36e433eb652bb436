/**
 * Brings hot variants to every node of the site before clients request them there.
 *
 *   hot keys here ──ten times a second, to each member that does not say it has them──▶ POST /v1/hot
 *   named by a member ──▶ here already? say so ──▶ else fetch from the owner, few at a time, after the response
 *
 * A member is told about a key again until it has it, and then not for a while; after that, it may have evicted it.
 */
import { LRUCache } from "lru-cache";
import type { Clock } from "#base/clock.ts";
import { parseForeignJson } from "#base/foreign-json.ts";
import type { Log } from "#base/log.ts";
import type { Tiers } from "../cache/tiers.ts";
import { readBody } from "../fetch/body.ts";
import type { PeerClient } from "../peer/client.ts";
import type { Member } from "../peer/directory.ts";
import type { HotKeys } from "../peer/hot-keys.ts";
import type { ImageServer } from "./image.ts";
import type { Peers } from "./peers.ts";
import { canonicalForm } from "../variant/key.ts";
import type { WantedVariant } from "./render.ts";

/** A variant as one node names it to another. */
export interface NamedVariant {
  host: string;
  name: string;
  /** In canonical form. */
  variant: string;
}

/** No more than a hundred keys can have a hundredth each. */
export const hotKeysMax = 100;
/** A key barely above a hundredth takes most of a second to become hot (hot-keys.ts); this adds little to that. */
const roundMs = 100;
const timeoutMs = 2000;
/** How long a member that has said that it has a key is not told about it again. */
const heldMs = 30_000;
/** How many pairs of member and key are remembered for that. */
const heldMax = 10_000;
const answerBytesMax = 4096;
/** Concurrent fetches of hot variants, and how many may wait for a turn; members announce the rest again. */
const fetchesMax = 4;
const waitingMax = 2 * hotKeysMax;

export interface Replication {
  /**
   * Takes what a member says is hot; null: unusable here. Returns for each whether it is here; the others are fetched.
   */
  take: (told: readonly (WantedVariant | null)[]) => Promise<boolean[]>;
  close: () => void;
}

export function replicateHotKeys(parts: {
  peers: Peers;
  client: Pick<PeerClient, "request">;
  hotKeys: Pick<HotKeys, "hot">;
  images: Pick<ImageServer, "isHere" | "replicate">;
  tiers: Tiers;
  clock: Clock;
  log: Log;
}): Replication {
  const { peers, client, hotKeys, images, tiers, clock, log } = parts;
  const heldUntilMs = new LRUCache<string, number>({ max: heldMax });
  /** In the order in which they were announced, by name; includes those that are being fetched. */
  const waiting: WantedVariant[] = [];
  const taken = new Set<string>();
  let fetching = 0;
  let isTelling = false;

  async function tellAll(): Promise<void> {
    const hot = hotKeys.hot().slice(0, hotKeysMax);
    if (hot.length === 0) return;
    const found = await Promise.all(hot.map(async ({ key }) => ({ key, variant: await namedVariant(tiers, key) })));
    const named = found.flatMap(({ key, variant }) => (variant === undefined ? [] : [{ key, variant }]));
    await Promise.all(peers.directory.site().map(async (member) => await tell(member, named)));
  }

  async function tell(member: Member, hot: readonly { key: string; variant: NamedVariant }[]): Promise<void> {
    const nowMs = clock.monotonicMs();
    const news = hot.filter(({ key }) => (heldUntilMs.get(`${member.name} ${key}`) ?? 0) <= nowMs);
    if (news.length === 0) return;
    try {
      const answer = await client.request(member, {
        method: "POST",
        path: "/v1/hot",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ variants: news.map(({ variant }) => variant) }),
        timeoutMs,
      });
      const text = (await readBody(answer, answerBytesMax)).toString();
      if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
      const { held } = parseForeignJson(text) as { held?: unknown };
      if (!Array.isArray(held)) throw new Error("an answer without a list");
      for (const [at, { key }] of news.entries()) {
        if (held[at] === true) heldUntilMs.set(`${member.name} ${key}`, nowMs + heldMs);
      }
    } catch (error) {
      log.debug({ member: member.name, reason: (error as Error).message }, "could not send hot keys to a peer");
    }
  }

  /** Takes turns until nobody waits. */
  async function fetchWaiting(): Promise<void> {
    fetching += 1;
    try {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        try {
          // Several members may have announced it.
          if (!(await images.isHere(next)) && (await images.replicate(next))) peers.count("replicated");
        } catch (error) {
          log.debug({ source: next.name, reason: (error as Error).message }, "could not fetch a hot variant");
        } finally {
          taken.delete(wordsOf(next));
        }
      }
    } finally {
      fetching -= 1;
    }
  }

  const cancel = clock.every(roundMs, () => {
    // A member that is slow to answer holds the next round back, not others' requests.
    if (isTelling) return;
    isTelling = true;
    tellAll()
      .catch((error: unknown) => {
        log.error({ err: error }, "could not send hot keys to peers");
      })
      .finally(() => {
        isTelling = false;
      });
  });

  return {
    async take(told) {
      const held = await Promise.all(told.map(async (wanted) => wanted !== null && (await images.isHere(wanted))));
      for (const [at, wanted] of told.entries()) {
        if (wanted === null || held[at] === true || taken.size >= waitingMax || taken.has(wordsOf(wanted))) continue;
        taken.add(wordsOf(wanted));
        waiting.push(wanted);
      }
      for (let idle = Math.min(fetchesMax - fetching, waiting.length); idle > 0; idle -= 1) void fetchWaiting();
      return held;
    },
    close: cancel,
  };
}

function wordsOf({ host, name, variant }: WantedVariant): string {
  return `${host.name}\n${name}\n${canonicalForm(variant)}`;
}

/** The variant that is stored under this key; undefined: it is gone, or a release stored it that did not note this. */
async function namedVariant(tiers: Tiers, key: string): Promise<NamedVariant | undefined> {
  const { host, name, variant } = (await tiers.factsOf(key))?.notes ?? {};
  const isNamed = typeof host === "string" && typeof name === "string" && typeof variant === "string";
  return isNamed ? { host, name, variant } : undefined;
}
