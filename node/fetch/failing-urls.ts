/**
 * URLs that failed a moment ago, with what they failed: all who ask for one meanwhile get the same failure, and its
 * origin is not asked. So a failing URL costs its origin one request per period, however many clients ask for it, and
 * no other URL is affected. Pure; bounded: the URL that was asked for least recently is forgotten first, which costs
 * its origin one more request.
 */
import { LRUCache } from "lru-cache";

/** URLs that are remembered over all origins; some 500 bytes each. */
const urlsMax = 10_000;
/** How long a failure is kept when nobody says otherwise. */
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

/** What this URL failed with, as long as that is to be kept; undefined: it may be asked for. */
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
