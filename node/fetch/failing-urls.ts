/**
 * URLs that failed a moment ago, with their failures: all requests for such a URL get the same failure, without a
 * request to its origin. So a failing URL costs its origin one request per period, however many clients request it, and
 * affects no other URL. Pure; bounded: the least recently requested URL is forgotten first, which costs its origin one
 * more request.
 */
import { LRUCache } from "lru-cache";

/** URLs that are remembered, for all origins; about 500 bytes each. */
const urlsMax = 10_000;
/** How long a failure is kept by default. */
export const failureMsDefault = 1000;

export interface FailingUrls<Failure> {
  readonly byUrl: LRUCache<string, { readonly failure: Failure; readonly untilMs: number }>;
}

export function createFailingUrls<Failure>(): FailingUrls<Failure> {
  return { byUrl: new LRUCache({ max: urlsMax }) };
}

/**
 * @param url whatever tells requests to this origin apart, such as method and target
 * @param untilMs monotonic; a failure that must not be kept has none
 */
export function rememberFailure<Failure>(
  urls: FailingUrls<Failure>,
  origin: string,
  url: string,
  failure: Failure,
  untilMs: number,
): void {
  urls.byUrl.set(`${origin}\n${url}`, { failure, untilMs });
}

/** The failure of this URL, while it is kept; undefined: the URL may be requested. */
export function failureOf<Failure>(
  urls: FailingUrls<Failure>,
  origin: string,
  url: string,
  nowMs: number,
): Failure | undefined {
  const key = `${origin}\n${url}`;
  const known = urls.byUrl.get(key);
  if (known === undefined) return undefined;
  if (nowMs < known.untilMs) return known.failure;
  urls.byUrl.delete(key);
  return undefined;
}
