/**
 * Follows the next edge token (followed.ts): after a rotation, the origin hands it to nodes that still present the
 * previous one, and this node stores it in its own file, so that nobody has to copy it to each machine.
 */
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import { type EdgeTokenAnswer, tokenId } from "#secret/edge-token.ts";
import { follow, type Follower } from "./followed.ts";
import type { TokenFile } from "./token-file.ts";

export interface NextToken extends Pick<Follower<EdgeTokenAnswer>, "take" | "refresh" | "close"> {
  /** What the operator has to do about the token although it is accepted; undefined: nothing. */
  warning: () => string | undefined;
}

export function followNextToken(options: {
  file: TokenFile;
  ask: () => Promise<EdgeTokenAnswer | null>;
  clock: Clock;
  log: Log;
}): NextToken {
  const { file, log } = options;
  const { take, refresh, value, close } = follow<EdgeTokenAnswer>({
    ...options,
    what: "edge token",
    known: null,
    // An answer with a token must be acted on each time, since an older file may have been restored meanwhile.
    isSame: (one, other) => other.token === undefined && one.id === other.id && one.olderUntil === other.olderUntil,
    changed({ id, token, olderUntil }) {
      if (token !== undefined || olderUntil === undefined) return;
      log.warn(
        { id, olderUntil },
        "the edge token was rotated by hand: write the new one into this node's token file before the old one expires",
      );
    },
    async store({ token }) {
      if (token !== undefined) await file.deliver(token);
    },
  });
  return {
    take,
    refresh,
    close,
    warning() {
      const known = value();
      if (known === null) return undefined;
      const own = tokenId(file.current());
      if (known.id === own) {
        return file.isSaved()
          ? undefined
          : `the edge token ${own} is in use but ${file.path} can't be written: write it there before a restart`;
      }
      if (known.olderUntil === undefined) return undefined;
      const { olderUntil, id } = known;
      return `the edge token ${own} is accepted until ${olderUntil}: write the current one, ${id}, into ${file.path}`;
    },
  };
}
