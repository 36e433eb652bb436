/** Server-sent events (HTML, section 9.2): responses that may be silent for long, and end when their reader leaves. */

/**
 * How long one may be silent. Many origins send a comment line every 15 s, as the standard advises, and many send
 * nothing. TCP keep-alive detects whether either side is gone.
 */
export const eventStreamSilenceMs = 3_600_000;

export function isEventStream(contentType: string | undefined): boolean {
  return contentType !== undefined && /^text\/event-stream\b/i.test(contentType);
}
