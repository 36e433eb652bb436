/**
 * Reads bytes that are in the page cache, in the calling thread: preadv2() with RWF_NOWAIT, through koffi. A trip
 * through the thread pool of libuv costs more than the copy. Bytes that are not in the page cache make the call fail
 * at once (EAGAIN), and the caller reads them the slow way.
 *
 * The kernel writes to an arena from mmap, not to a Buffer, for the reasons in base/system-calls.ts. Callers that keep
 * the bytes copy them from there.
 */
import { endianness } from "node:os";
import { loadKoffi } from "#base/koffi.ts";

/**
 * The bytes, valid until the next call. Undefined: some of them would require a wait, or the file ends earlier.
 */
export type ReadNow = (descriptor: number, position: number, lengthBytes: number) => Uint8Array | undefined;

/** linux/fs.h */
const RWF_NOWAIT = 8;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
/** One struct iovec: address and length, of 64 bits each. It precedes the bytes, which begin on a page. */
const vectorBytes = 4096;
/** Longer reads go through the thread pool: their copy would hold up the event loop. */
const readNowBytesMax = 256 * 1024;

/** Undefined: not on this system, or koffi is not installed. */
export function openReadNow(): ReadNow | undefined {
  if (process.platform !== "linux" || endianness() !== "LE") return undefined;
  if (process.arch !== "x64" && process.arch !== "arm64") return undefined;
  const koffi = loadKoffi();
  if (koffi === undefined) return undefined;
  const libc = koffi.load(null);
  const mmap = libc.func("int64_t mmap(int64_t, int64_t, int, int, int, int64_t)");
  const preadv2 = libc.func("int64_t preadv2(int, int64_t, int, int64_t, int)");
  const arenaBytes = vectorBytes + readNowBytesMax;
  const address = Number(mmap(0, arenaBytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0));
  if (address === -1) return undefined;
  const arena = koffi.view(BigInt(address), arenaBytes);
  const bytes = new Uint8Array(arena, vectorBytes);
  const vector = new BigUint64Array(arena, 0, 2);
  vector[0] = BigInt(address + vectorBytes);
  // The length as two words: a BigInt for each call would be garbage.
  const length = new Uint32Array(arena, 8, 1);
  return (descriptor, position, lengthBytes) => {
    if (lengthBytes > readNowBytesMax) return undefined;
    length[0] = lengthBytes;
    if (Number(preadv2(descriptor, address, 1, position, RWF_NOWAIT)) !== lengthBytes) return undefined;
    return bytes.subarray(0, lengthBytes);
  };
}
