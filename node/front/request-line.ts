/**
 * Looks for a second space between the parts of a request line: `GET  /a HTTP/1.1`. RFC 9112 §3 has exactly one, but
 * Node's parser skips them all. Servers that read such a line in different ways can be played off against each other
 * (§11.2), so it is refused. Everything else about the line is left to Node's parser. Pure.
 */

/** Where in the line the bytes so far end. */
export const lineStates = {
  before: 0,
  method: 1,
  firstSpace: 2,
  target: 3,
  secondSpace: 4,
  done: 5,
  wrong: 6,
} as const;
export type LineState = (typeof lineStates)[keyof typeof lineStates];

const [CR, LF, SP] = [13, 10, 32];

/**
 * Reads on.
 * @param state where the bytes before these end
 * @returns where these end; "wrong" and "done" are final
 */
export function readRequestLine(state: LineState, bytes: Buffer): LineState {
  let now = state;
  for (let at = 0; at < bytes.length && now < lineStates.done; at += 1) now = next(now, bytes[at] as number);
  return now;
}

function next(state: LineState, byte: number): LineState {
  const isEnd = byte === CR || byte === LF;
  const { before, method, firstSpace, target, secondSpace, done, wrong } = lineStates;
  switch (state) {
    case before:
      // Empty lines before a request are ignored (§2.2). Node's parser refuses a space.
      return isEnd ? before : byte === SP ? done : method;
    case method:
      return isEnd ? done : byte === SP ? firstSpace : method;
    case firstSpace:
      return isEnd ? done : byte === SP ? wrong : target;
    case target:
      return isEnd ? done : byte === SP ? secondSpace : target;
    case secondSpace:
      return byte === SP ? wrong : done;
    case done:
    case wrong:
      return state;
  }
}
