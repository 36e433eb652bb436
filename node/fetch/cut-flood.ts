/**
 * Cuts a connection that sends more than its protocol needs. A parser accepts endless empty lines, reason phrases,
 * chunk extensions or zeros, so a bound on its output does not bound its input.
 */
import type { Socket } from "node:net";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";

const windowMs = 1000;

/** @param bytesMax within about a second, whatever they mean */
export function cutFlood(socket: Socket, bytesMax: number, clock: Clock): void {
  let [windowSinceMs, bytesBefore] = [clock.monotonicMs(), socket.bytesRead];
  // Listening takes no bytes from the reader of the socket.
  socket.on("readable", () => {
    const nowMs = clock.monotonicMs();
    if (socket.bytesRead - bytesBefore > bytesMax) {
      const detail = `more than ${bytesMax} bytes came within ${windowMs} ms`;
      socket.destroy(new NearcastError("BODY_TOO_LARGE", detail));
    } else if (nowMs - windowSinceMs >= windowMs) [windowSinceMs, bytesBefore] = [nowMs, socket.bytesRead];
  });
}
