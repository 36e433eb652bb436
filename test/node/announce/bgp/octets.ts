/** Messages written by hand, octet by octet, for tests that hold the codec against the RFCs and not against itself. */
import { createFramer, type Message, readMessage } from "../../../../node/announce/bgp/message.ts";

/** The octets of a text of hexadecimal digits; blanks part them as one likes. */
export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ""), "hex");
}

/** A message of this type around a body, by RFC 4271 §4.1. */
export function framed(type: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(19, 0xff);
  header.writeUInt16BE(19 + body.length, 16);
  header.writeUInt8(type, 18);
  return Buffer.concat([header, body]);
}

/** What the octets of a stream mean. */
export function readAll(bytes: Uint8Array, isFourOctetAs = true): Message[] {
  return [...createFramer()(bytes)].map((message) => readMessage(message, isFourOctetAs));
}

/** OPEN of AS 64500, hold time 3, identifier 192.0.2.1, with IPv4 and IPv6 unicast, route refresh, four-octet AS. */
export const openBody = hex("04 fbf4 0003 c0000201 16 02 14 01 04 0001 00 01 01 04 0002 00 01 02 00 41 04 0000fbf4");
