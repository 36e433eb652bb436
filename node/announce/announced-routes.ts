/**
 * The routes that the peer has from us, and the messages that turn them into the wanted ones: the Adj-RIB-Out of RFC
 * 4271 §3.2, small and pure.
 *
 *   sent ─┐
 *         ├─▶ changes ─▶ UPDATE messages: first new and changed routes, then withdrawals
 *   wanted┘
 *
 * A route whose attributes change is announced again, never withdrawn in between (an implicit replace, RFC 4271 §9):
 * that makes GRACEFUL_SHUTDOWN lossless.
 */
import { updateMessage } from "./bgp/message.ts";
import { bitsOf, type Family, parseAddress, parsePrefix, type Prefix } from "./bgp/prefix.ts";
import { writeAnnouncements, writeWithdrawals } from "./bgp/update.ts";

export interface Wanted {
  readonly prefixes: readonly string[];
  /**
   * The first address of each family is the next hop of its prefixes; prefixes of a family without one are not
   * announced.
   */
  readonly nextHops: readonly string[];
  /** A planned withdrawal: routers should find another path while this one still works (RFC 8326). */
  readonly isShuttingDown: boolean;
}

/** Prefix, as the caller wrote it → whether it was last sent with GRACEFUL_SHUTDOWN. */
export type Sent = ReadonlyMap<string, boolean>;

export const nothingWanted: Wanted = { prefixes: [], nextHops: [], isShuttingDown: false };

/** RFC 8326 §5. */
const gracefulShutdown = [0xffff, 0] as const;
/** The common default, and the minimum: any other path wins over the latter (RFC 8326 §4.2). */
const localPref = { usual: 100, shuttingDown: 0 } as const;

/** @param families the families that the session can carry */
export function changesTo(
  sent: Sent,
  wanted: Wanted,
  families: readonly Family[],
): { readonly messages: readonly Uint8Array[]; readonly sent: Sent } {
  const messages: Uint8Array[] = [];
  const next = new Map<string, boolean>();
  for (const family of families) {
    const nextHop = nextHopOf(wanted, family);
    if (nextHop === undefined) continue;
    const mine = ofFamily(wanted.prefixes, family);
    for (const [text] of mine) next.set(text, wanted.isShuttingDown);
    const fresh = mine.filter(([text]) => sent.get(text) !== wanted.isShuttingDown);
    const attributes = {
      nextHop,
      localPref: wanted.isShuttingDown ? localPref.shuttingDown : localPref.usual,
      communities: wanted.isShuttingDown ? [gracefulShutdown] : [],
    };
    const prefixes = fresh.map(([, prefix]) => prefix);
    messages.push(...writeAnnouncements(family, prefixes, attributes).map(updateMessage));
  }
  for (const family of families) {
    const lost = ofFamily(
      [...sent.keys()].filter((text) => !next.has(text)),
      family,
    );
    const prefixes = lost.map(([, prefix]) => prefix);
    messages.push(...writeWithdrawals(family, prefixes).map(updateMessage));
  }
  return { messages, sent: next };
}

/** The prefixes that can't be announced because their family has no next hop. */
export function withoutNextHop(prefixes: readonly string[], nextHops: readonly string[]): string[] {
  const wanted = { prefixes, nextHops, isShuttingDown: false };
  const families = ([4, 6] as const).filter((family) => nextHopOf(wanted, family) !== undefined);
  const possible = new Set(families.flatMap((family) => ofFamily(prefixes, family)).map(([text]) => text));
  return prefixes.filter((text) => !possible.has(text));
}

function ofFamily(texts: readonly string[], family: Family): (readonly [string, Prefix])[] {
  return texts.flatMap((text) => {
    const prefix = parsePrefix(text);
    return prefix?.family === family ? [[text, prefix] as const] : [];
  });
}

function nextHopOf(wanted: Wanted, family: Family): Uint8Array | undefined {
  const octets = wanted.nextHops.map((text) => parseAddress(text));
  return octets.find((address) => address?.length === bitsOf[family] / 8);
}
