/**
 * Packets that are never answered, decided before parsing. (The codec rejects responses and packets that are too
 * short.)
 */

export interface Sender {
  /** UDP or TCP source port. */
  readonly port: number;
}

/**
 * Whether to read the packet at all. Source port 0 is reserved (RFC 6335 §6). No client can receive packets there, so
 * such a packet is always spoofed.
 */
export function isAdmitted(sender: Sender): boolean {
  return sender.port !== 0;
}
