/**
 * Messages of BGP-4 (RFC 4271 §4.1) and their framing in the stream:
 *
 *   16 octets of ones | length, 2 octets | type | body            19 to 4096 octets in all
 *
 *   chunks of TCP ──framer──▶ whole messages ──readMessage──▶ Message, or BgpError with the NOTIFICATION to send
 *
 * Everything that arrives is validated here before it is used. Only BgpError is thrown, and at most one incomplete
 * message is buffered.
 */
import { type Open, familyOf, readOpen, writeOpen } from "./open.ts";
import { BgpError, type Notification } from "./notification.ts";
import type { Family } from "./prefix.ts";
import { readUpdate, type Update } from "./update.ts";

export type Message =
  | { readonly type: "open"; readonly open: Open }
  | { readonly type: "update"; readonly update: Update }
  | { readonly type: "notification"; readonly notification: Notification }
  | { readonly type: "keepalive" }
  /**
   * `family` is undefined when the peer requests a family that we don't have, or the message is not a request (RFC
   * 7313).
   */
  | { readonly type: "route-refresh"; readonly family: Family | undefined };

const headerBytes = 19;
const messageBytesMax = 4096;
const marker = Buffer.alloc(16, 0xff);

const typeCodes = { open: 1, update: 2, notification: 3, keepalive: 4, routeRefresh: 5 } as const;

/** The minimum length by type (for two of them the only one); RFC 4271 §6.1. */
const lengths: Readonly<Record<number, { readonly min: number; readonly max: number }>> = {
  [typeCodes.open]: { min: 29, max: messageBytesMax },
  [typeCodes.update]: { min: 23, max: messageBytesMax },
  [typeCodes.notification]: { min: 21, max: messageBytesMax },
  [typeCodes.keepalive]: { min: 19, max: 19 },
  [typeCodes.routeRefresh]: { min: 19, max: messageBytesMax }, // checked with its own error code: RFC 7313 §5
};

function message(type: number, body: Uint8Array): Uint8Array {
  const length = headerBytes + body.length;
  return Buffer.concat([marker, Uint8Array.from([length >> 8, length & 0xff, type]), body]);
}

export const keepaliveMessage = message(typeCodes.keepalive, new Uint8Array());

export function openMessage(open: Open): Uint8Array {
  return message(typeCodes.open, writeOpen(open));
}

/** @param body from update.ts */
export function updateMessage(body: Uint8Array): Uint8Array {
  return message(typeCodes.update, body);
}

export function notificationMessage({ code, subcode, data }: Notification): Uint8Array {
  // The quoted octets of the peer must fit into one message.
  const shown = data.subarray(0, messageBytesMax - headerBytes - 2);
  return message(typeCodes.notification, Buffer.concat([Uint8Array.from([code, subcode]), shown]));
}

/**
 * Cuts a stream into messages.
 *
 * @returns a function that takes a chunk and returns the complete messages, with their headers. It throws BgpError 1/x
 * for an invalid header; the stream is unusable after that.
 */
export function createFramer(): (chunk: Uint8Array) => Generator<Buffer> {
  let waiting: Buffer = Buffer.alloc(0);
  return function* take(chunk) {
    waiting = waiting.length === 0 ? Buffer.from(chunk) : Buffer.concat([waiting, chunk]);
    while (waiting.length >= headerBytes) {
      const length = readLength(waiting);
      if (waiting.length < length) return;
      const one = waiting.subarray(0, length);
      waiting = waiting.subarray(length);
      yield one;
    }
  };
}

/** @throws BgpError 1/x (RFC 4271 §6.1) */
function readLength(header: Buffer): number {
  if (!header.subarray(0, marker.length).equals(marker)) throw new BgpError(1, 1, "the marker is not all ones");
  const length = header.readUInt16BE(16);
  const type = header.readUInt8(18);
  if (length < headerBytes || length > messageBytesMax) {
    throw new BgpError(1, 2, `${length} octets`, header.subarray(16, 18));
  }
  const allowed = lengths[type];
  if (allowed === undefined) throw new BgpError(1, 3, `type ${type}`, header.subarray(18, 19));
  if (length < allowed.min || length > allowed.max) {
    throw new BgpError(1, 2, `${length} octets of type ${type}`, header.subarray(16, 18));
  }
  return length;
}

/**
 * @param bytes one whole message from the framer
 * @param isFourOctetAs whether both sides announced it in their OPEN
 * @throws BgpError
 */
export function readMessage(bytes: Buffer, isFourOctetAs: boolean): Message {
  const body = bytes.subarray(headerBytes);
  switch (bytes.readUInt8(18)) {
    case typeCodes.open:
      return { type: "open", open: readOpen(body) };
    case typeCodes.update:
      return { type: "update", update: readUpdate(body, isFourOctetAs) };
    case typeCodes.notification:
      return {
        type: "notification",
        notification: { code: body.readUInt8(0), subcode: body.readUInt8(1), data: body.subarray(2) },
      };
    case typeCodes.keepalive:
      return { type: "keepalive" };
    default: {
      if (body.length !== 4) throw new BgpError(7, 1, `${body.length} octets instead of 4`, bytes);
      // The octet between is reserved, or marks the beginning and end of a refresh (RFC 7313), which we did not
      // negotiate.
      const family = body.readUInt8(2) === 0 ? familyOf(body.readUInt16BE(0), body.readUInt8(3)) : undefined;
      return { type: "route-refresh", family };
    }
  }
}
