/**
 * Memory of the main thread for the arguments of its calls. It is mapped once and never unmapped: memory that is mapped
 * later could have the same address, and V8 allows only one view of an address per thread (base/system-calls.ts).
 */
import type { ArenaView, StreamCalls } from "#base/system-calls.ts";

const controlBytes = 4096;
/** From here on, the content does not change: eight bytes, the number 1, which is written to ring a lane's bell. */
export const reservedAt = 1024;

let control: ArenaView | undefined;

export function openControl(calls: StreamCalls): ArenaView {
  if (control === undefined) {
    control = calls.viewArena(calls.mapArena(controlBytes));
    new Uint8Array(control.bytes)[reservedAt] = 1;
  }
  return control;
}
