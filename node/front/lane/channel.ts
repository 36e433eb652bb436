/**
 * The client's side of a connection: its bytes in the clear or through TLS. All code that reads requests or sends
 * responses goes through here, and sees no difference.
 *
 *   receive()                         ─▶ recv                  SSL_read, until nothing is left or there is no room
 *   send(), sendWithBody()            ─▶ send, sendmsg         SSL_write, a record of up to 16 KiB at a time
 *   sendFile(), sendFileWithHead()    ─▶ sendfile              pread and SSL_write
 *
 * Rules for callers:
 *
 *   1. The channel owns the bytes that it accepted. If it accepted fewer than given, or if isBlocked() is true
 *      afterwards, the client is full: wait for EPOLLOUT, then flush(), then continue. (TLS keeps the record that did
 *      not fit.)
 *   2. Change what epoll looks for at a client with watchClient() alone. TLS reads ahead of what it returns; clients of
 *      whom it has such bytes, and who are to be read, are in `lane.ahead`: their turn comes without an event.
 *   3. If the connection is broken, drop the client.
 *
 * Records that follow each other leave in full packets (TCP_CORK). A socket is corked only while more follows at once.
 *
 * Nothing here allocates memory, except for a client that is full.
 */
import { SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_ERROR_ZERO_RETURN } from "#base/openssl.ts";
import { EPOLLIN, errnos, messageVector, MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, SHUT_WR } from "#base/system-calls.ts";
import { count } from "./counts.ts";
import { type Client, copyOf, type Lane, type LaneTls, type Secure, watchFor } from "./lane.ts";
import { layout, pageBytes, pieceBytesMax, recordBytesMax } from "./layout.ts";

/** Results of calls besides a number of bytes: nothing has arrived; the connection is no more. */
export const nothing = -1;
export const broken = -2;

const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
/** sendfile() takes no more at once, so that one client does not keep the lane from the others. */
const sentAtOnceMax = 1024 * 1024;
/** The same for what has to be encrypted: some 0.1 ms. */
const encryptedAtOnceMax = 256 * 1024;

/** Changes what epoll looks for. */
export function watchClient(lane: Lane, client: Client, events: number): void {
  if (client.isAhead && (events & EPOLLIN) !== 0) lane.ahead.add(client);
  watchFor(lane, client, events);
}

/**
 * Reads what the client has sent.
 * @param at offset in the lane's memory
 * @param roomBytes at least 1
 * @returns how many bytes; 0: the client has closed its sending side; `nothing` or `broken`
 */
export function receive(lane: Lane, client: Client, at: number, roomBytes: number): number {
  const { calls, memory } = lane;
  const { secure } = client;
  if (secure !== null) return receiveSecure(lane, client, secure, memory.address + at, roomBytes);
  const received = calls.receive(client.descriptor, memory.address + at, roomBytes, MSG_DONTWAIT);
  if (received >= 0) return received;
  const errno = calls.errno();
  return errno === errnos.EAGAIN || errno === errnos.EINTR ? nothing : broken;
}

/**
 * Sends bytes of the lane's memory.
 * @param hasMore whether more follows at once
 * @returns how many were taken, or `broken`
 */
export function send(lane: Lane, client: Client, at: number, lengthBytes: number, hasMore: boolean): number {
  const { calls, memory } = lane;
  const { secure } = client;
  if (secure !== null) return noted(lane, encrypt(lane, client, secure, memory.address + at, lengthBytes, hasMore));
  const more = hasMore ? flags | MSG_MORE : flags;
  return noted(lane, takenOf(lane, calls.send(client.descriptor, memory.address + at, lengthBytes, more)));
}

/**
 * Sends the head at `layout.responseHead`, and bytes of the ready responses.
 * @param body offset in their memory
 * @returns how many were taken of both together, or `broken`
 */
export function sendWithBody(lane: Lane, client: Client, headLength: number, body: number, bodyLength: number): number {
  const { calls, memory, ready } = lane;
  const { secure } = client;
  if (ready === null) return broken;
  if (secure !== null) {
    const first = Math.min(bodyLength, Math.max(0, recordBytesMax - headLength));
    ready.memory.bytes.copy(lane.bytes, layout.responseHead + headLength, body, body + first);
    const hasMore = first < bodyLength;
    const taken = encrypt(lane, client, secure, memory.address + layout.responseHead, headLength + first, hasMore);
    if (taken < headLength + first || first === bodyLength) return noted(lane, taken);
    const rest = encrypt(lane, client, secure, ready.address + body + first, bodyLength - first, false);
    return noted(lane, rest < 0 ? rest : taken + rest);
  }
  setVector(lane, 0, memory.address + layout.responseHead, headLength);
  setVector(lane, 1, ready.address + body, bodyLength);
  return noted(lane, takenOf(lane, calls.sendMessage(client.descriptor, memory.address + layout.message, flags)));
}

/**
 * Sends the head at `layout.responseHead`, and a part of a file, or the beginning of it.
 * @returns how many bytes were taken of both together, or `broken`
 */
