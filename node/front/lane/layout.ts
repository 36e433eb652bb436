/** The layout of a lane's memory, which its system calls and OpenSSL read and write. */
import { epollEvent, socketAddress } from "#base/system-calls.ts";
import { nativeRoomBytes } from "../../tls/native-contexts.ts";
import { beginBytesMax, frameHeadBytes } from "./frames.ts";

/** Events per wake-up. */
export const eventsMax = 256;
/** How much is read from a client at once, while the lane reads its requests. */
export const receiveBytes = 64 * 1024;
/** The same while the main thread does, and so the most that waits for it besides the sockets. */
export const passedBytes = 16 * 1024;
/** A longer head of a response is left to the main thread. */
export const headBytesMax = 16 * 1024;
/** What TLS sends as one record (RFC 8446 §5.1). */
export const recordBytesMax = 16 * 1024;
/** How much of a file is read at once, to be encrypted. */
export const pieceBytesMax = 64 * 1024;
export const pageBytes = 4096;
/** How much is read from a pair at once, and so the most that waits for a slow client besides the sockets. */
export const pairReceiveBytes = 64 * 1024;
/** The same while too much waits for all clients (lane-limits.ts). */
export const scarcePairReceiveBytes = 4096;
/** Frames of HTTP/2 that are sent at once. */
export const outputBytes = 80 * 1024;
/** A request over HTTP/2 as one of HTTP/1.1: the parts of a field list are no longer. */
export const relayedBytesMax = 72 * 1024;

/** Offsets in the lane's arena. */
export const layout = (() => {
  let end = 0;
  const take = (sizeBytes: number, alignment = 64): number => {
    const at = Math.ceil(end / alignment) * alignment;
    end = at + Math.ceil(sizeBytes / 64) * 64;
    return at;
  };
  return {
    events: take(eventsMax * epollEvent.sizeBytes),
    /** One epoll_event, or the value of an option, or two descriptors. */
    control: take(64),
    address: take(socketAddress.roomBytes),
    addressLength: take(4),
    /** A frame without data. */
    frame: take(frameHeadBytes),
    /** Before the bytes of a client there is room for the frames that pass them on. */
    frameRoom: take(beginBytesMax + 2 * frameHeadBytes),
    receive: take(receiveBytes),
    fromPair: take(pairReceiveBytes),
    /** The same for requests of HTTP/2, with room for frames before it; and what is sent to clients of HTTP/2. */
    relayedRoom: take(beginBytesMax + 2 * frameHeadBytes),
    relayed: take(relayedBytesMax),
    output: take(outputBytes, pageBytes),
    /** For responses of the lane's own: a head, `struct msghdr`, two `struct iovec`, an offset in a file. */
    responseHead: take(headBytesMax),
    /** For TLS, which sends the head and the beginning of the body together: of a body in memory, … */
    behindHead: take(recordBytesMax),
    /** … and of one in a file: the head goes before the piece, which begins somewhere in the first page. */
    beforePiece: take(headBytesMax, pageBytes),
    piece: take(pageBytes + pieceBytesMax),
    /** A record that the client has not taken. */
    record: take(recordBytesMax),
    /** Address and length of a protocol. */
    protocol: take(16),
    /** What TLS contexts refer to. */
    contexts: take(nativeRoomBytes),
    message: take(64),
    vectors: take(32),
    fileOffset: take(8),
    /** `struct iovec` of a byte, and the byte. */
    probeVector: take(16),
    probe: take(1),
    sizeBytes: end,
  };
})();
