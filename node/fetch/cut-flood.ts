/**
 * Cuts a connection that brings more than its protocol has to say. A parser takes empty lines, a reason phrase, a
 * chunk's extension or a run of zeros without an end, so a bound on what it hands out does not bound what it reads.
 */
import type { Socket } from "node:net";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";

const windowMs = 1000;

/** @param bytesMax within about a second, whatever they mean */
export function cutFlood(socket: Socket, bytesMax: number, clock: Clock): void {
  let [windowSinceMs, bytesBefore] = [clock.monotonicMs(), socket.bytesRead];
  // Listening takes nothing from whoever reads the socket.
  socket.on("readable", () => {
    const nowMs = clock.monotonicMs();
    if (socket.bytesRead - bytesBefore > bytesMax) {
      const detail = `more than ${bytesMax} bytes came within ${windowMs} ms`;
      socket.destroy(new NearcastError("BODY_TOO_LARGE", detail));
    } else if (nowMs - windowSinceMs >= windowMs) [windowSinceMs, bytesBefore] = [nowMs, socket.bytesRead];
  });
}
