/**
 * TLS contexts of the OpenSSL inside the node binary (base/openssl.ts), one for each certificate that clients use: what
 * contexts.ts is for `node:tls`, for threads that can't use that. Both make the same handshakes and the same tickets.
 *
 *   certificate ─▶ known? ─▶ context ─▶ SSL_new, by the caller
 *                   └ no: parsed now, and kept as one of the `contextsMax` that were used last
 *
 * Tickets have Node's format: the name of a key, AES-128-CBC, HMAC-SHA256 (ticket-keys.ts). OpenSSL's own has another
 * cipher, so each ticket's key is asked for here. One context serves all ticket keys.
 */
import { constants } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { OpenSsl, TicketCall } from "#base/openssl.ts";
import type { ServedCertificate } from "./certificate.ts";
import { ticketKeyNameBytes } from "./client-hello.ts";
import { clientTls } from "./settings.ts";
import type { TicketKeys } from "./ticket-keys.ts";

/** One takes some 30 KB. */
export const contextsMax = 1000;
/** Days and fleet secrets whose tickets are accepted: three days of two secrets are usual. */
const ticketKeysMax = 32;
const ticketKeyBytes = 48;
const ticketPartBytes = 16;

/** Memory that OpenSSL may read and write. `bytes` begins at `address`. */
export interface NativeRoom {
  readonly address: number;
  readonly bytes: Buffer;
}

/** Offsets in the room that stays as it is. */
const place = { protocols: 0, sessionContext: 256, name: 512, ticketKeys: 1024 } as const;
/** Size of that room. */
export const nativeRoomBytes = place.ticketKeys + ticketKeysMax * ticketKeyBytes;

export interface NativeParts {
  readonly ssl: OpenSsl;
  /** nativeRoomBytes for these contexts alone. */
  readonly room: NativeRoom;
  /** Overwritten by each call. */
  readonly scratch: NativeRoom;
  /** For ALPN, the preferred one first. */
  readonly protocols: readonly string[];
  /**
   * Notes a context's address, so that somebody else can free it after this thread.
   * @param slot less than contextsMax + 1
   */
  readonly note: (slot: number, address: number) => void;
}

export interface NativeContexts {
  /** The address of a context, or why there is none. The reason tells nothing of the key. */
  readonly contextFor: (certificate: ServedCertificate) => number | string;
  /** From now on, these keys count. */
  readonly setTicketKeys: (keys: TicketKeys) => void;
  /**
   * The next tickets are made with the first of these keys that is accepted, or else with the current one: a client
   * that comes with a ticket of yesterday gets one of yesterday, so no session lasts forever.
   */
  readonly preferTicketKey: (names: readonly string[]) => void;
}

interface Kept {
  readonly address: number;
  readonly slot: number;
}

export function openNativeContexts({ ssl, room, scratch, protocols, note }: NativeParts): NativeContexts {
  const wire = protocols.map((name) => String.fromCharCode(name.length) + name).join("");
  room.bytes.write(wire, place.protocols, "latin1");
  room.bytes.write(clientTls.sessionIdContext, place.sessionContext, "latin1");
  const tickets = openTickets(ssl, room);
  const callBack = ssl.callBack({
    protocolsAt: room.address + place.protocols,
    protocolsBytes: wire.length,
    ticketKey: tickets.choose,
  });
  const free = Array.from({ length: contextsMax + 1 }, (_, slot) => slot);
  const kept = new LRUCache<ServedCertificate, Kept>({
    max: contextsMax,
    dispose({ address, slot }) {
      note(slot, 0);
      free.push(slot);
      ssl.freeContext(address); // connections keep it as long as they need it
    },
  });
  return {
    contextFor(certificate) {
      const known = kept.get(certificate);
      if (known !== undefined) return known.address;
      const made = makeContext({ ssl, room, scratch }, certificate);
      if (typeof made === "string") return made;
      callBack(made, { staples: certificate.ocsp !== null });
      const slot = free.pop();
      if (slot === undefined) throw new Error("more contexts than are kept");
      note(slot, made);
      kept.set(certificate, { address: made, slot });
      return made;
    },
    setTicketKeys: tickets.set,
    preferTicketKey: tickets.prefer,
  };
}

