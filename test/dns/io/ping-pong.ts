/**
 * A fast client: the batch loop the other way round. Each answer that comes is "answered" with the next query, so as
 * many queries are always on the way as were sent to begin with. It keeps the calling thread busy until it is done.
 */
import assert from "node:assert/strict";
import { newCounters } from "../../../dns/counters.ts";
import { batchArenaBytes, createBatchLoop } from "../../../dns/io/batch-loop.ts";
import { messageHeader, messageVector, openDatagramCalls, socketAddress } from "#base/system-calls.ts";
import type { ListenAddress } from "../../../dns/io/transport.ts";
import { controlSizeBytes, openUdpSocket } from "../../../dns/io/udp-sockets.ts";
import { parseIp } from "../../../dns/wire/address.ts";

export interface PingPong {
  readonly total: number;
  readonly window: number;
  /** Sent again and again, with the id of the moment. */
  readonly queries: readonly Uint8Array[];
  /** `answer` ends at `length`; it answers query number `index`. */
  readonly check: (answer: Uint8Array, length: number, index: number) => void;
}

/** Turns of up to 100 ms without any answer before the rest is taken for lost. */
const emptyTurnsMax = 50;

/** @param to an IPv4 address */
export function playPingPong(to: ListenAddress, { total, window, queries, check }: PingPong): void {
  const calls = openDatagramCalls();
  assert.ok(typeof calls !== "string", "no batches here");
  const control = calls.viewArena(calls.mapArena(controlSizeBytes));
  const socket = openUdpSocket(calls, control, { host: "127.0.0.1", port: 0 }, "alone");
  const arena = calls.mapArena(batchArenaBytes);
  const counters = newCounters();
  let sent = 0;
  let done = 0;
  let wrong: unknown;

  function write(out: Uint8Array): number {
    const query = queries[sent % queries.length] ?? new Uint8Array(0);
    out.set(query);
    // The id is the query's number within 65,536, of which a window is a small part.
    out[0] = (sent >>> 8) & 0xff;
    out[1] = sent & 0xff;
    sent++;
    return query.length;
  }

  const turn = createBatchLoop({
    calls,
    arena: calls.viewArena(arena),
    sockets: [socket],
    counters,
    beforeBatch: () => undefined,
    respond(answer, length, _server, out) {
      done++;
      const id = ((answer[0] ?? 0) << 8) | (answer[1] ?? 0);
      const index = sent - ((sent - id) & 0xffff);
      try {
        check(answer, length, index);
      } catch (error) {
        wrong ??= error;
      }
      return sent < total ? write(out) : 0;
    },
  });

  // To begin with: one header, one query, `window` times.
  const bytes = new Uint8Array(control.bytes);
  const view = new DataView(control.bytes);
  const [who, vector, packet] = [128, 192, 256];
  view.setUint16(who + socketAddress.family, 2, true);
  view.setUint16(who + socketAddress.port, to.port);
  bytes.set(parseIp(to.host)?.bytes.subarray(0, 4) ?? [], who + socketAddress.address4);
  const header = { name: who, vector, vectorLength: 0 };
  view.setBigUint64(messageHeader.name, BigInt(control.address + header.name), true);
  view.setUint32(messageHeader.nameLength, socketAddress.length4, true);
  view.setBigUint64(messageHeader.vector, BigInt(control.address + vector), true);
  view.setBigUint64(messageHeader.vectorLength, 1n, true);
  view.setBigUint64(vector + messageVector.base, BigInt(control.address + packet), true);
  try {
    while (sent < Math.min(window, total)) {
      const length = write(bytes.subarray(packet));
      view.setBigUint64(vector + messageVector.length, BigInt(length), true);
      assert.equal(calls.send(socket.descriptor, control.address, 1, 0), 1);
    }
    for (let emptyTurns = 0; ;) {
      const before = done;
      turn();
      if (wrong !== undefined) throw wrong as Error;
      if (done >= total) return;
      emptyTurns = done === before ? emptyTurns + 1 : 0;
      assert.ok(emptyTurns < emptyTurnsMax, `${sent - done} of ${sent} queries have no answer`);
    }
  } finally {
    calls.close(socket.descriptor);
    calls.unmapArena(arena);
    calls.unmapArena(control);
  }
}
