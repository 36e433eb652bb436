/**
 * What is never answered, before anything is read. (What can be read but is a response, or too short, is found by
 * the codec.)
 */

export interface Sender {
  /** UDP or TCP source port. */
  readonly port: number;
}

/**
 * Whether to look at the packet at all. Source port 0 is reserved (RFC 6335 §6): nobody can receive there, and
 * sending to it fails, so such a packet is only ever forged.
 */
export function isAdmitted(sender: Sender): boolean {
  return sender.port !== 0;
}
