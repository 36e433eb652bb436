/**
 * A bound on interim responses (1xx, RFC 9110 §15.2). A server may send any number of them before the final one, and
 * each is parsed in full: one that never stops keeps the asker's thread busy until the request's deadline, and again
 * with the next request.
 */

/** A server has reason to send one or two: `100 Continue`, `103 Early Hints`. */
export const interimResponsesMax = 16;

/** For `onInfo` of one request of undici's: it fails, and its connection ends, with one interim response too many. */
export function fewInterimResponses(): () => void {
  let count = 0;
  return () => {
    count += 1;
    if (count > interimResponsesMax) throw new Error(`more than ${interimResponsesMax} interim responses (1xx)`);
  };
}
