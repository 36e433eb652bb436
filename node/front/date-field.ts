/** The value of Date for responses without one, made once per second. */
import type { Clock } from "#base/clock.ts";

export function dateField(clock: Clock): () => string {
  let second = -1;
  let date = "";
  return () => {
    const now = Math.floor(clock.wallMs() / 1000);
    if (now !== second) {
      second = now;
      date = new Date(now * 1000).toUTCString();
    }
    return date;
  };
}
