/**
 * How long a host's answers are fresh, and how long they may be served stale: each with its default. These keys are
 * part of a host's entry in the fleet document (hosts.ts).
 */
import { Type } from "typebox";
import { seconds } from "#base/schema-terms.ts";

/** Short enough that a visitor still waits for the picture, and long for a working origin. */
const staleWaitMs = Type.Integer({
  minimum: 0,
  maximum: 120_000,
  default: 1000,
  unit: "ms",
  description:
    "how long a request waits for the origin if `staleIfErrorSeconds` allows a stale response; after that, it gets " +
    "the stale response, and the revalidation continues in the background",
});

/** For hosts of kind `images`. */
export const imagesLifetimes = {
  freshSeconds: seconds("how long an edge uses a source before it revalidates it; purges take effect at once", 3600),
  staleWhileRevalidateSeconds: seconds(
    "how much longer an edge may serve a stale source while it revalidates it in the background",
    86_400,
  ),
  staleIfErrorSeconds: seconds("how much longer an edge may serve a stale source while the origin fails", 604_800),
  staleWaitMs,
  negativeSeconds: seconds("how long an edge remembers that a source does not exist", 10, 3600),
};

/** For hosts of kind `assets`: the origin's response says otherwise. */
export const assetsLifetimes = {
  freshSeconds: seconds("lifetime of responses that do not state one, except redirects; 0: revalidate each time", 0),
  staleWhileRevalidateSeconds: seconds("used if a response has no stale-while-revalidate (RFC 5861)", 0),
  staleIfErrorSeconds: seconds("used if a response has no stale-if-error (RFC 5861)", 86_400),
  staleWaitMs,
  negativeSeconds: seconds("lifetime of 404, 405, 410, 414 and 501 responses that do not state one", 5, 3600),
};
