/**
 * Whether the origin accepts this node's token, as values for programs and as text for people. Pure except for the
 * clock.
 *
 *   accepted ──401, 403──▶ refused ──the same question is answered, or another token──▶ accepted
 *
 * A 403 concerns one kind of question only (the writer token may read sources, but not the fleet secret), so an answer
 * to another kind does not end it.
 */
import type { Clock } from "#base/clock.ts";
import { tokenId } from "#secret/edge-token.ts";

export interface TokenStanding {
  answered: (what: string) => void;
  refused: (token: string, what: string, status: number) => void;
  refusal: () => { readonly id: string; readonly status: number; readonly sinceMs: number } | null;
  /** Why this node can't follow the origin; undefined when it can. */
  complaint: (tokenFile: string) => string | undefined;
}

/** @param onRefused called once for each token and status that are refused, not for each request */
export function createTokenStanding(clock: Clock, onRefused: () => void): TokenStanding {
  let refusal: { id: string; what: string; status: number; sinceMs: number } | null = null;
  return {
    answered(what) {
      if (refusal !== null && (refusal.status === 401 || refusal.what === what)) refusal = null;
    },
    refused(token, what, status) {
      const id = tokenId(token);
      // The first refusal of a token sets the time, whatever is asked after it.
      if (refusal?.id === id && refusal.status === status) return;
      refusal = { id, what, status, sinceMs: clock.wallMs() };
      onRefused();
    },
    refusal: () => (refusal === null ? null : { id: refusal.id, status: refusal.status, sinceMs: refusal.sinceMs }),
    complaint(tokenFile) {
      if (refusal === null) return undefined;
      const since = new Date(refusal.sinceMs).toISOString();
      const why = refusal.status === 403 ? "it is not an edge token" : "it was rotated, or belongs to another origin";
      return (
        `the origin refuses this node's token ${refusal.id} since ${since} (${refusal.status}: ${why}): ` +
        `write the current edge token into ${tokenFile}; no restart is needed, and cached pictures are still served`
      );
    },
  };
}