export function sendFileWithHead(
  lane: Lane,
  client: Client,
  headLength: number,
  file: number,
  offset: number,
  end: number,
): number {
  const { secure } = client;
  if (secure !== null) return noted(lane, encryptFile(lane, client, secure, headLength, file, offset, end));
  const head = send(lane, client, layout.responseHead, headLength, true);
  if (head < headLength) return head;
  const part = sendFile(lane, client, file, offset, end);
  return part < 0 ? part : head + part;
}

/** Sends a part of a file, or the beginning of it. @returns how many bytes were taken, or `broken` */
export function sendFile(lane: Lane, client: Client, file: number, offset: number, end: number): number {
  const { calls, memory, words } = lane;
  const { secure } = client;
  if (secure !== null) return noted(lane, encryptFile(lane, client, secure, 0, file, offset, end));
  setNumber(words, layout.fileOffset, offset);
  const wanted = Math.min(end - offset, sentAtOnceMax);
  const sent = calls.sendFile(client.descriptor, file, memory.address + layout.fileOffset, wanted);
  // Nothing left in the file: it is not what it was when the response was made ready.
  return sent === 0 ? broken : noted(lane, takenOf(lane, sent));
}

/** Whether bytes that were taken wait for the client. */
export function isBlocked({ secure }: Client): boolean {
  return secure !== null && secure.record !== null;
}

/** Sends what waits for the client, of which isBlocked() tells afterwards. @returns false: the connection is broken */
export function flush(lane: Lane, { secure }: Client): boolean {
  return secure === null || sendRecord(lane, secure);
}

/** Closes the sending side. The client may still send. */
export function endSending(lane: Lane, client: Client): void {
  sayGoodbye(lane, client);
  lane.calls.shutdown(client.descriptor, SHUT_WR);
}

/** Tells the client that nothing more follows, where the protocol can (RFC 8446 §6.1). Does not wait for it. */
export function sayGoodbye(lane: Lane, { secure }: Client): void {
  if (secure === null || secure.record !== null || lane.tls === null) return;
  lane.tls.ssl.shutdown(secure.ssl);
  lane.tls.ssl.takeError();
}

/** Frees what TLS has of the connection. The descriptor stays the caller's. */
export function release(lane: Lane, client: Client): void {
  const { secure } = client;
  if (secure === null || lane.tls === null) return;
  lane.ahead.delete(client);
  if (secure.record !== null) lane.unsentBytes -= secure.record.length;
  secure.record = null;
  freeSsl(lane.tls, client.descriptor, secure.ssl);
  count(lane.counts, "secured", -1);
}

/** Frees OpenSSL's object of a descriptor, once. */
export function freeSsl({ ssl, native, steps }: LaneTls, descriptor: number, object: number): void {
  native[descriptor] = 0;
  steps.delete(object);
  ssl.free(object);
  ssl.takeError();
}

function noted(lane: Lane, taken: number): number {
  if (taken > 0) count(lane.counts, "sentBytes", taken);
  return taken;
}

function takenOf({ calls }: Lane, sent: number): number {
  if (sent >= 0) return sent;
  const errno = calls.errno();
  return errno === errnos.EAGAIN || errno === errnos.EINTR || errno === errnos.ENOBUFS ? 0 : broken;
}

/**
 * Steps of handshakes that a client may cause after its handshake; a KeyUpdate takes three. It costs as much as a small
 * request, and a client needs one after millions of records (RFC 8446 §5.5).
 */
const stepsMax = 200;

function receiveSecure(lane: Lane, client: Client, secure: Secure, address: number, roomBytes: number): number {
  const { tls } = lane;
  if (tls === null) return broken;
  const { ssl, steps } = tls;
  const stepsBefore = steps.get(secure.ssl) ?? 0;
  client.isAhead = false;
  let total = 0;
  for (;;) {
    const received = ssl.read(secure.ssl, address + total, roomBytes - total);
    const stepsNow = steps.size === 0 ? 0 : (steps.get(secure.ssl) ?? 0);
    if (stepsNow > stepsMax) return broken;
    if (received <= 0) {
      const outcome = outcomeOf(tls, secure, received);
      // More records may have been read ahead behind a message, and after a KeyUpdate, hasPending() does not know it.
      // What has ended or is broken says so again.
      client.isAhead = outcome === nothing ? stepsNow > stepsBefore : total > 0;
      return total === 0 ? outcome : total;
    }
    total += received;
    if (ssl.hasPending(secure.ssl) === 0) return total;
    if (total === roomBytes) {
      client.isAhead = true;
      return total;
    }
  }
}

/** Why SSL_read has returned nothing. */
function outcomeOf({ ssl }: LaneTls, secure: Secure, result: number): number {
  const error = ssl.getError(secure.ssl, result);
  if (error === SSL_ERROR_WANT_READ) return nothing;
  if (error === SSL_ERROR_WANT_WRITE) {
    secure.readsAfterWrite = true;
    return nothing;
  }
  ssl.takeError();
  return error === SSL_ERROR_ZERO_RETURN ? 0 : broken;
}

/**
 * Sends bytes as records, up to the first one that the client does not take, which is kept. OpenSSL gives each record
 * to the system by itself; the system sends those that follow each other in full packets.
 */
