/**
 * NOTIFICATION (RFC 4271 §4.5): the last message of a session, with the reason for its end as two numbers. This file
 * translates them into text: `2/2 bad peer AS`.
 *
 * The numbers are those of the IANA registry "BGP Error (Notification) Codes": RFC 4271 §6, RFC 4486 and 9003 (Cease),
 * RFC 5492 (2/7), RFC 6608 (5/x), RFC 7313 (7/1), RFC 8538 (6/9), RFC 9234 (2/11), RFC 9384 (6/10).
 */

export interface Notification {
  readonly code: number;
  readonly subcode: number;
  /** Details beyond the numbers: the octets at fault, or for 6/2 and 6/4 a text (RFC 9003). */
  readonly data: Uint8Array;
}

interface CodeNames {
  readonly name: string;
  readonly subcodes: Readonly<Record<number, string>>;
}

const names: Readonly<Record<number, CodeNames>> = {
  1: {
    name: "message header error",
    subcodes: { 1: "connection not synchronized", 2: "bad message length", 3: "bad message type" },
  },
  2: {
    name: "OPEN message error",
    subcodes: {
      1: "unsupported version number",
      2: "bad peer AS",
      3: "bad BGP identifier",
      4: "unsupported optional parameter",
      6: "unacceptable hold time",
      7: "unsupported capability",
      11: "role mismatch",
    },
  },
  3: {
    name: "UPDATE message error",
    subcodes: {
      1: "malformed attribute list",
      2: "unrecognized well-known attribute",
      3: "missing well-known attribute",
      4: "attribute flags error",
      5: "attribute length error",
      6: "invalid ORIGIN attribute",
      8: "invalid NEXT_HOP attribute",
      9: "optional attribute error",
      10: "invalid network field",
      11: "malformed AS_PATH",
    },
  },
  4: { name: "hold timer expired", subcodes: {} },
  5: {
    name: "finite state machine error",
    subcodes: {
      1: "unexpected message in OpenSent",
      2: "unexpected message in OpenConfirm",
      3: "unexpected message in Established",
    },
  },
  6: {
    name: "cease",
    subcodes: {
      1: "maximum number of prefixes reached",
      2: "administrative shutdown",
      3: "peer de-configured",
      4: "administrative reset",
      5: "connection rejected",
      6: "other configuration change",
      7: "connection collision resolution",
      8: "out of resources",
      9: "hard reset",
      10: "BFD down",
    },
  },
  7: { name: "ROUTE-REFRESH message error", subcodes: { 1: "invalid message length" } },
};

/** Cease subcodes that we send (RFC 4486 §4). */
export const ceaseSubcodes = {
  administrativeShutdown: 2,
  peerDeconfigured: 3,
  otherConfigurationChange: 6,
  outOfResources: 8,
} as const;

/** An error in the peer's messages, as the NOTIFICATION that answers it. The codec throws nothing else. */
export class BgpError extends Error {
  readonly notification: Notification;

  /** @param detail the specific case, such as `it is 4097 octets long` */
  constructor(code: number, subcode: number, detail: string, data: Uint8Array = new Uint8Array()) {
    const notification = { code, subcode, data };
    super(`${describeNotification(notification)}: ${detail}`);
    this.name = "BgpError";
    this.notification = notification;
  }
}

/** The maximum length of the text (RFC 9003 §2), in octets of UTF-8. */
const shutdownTextBytesMax = 255;

/** Cease with a text for the log of the peer's operator (RFC 9003); only 6/2 and 6/4 can carry one. */
export function administrativeShutdown(text: string): Notification {
  // Cutting within a character would make invalid UTF-8; our texts are short and ASCII.
  const utf8 = Buffer.from(text).subarray(0, shutdownTextBytesMax);
  return {
    code: 6,
    subcode: ceaseSubcodes.administrativeShutdown,
    data: Buffer.concat([Buffer.from([utf8.length]), utf8]),
  };
}

/** The numbers and their names, such as `2/2 bad peer AS` or `6/2 administrative shutdown: "maintenance"`. */
export function describeNotification({ code, subcode, data }: Notification): string {
  const known = names[code];
  const name = known?.subcodes[subcode] ?? known?.name ?? "unknown error";
  const text = shutdownText(code, subcode, data);
  return `${code}/${subcode} ${name}${text === "" ? "" : `: "${text}"`}`;
}

/** The text of RFC 9003 without characters that could mislead a terminal or a log; "" if there is none. */
function shutdownText(code: number, subcode: number, data: Uint8Array): string {
  if (code !== 6 || (subcode !== 2 && subcode !== 4)) return "";
  const length = data[0] ?? 0;
  if (length + 1 > data.length) return "";
  const text = Buffer.from(data.subarray(1, 1 + length)).toString("utf8");
  return text.replaceAll(/[\p{C}\p{Zl}\p{Zp}"\\]/gu, "?");
}
