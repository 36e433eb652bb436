/**
 * Reads the first message of a TLS client (RFC 8446 §4.1.2), to choose the certificate and the ticket key before the
 * handshake begins. It only chooses: what it can't read goes to OpenSSL, which refuses it with the right alert. Pure.
 *
 *   records (type 22, RFC 8446 §5.1) ─▶ handshake message (type 1) ─▶ suites, extensions
 */

/** A hello with two post-quantum key shares and a ticket has some 4 KB. */
const helloBytesMax = 16 * 1024;

export interface ClientHello {
  /** The name in server_name (RFC 6066 §3), as it was sent. */
  readonly servername: string | undefined;
  /** Suites, signature schemes and groups by their numbers. */
  readonly suites: readonly number[];
  readonly signatureSchemes: readonly number[];
  readonly groups: readonly number[];
  readonly offersTls13: boolean;
  /** The first 16 octets of each ticket, in hexadecimal: the name of its key. */
  readonly ticketKeyNames: readonly string[];
}

/** "odd": not a ClientHello that can be read here. "not-tls": no TLS record at all. */
export type HelloOutcome =
  { readonly outcome: "whole"; readonly hello: ClientHello } | { readonly outcome: "partial" | "odd" | "not-tls" };

/** Length of a ticket key's name (RFC 5077 §4). */
export const ticketKeyNameBytes = 16;

const handshakeRecord = 22;
const clientHelloType = 1;
const extensions = {
  serverName: 0,
  supportedGroups: 10,
  signatureAlgorithms: 13,
  sessionTicket: 35,
  preSharedKey: 41,
  supportedVersions: 43,
};
const tls13 = 0x0304;

/** @param bytes all that the client has sent so far, at least one */
export function readClientHello(bytes: Buffer): HelloOutcome {
  if (bytes[0] !== handshakeRecord) return { outcome: "not-tls" };
  const message = messageOf(bytes);
  if (message === "partial") return { outcome: bytes.length < helloBytesMax ? "partial" : "odd" };
  if (message === "odd") return { outcome: "odd" };
  try {
    return { outcome: "whole", hello: readHello(readerOf(message)) };
  } catch (error) {
    if (error instanceof RangeError) return { outcome: "odd" };
    throw error;
  }
}

/** The body of the handshake message, which may be spread over several records. */
function messageOf(bytes: Buffer): Buffer | "partial" | "odd" {
  const parts: Buffer[] = [];
  let length = 0;
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] !== handshakeRecord) return "odd";
    if (at + 5 > bytes.length) return "partial";
    const end = at + 5 + bytes.readUInt16BE(at + 3);
    if (end === at + 5) return "odd"; // empty records would never end
    parts.push(bytes.subarray(at + 5, end));
    length += Math.min(end, bytes.length) - at - 5;
    at = end;
    if (length < 4) continue;
    const message = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
    if (message[0] !== clientHelloType) return "odd";
    const wanted = message.readUIntBE(1, 3);
    if (wanted > helloBytesMax) return "odd";
    if (length >= 4 + wanted) return message.subarray(4, 4 + wanted);
  }
  return "partial";
}

/** Reads numbers and vectors (RFC 8446 §3.4) one after another; throws RangeError past the end. */
interface Reader {
  readonly rest: () => number;
  readonly number: (octets: 1 | 2) => number;
  readonly bytes: (length: number) => Buffer;
}

function readerOf(bytes: Buffer): Reader {
  let at = 0;
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new RangeError("past the end");
    at += length;
    return bytes.subarray(at - length, at);
  };
  return {
    rest: () => bytes.length - at,
    number: (octets) => take(octets).readUIntBE(0, octets),
    bytes: take,
  };
}

function vector(reader: Reader, lengthOctets: 1 | 2): Buffer {
  return reader.bytes(reader.number(lengthOctets));
}

function numbersOf(bytes: Buffer): number[] {
  const numbers: number[] = [];
  for (let at = 0; at + 1 < bytes.length; at += 2) numbers.push(bytes.readUInt16BE(at));
  return numbers;
}

function readHello(reader: Reader): ClientHello {
  reader.bytes(2 + 32); // legacy_version, random
  vector(reader, 1); // legacy_session_id
  const suites = numbersOf(vector(reader, 2));
  vector(reader, 1); // compression methods
  const found = new Map<number, Buffer>();
  if (reader.rest() > 0) {
    const inside = readerOf(vector(reader, 2));
    while (inside.rest() > 0) found.set(inside.number(2), vector(inside, 2));
  }
  const listIn = (type: number, lengthOctets: 1 | 2): number[] => {
    const value = found.get(type);
    return value === undefined ? [] : numbersOf(vector(readerOf(value), lengthOctets));
  };
  return {
    servername: servernameIn(found.get(extensions.serverName)),
    suites,
    signatureSchemes: listIn(extensions.signatureAlgorithms, 2),
    groups: listIn(extensions.supportedGroups, 2),
    offersTls13: listIn(extensions.supportedVersions, 1).includes(tls13),
    ticketKeyNames: [
      ...ticketsIn(found.get(extensions.preSharedKey)),
      found.get(extensions.sessionTicket) ?? Buffer.alloc(0),
    ]
      .filter((ticket) => ticket.length > ticketKeyNameBytes)
      .map((ticket) => ticket.toString("hex", 0, ticketKeyNameBytes)),
  };
}

function servernameIn(value: Buffer | undefined): string | undefined {
  if (value === undefined) return undefined;
  const names = readerOf(vector(readerOf(value), 2));
  const isHostName = names.number(1) === 0;
  const name = vector(names, 2).toString("latin1");
  return isHostName ? name : undefined;
}

/** The identities of the keys that a client would resume with (RFC 8446 §4.2.11). */
function ticketsIn(value: Buffer | undefined): Buffer[] {
  if (value === undefined) return [];
  const identities = readerOf(vector(readerOf(value), 2));
  const tickets: Buffer[] = [];
  while (identities.rest() > 0) {
    tickets.push(vector(identities, 2));
    identities.bytes(4); // obfuscated_ticket_age
  }
  return tickets;
}
