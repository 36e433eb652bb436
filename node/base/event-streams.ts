/** Server-sent events (HTML, section 9.2): responses that may be silent for long, and end when their reader leaves. */

/**
 * How long one may be silent. Many origins send a comment line every 15 s, as the standard advises, and many send
 * nothing. Whether either side is still there is found out by TCP keep-alive.
 */
export const eventStreamSilenceMs = 3_600_000;

export function isEventStream(contentType: string | undefined): boolean {
  return contentType !== undefined && /^text\/event-stream\b/i.test(contentType);
}
