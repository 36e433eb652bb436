/**
 * Long cables, where the kernel has no netem: frames are taken from one end and put into the other after a delay.
 *
 *   router a ══veth══ a1 ┌──────────────┐ b1 ══veth══ router b
 *                        │ wire process │
 *   router c ══veth══ c1 └──────────────┘ d1 ══veth══ router d
 *
 * A process of its own in a namespace of its own: `node wire.ts A-END:B-END:DELAY_MS …`. It says `ready` when every end
 * is bound, and runs until it is killed. Everything happens in one loop that waits in ppoll: a relay that shared its
 * thread with anything else would add that thing's pauses to every delay.
 *
 * Memory: the kernel writes each frame into a slot of one arena from mmap, and reads it from there again when its time
 * has come; no octet of it is ever copied into JavaScript. A direction is a queue (its delay never changes, so what
 * came first leaves first). Without a free slot a frame is dropped, as a switch does whose buffer is full.
 *
 * With PACKET_VNET_HDR the kernel hands over frames whose checksum is still to be computed, or that are many segments
 * in one, together with a note that says so; handed back with it they are as before, and no offload must be switched
 * off.
 */
import { writeSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type koffiType from "koffi";
import { machineMs } from "./machine-clock.ts";

// sys/socket.h, linux/if_packet.h, linux/if_ether.h, sys/mman.h: the same on x86-64 and arm64.
const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_VNET_HDR = 15;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
const ETH_P_ALL = 3;
const MSG_DONTWAIT = 0x40;
const POLLIN = 1;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS_NORESERVE = 0x4022;

/** The longest frame: 64 KiB of segments in one, their headers, and the note before them. */
const slotBytes = 66 * 1024;
/** 3 s of the lab's heaviest load (1,000 queries a second); pages of slots that were never used cost nothing. */
const slotsMax = 6000;
/** After so many frames of one end the others have their turn. */
const framesPerTurn = 64;
const pollEntryBytes = 8;

/** One direction of one cable. */
interface Lane {
  readonly from: number;
  readonly to: number;
  readonly delayMs: number;
  /** A ring of what is under way; there is room for every slot. */
  readonly slots: Uint16Array;
  readonly lengths: Int32Array;
  readonly dueMs: Float64Array;
  head: number;
  count: number;
}

/** Relays between the ends that `specs` name, until the process is killed. @throws when the system refuses a call */
export function relay(specs: readonly string[]): never {
  const calls = openCalls();
  const control = calls.map(4096);
  const view = new DataView(calls.view(control, 4096));
  const arena = calls.map(slotBytes * slotsMax);
  const free = Uint16Array.from({ length: slotsMax }, (_, index) => index);
  let freeCount = slotsMax;

  const lanes = specs.flatMap((spec): Lane[] => {
    const [a = "", b = "", delay = ""] = spec.split(":");
    const ends = [bindEnd(a), bindEnd(b)] as const;
    const lane = (from: number, to: number): Lane => ({
      from,
      to,
      delayMs: Number(delay),
      slots: new Uint16Array(slotsMax),
      lengths: new Int32Array(slotsMax),
      dueMs: new Float64Array(slotsMax),
      head: 0,
      count: 0,
    });
    return [lane(ends[0], ends[1]), lane(ends[1], ends[0])];
  });
  const timeoutAt = lanes.length * pollEntryBytes;
  for (const [index, lane] of lanes.entries()) {
    view.setInt32(index * pollEntryBytes, lane.from, true);
    view.setInt16(index * pollEntryBytes + 4, POLLIN, true);
  }
  writeSync(1, "ready\n");
  for (;;) {
    let soonestMs = Infinity;
    for (const lane of lanes) soonestMs = Math.min(soonestMs, deliver(lane, machineMs()));
    const waitMs = soonestMs === Infinity ? 1000 : Math.max(0, soonestMs - machineMs());
    view.setBigInt64(timeoutAt, BigInt(Math.floor(waitMs / 1000)), true);
    view.setBigInt64(timeoutAt + 8, BigInt(Math.floor((waitMs % 1000) * 1e6)), true);
    if (calls.ppoll(control, lanes.length, control + timeoutAt, 0) <= 0) continue;
    for (const [index, lane] of lanes.entries()) {
      if (view.getInt16(index * pollEntryBytes + 6, true) !== 0) collect(lane);
    }
  }

  /** An end as a socket that sees every frame which arrives there. Bound last: before that it hears nothing. */
  function bindEnd(name: string): number {
    const index = calls.indexOf(name);
    if (index === 0) throw new Error(`there is no interface ${name}`);
    const socket = calls.socket(AF_PACKET, SOCK_RAW, 0);
    const option = (level: number, option_: number, value: number): void => {
      view.setInt32(0, value, true);
      checked(calls.setOption(socket, level, option_, control, 4), `setsockopt ${option_} of ${name}`);
    };
    option(SOL_PACKET, PACKET_VNET_HDR, 1);
    option(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    option(SOL_SOCKET, SO_RCVBUF, 4 << 20);
    // struct packet_mreq: frames are addressed to the router at the other end, not to this interface.
    view.setInt32(0, index, true);
    view.setUint16(4, PACKET_MR_PROMISC, true);
    view.setUint16(6, 0, true);
    view.setBigInt64(8, 0n);
    checked(calls.setOption(socket, SOL_PACKET, PACKET_ADD_MEMBERSHIP, control, 16), `promiscuous mode of ${name}`);
    // struct sockaddr_ll
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_ALL, false);
    view.setInt32(4, index, true);
    view.setBigInt64(8, 0n);
    view.setInt32(16, 0);
    checked(calls.bind(socket, control, 20), `bind to ${name}`);
    return socket;
  }

  function checked(result: number, what: string): void {
    if (result === -1) throw new Error(`${what}: error ${calls.errno()}`);
  }

  /** Takes what has arrived at the lane's beginning. */
  function collect(lane: Lane): void {
    for (let frame = 0; frame < framesPerTurn; frame++) {
      const slot = free[freeCount - 1] ?? 0;
      const length = calls.receive(lane.from, arena + slot * slotBytes, slotBytes, MSG_DONTWAIT);
      if (length <= 0) return;
      if (freeCount === 1) continue; // the last slot is where dropped frames go
      freeCount--;
      const at = (lane.head + lane.count++) % slotsMax;
      lane.slots[at] = slot;
      lane.lengths[at] = length;
      lane.dueMs[at] = machineMs() + lane.delayMs;
    }
  }

  /** Sends what is due at the lane's end, and says when the next frame is: Infinity when there is none. */
  function deliver(lane: Lane, nowMs: number): number {
    while (lane.count > 0) {
      const dueMs = lane.dueMs[lane.head] ?? 0;
      if (dueMs > nowMs) return dueMs;
      const slot = lane.slots[lane.head] ?? 0;
      // A frame that can't be sent is lost, as on any cable whose end is down.
      calls.send(lane.to, arena + slot * slotBytes, lane.lengths[lane.head] ?? 0, MSG_DONTWAIT);
      free[freeCount++] = slot;
      lane.head = (lane.head + 1) % slotsMax;
      lane.count--;
    }
    return Infinity;
  }
}

/** Whether the relay can run here, or why not. */
export function whyNoRelay(): string | null {
  try {
    openCalls();
    return null;
  } catch (error) {
    return `koffi, which carries the lab's link delays where the kernel has no netem: ${(error as Error).message}`;
  }
}

/** Numbers in, numbers out; addresses are below 2^48, where doubles are exact. */
function openCalls() {
  const koffi = createRequire(import.meta.url)("koffi") as typeof koffiType;
  const libc = koffi.load(null);
  const mmap = libc.func("int64_t mmap(int64_t, int64_t, int, int, int, int64_t)");
  type Call = (...values: readonly number[]) => number;
  return {
    socket: libc.func("int socket(int, int, int)") as Call,
    setOption: libc.func("int setsockopt(int, int, int, int64_t, uint)") as Call,
    bind: libc.func("int bind(int, int64_t, uint)") as Call,
    receive: libc.func("int recv(int, int64_t, uint64_t, int)") as Call,
    send: libc.func("int send(int, int64_t, uint64_t, int)") as Call,
    ppoll: libc.func("int ppoll(int64_t, ulong, int64_t, int64_t)") as Call,
    indexOf: libc.func("uint if_nametoindex(const char *)") as (name: string) => number,
    errno: () => koffi.errno(),
    map(sizeBytes: number): number {
      const address = Number(mmap(0, sizeBytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0));
      if (address === -1) throw new Error(`mmap of ${sizeBytes} octets: error ${koffi.errno()}`);
      return address;
    },
    view: (address: number, sizeBytes: number): ArrayBuffer => koffi.view(BigInt(address), sizeBytes),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) relay(process.argv.slice(2));
