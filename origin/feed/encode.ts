/**
 * One server-sent event (WHATWG HTML §9.2.6). JSON has no line breaks outside strings, and escapes those inside.
 * @param seq its number in the log; undefined for an event outside the log
 */
export function encodeEvent(kind: string, seq: number | undefined, json: string): Buffer {
  return Buffer.from(`${seq === undefined ? "" : `id: ${seq}\n`}event: ${kind}\ndata: ${json}\n\n`);
}