const suites = clientTls.ciphers.split(":");
const isOfTls13 = (suite: string): boolean => suite.startsWith("TLS_");
/** Node's own contexts have these, too, except for the end without close_notify, which Node sees by itself. */
const options =
  clientTls.secureOptions |
  (clientTls.honorCipherOrder ? constants.SSL_OP_CIPHER_SERVER_PREFERENCE : 0) |
  // An end without close_notify is an end: lengths in HTTP tell whether something is missing.
  0x80; // SSL_OP_IGNORE_UNEXPECTED_EOF

function makeContext(
  { ssl, room, scratch }: Pick<NativeParts, "ssl" | "room" | "scratch">,
  { chainPem, keyPem, place: from }: ServedCertificate,
): number | string {
  const context = ssl.newContext({
    suites: suites.filter(isOfTls13).join(":"),
    suites12: suites.filter((suite) => !isOfTls13(suite)).join(":"),
    options,
    sessionSeconds: clientTls.sessionTimeout,
    sessionContextAt: room.address + place.sessionContext,
    sessionContextBytes: clientTls.sessionIdContext.length,
  });
  if (context === 0) return `no TLS context could be made: ${ssl.takeError()}`;
  const isUsable =
    withPem({ ssl, scratch }, chainPem, (pem) => ssl.useCertificates(context, pem)) &&
    withPem({ ssl, scratch }, keyPem, (pem) => ssl.useKey(context, pem));
  // Also when all went well: the end of the PEM is an error for OpenSSL.
  const reason = ssl.takeError();
  if (isUsable) return context;
  ssl.freeContext(context);
  return `${from.certificateFile} and ${from.keyFile} can't be used in a lane: ${reason}`;
}

/** Reads PEM from a buffer of OpenSSL's, which is filled through the scratch memory. */
function withPem(
  { ssl, scratch }: Pick<NativeParts, "ssl" | "scratch">,
  text: string,
  read: (pem: number) => boolean,
): boolean {
  const bytes = Buffer.from(text, "latin1");
  const pem = ssl.newBuffer();
  if (pem === 0) return false;
  try {
    for (let at = 0; at < bytes.length;) {
      const copied = bytes.copy(scratch.bytes, 0, at);
      if (!ssl.fillBuffer(pem, scratch.address, copied)) return false;
      at += copied;
    }
    return read(pem);
  } finally {
    scratch.bytes.fill(0, 0, Math.min(bytes.length, scratch.bytes.length)); // the next user may be a client
    ssl.freeBuffer(pem);
  }
}

interface Tickets {
  readonly set: (keys: TicketKeys) => void;
  readonly prefer: NativeContexts["preferTicketKey"];
  readonly choose: (call: TicketCall) => 0 | 1;
}

/** The ticket keys, and what OpenSSL asks about each ticket. */
function openTickets(ssl: OpenSsl, { address, bytes }: NativeRoom): Tickets {
  /** Places of the keys in the room, by their names in hexadecimal. */
  let places = new Map<string, number>();
  let current = 0;
  let preferred = 0;
  const nameAt = address + place.name;
  const use = (call: TicketCall, at: number): boolean =>
    ssl.useTicketKey(call, {
      macAt: address + at + ticketPartBytes,
      cipherAt: address + at + 2 * ticketPartBytes,
      lengthBytes: ticketPartBytes,
    });
  return {
    set(keys) {
      places = new Map();
      for (const [name, key] of [...keys.accepted].slice(0, ticketKeysMax)) {
        const at = place.ticketKeys + places.size * ticketKeyBytes;
        bytes.set(key, at);
        places.set(name, at);
        if (keys.current.equals(key)) current = at;
      }
    },
    prefer(names) {
      const known = names.find((name) => places.has(name));
      preferred = known === undefined ? current : (places.get(known) ?? current);
    },
    choose(call) {
      if (call.isNew) {
        if (preferred === 0 || !ssl.fillRandom(call.ivAt, ticketPartBytes)) return 0;
        ssl.copy(call.nameAt, address + preferred, ticketKeyNameBytes);
        return use(call, preferred) ? 1 : 0;
      }
      ssl.copy(nameAt, call.nameAt, ticketKeyNameBytes);
      const at = places.get(bytes.toString("hex", place.name, place.name + ticketKeyNameBytes));
      return at !== undefined && use(call, at) ? 1 : 0;
    },
  };
}
