/**
 * Limits interim responses (1xx, RFC 9110 §15.2). A server may send any number of them before the final response, and
 * each is parsed in full. A server that never stops would keep the client's thread busy until the request's deadline,
 * and again with the next request.
 */

/** A server rarely needs more than two: `100 Continue`, `103 Early Hints`. */
export const interimResponsesMax = 16;

/** The failure of a request whose server sent more of them. */
export class TooManyInterimResponses extends Error {
  constructor() {
    super(`more than ${interimResponsesMax} interim responses (1xx)`);
  }
}

/** For `onInfo` of an undici request. One interim response too many fails the request and closes its connection. */
export function fewInterimResponses(): () => void {
  let count = 0;
  return () => {
    count += 1;
    if (count > interimResponsesMax) throw new TooManyInterimResponses();
  };
}