function encrypt(
  lane: Lane,
  client: Client,
  secure: Secure,
  address: number,
  lengthBytes: number,
  hasMore: boolean,
): number {
  if (!sendRecord(lane, secure)) return broken;
  if (secure.record !== null) return 0;
  if ((hasMore || lengthBytes > recordBytesMax) && !secure.isCorked) cork(lane, client, secure, true);
  const taken = writeRecords(lane, secure, address, lengthBytes);
  const isComplete = taken === lengthBytes && secure.record === null;
  if (secure.isCorked && !(hasMore && isComplete)) cork(lane, client, secure, false);
  return taken;
}

function cork({ calls, words, memory }: Lane, { descriptor }: Client, secure: Secure, isCorked: boolean): void {
  secure.isCorked = isCorked;
  words[layout.control / 4] = isCorked ? 1 : 0;
  calls.setOption(descriptor, "cork", memory.address + layout.control);
}

function writeRecords(lane: Lane, secure: Secure, address: number, lengthBytes: number): number {
  const { tls } = lane;
  if (tls === null) return broken;
  let taken = 0;
  while (taken < lengthBytes) {
    const wanted = Math.min(recordBytesMax, lengthBytes - taken);
    const written = tls.ssl.write(secure.ssl, address + taken, wanted);
    if (written > 0) {
      taken += written;
      continue;
    }
    if (!isFull(tls, secure, written)) return broken;
    tls.ssl.copy(lane.memory.address + layout.record, address + taken, wanted);
    secure.record = copyOf(lane, layout.record, layout.record + wanted);
    lane.unsentBytes += wanted;
    return taken + wanted;
  }
  return taken;
}

/** Sends the record that the client has not taken. OpenSSL wants the same bytes again. @returns false: broken */
function sendRecord(lane: Lane, secure: Secure): boolean {
  const { tls } = lane;
  if (tls === null) return secure.record === null;
  while (secure.record !== null) {
    const { record } = secure;
    record.copy(lane.bytes, layout.record);
    const written = tls.ssl.write(secure.ssl, lane.memory.address + layout.record, record.length);
    if (written <= 0) return isFull(tls, secure, written);
    lane.unsentBytes -= written;
    // A client may have asked for shorter records (RFC 6066 §4).
    secure.record = written < record.length ? record.subarray(written) : null;
  }
  return true;
}

/** Whether SSL_write has failed only because the client takes nothing now. */
function isFull({ ssl }: LaneTls, secure: Secure, result: number): boolean {
  const error = ssl.getError(secure.ssl, result);
  if (error === SSL_ERROR_WANT_WRITE || error === SSL_ERROR_WANT_READ) return true;
  ssl.takeError();
  return false;
}

/**
 * Sends the head, which may be empty, and the beginning of the file's part.
 *
 * The part is read to the position in a page that it has in the file. To a position up to 31 bytes further on, AMD's
 * processors copy six times as slowly; heads of 400 bytes would lead there.
 */
function encryptFile(
  lane: Lane,
  client: Client,
  secure: Secure,
  headLength: number,
  file: number,
  offset: number,
  end: number,
): number {
  const { calls, memory, bytes } = lane;
  let taken = 0;
  let before = headLength;
  for (let at = offset; at < end && taken < encryptedAtOnceMax;) {
    const piece = layout.piece + (at % pageBytes);
    setVector(lane, 0, memory.address + piece, Math.min(end - at, pieceBytesMax));
    const read = calls.readAt(file, memory.address + layout.vectors, 1, at, 0);
    if (read <= 0) return broken; // the file is not what it was
    if (before > 0) bytes.copyWithin(piece - before, layout.responseHead, layout.responseHead + before);
    const hasMore = at + read < end && taken + before + read < encryptedAtOnceMax;
    const sent = encrypt(lane, client, secure, memory.address + piece - before, before + read, hasMore);
    if (sent < 0) return sent;
    taken += sent;
    if (sent < before + read || secure.record !== null) break;
    at += read;
    before = 0;
  }
  return taken;
}

/** Writes the parts of the calls' arguments that stay as they are. */
export function prepareCalls({ words, memory }: Pick<Lane, "words" | "memory">): void {
  setNumber(words, layout.message + messageHeaderVector, memory.address + layout.vectors);
  setNumber(words, layout.message + messageHeaderVectors, 2);
  setNumber(words, layout.probeVector + messageVector.base, memory.address + layout.probe);
  setNumber(words, layout.probeVector + messageVector.length, 1);
}

/** Offsets in `struct msghdr`. */
const [messageHeaderVector, messageHeaderVectors] = [16, 24];

export function setVector({ words }: Lane, index: number, address: number, lengthBytes: number): void {
  const at = layout.vectors + index * messageVector.sizeBytes;
  setNumber(words, at + messageVector.base, address);
  setNumber(words, at + messageVector.length, lengthBytes);
}

/** A number of 64 bits. @param at a multiple of 4 */
function setNumber(words: Int32Array, at: number, value: number): void {
  words[at / 4] = value | 0;
  words[at / 4 + 1] = Math.floor(value / 2 ** 32);
}
