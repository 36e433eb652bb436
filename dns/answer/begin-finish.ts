/**
 * The frame of an answer. begin() copies the question and fixes the length limit; the steps in between append records;
 * finish() writes the header and the OPT record.
 *
 *   header │ question │ answer, authority, additional sections │ OPT
 *   finish │  begin   │          the steps in between          │ finish      begin keeps room for it
 */
import { count } from "../counters.ts";
import { byteAt, copyOctets, putUint16 } from "../wire/bytes.ts";
import { optLength, udpSizeMax, udpSizeMin, writeOpt } from "../wire/edns.ts";
import { headerLength } from "../wire/message.ts";
import { rcodes } from "../wire/numbers.ts";
import { clientSubnetsCounter, servfail, truncatedCounter } from "./outcomes.ts";
import type { Client, Responding } from "./state.ts";

/** The length of a message is a 16-bit field (RFC 1035 §4.2.2). */
export const messageLengthMax = 65_535;

const flagAnswer = 0x80;
const flagAuthoritative = 0x04;
const flagTruncated = 0x02;
const flagRecursionDesired = 0x01;
const flagCheckingDisabled = 0x10;
/** The opcode's bits in the flags. */
const opcodeMask = 0x78;
/** Option code, length, INFO-CODE. */
const extendedErrorLength = 6;

/** Starts an empty NOERROR answer after the query's question. */
export function begin(state: Responding, message: Uint8Array, length: number, client: Client): void {
  const { out, reply, isUdp } = state;
  const { edns, questionEnd } = state.query;
  clear(state);
  reply.nsid = state.nsid;
  reply.keepaliveTenths = isUdp ? -1 : (client.keepaliveTenths ?? -1);
  // When answering in place, the question is already there. The rest of the query has been read by now.
  if (out !== message) copyOctets(message, headerLength, out, headerLength, questionEnd - headerLength);
  state.at = questionEnd;
  let limit = messageLengthMax;
  if (isUdp) {
    limit = edns.isPresent ? Math.min(Math.max(edns.udpSize, udpSizeMin), udpSizeMax) : udpSizeMin;
    const { amplificationMax } = state;
    if (amplificationMax > 0 && !state.isProven) limit = Math.min(limit, Math.floor(amplificationMax * length));
  }
  if (edns.isPresent) {
    // Reserves room for the OPT record, so that it survives truncation (RFC 6891 §7).
    let kept = optLength(edns, reply);
    if (kept > limit - questionEnd) {
      reply.nsid = undefined;
      kept = optLength(edns, reply);
    }
    limit -= kept;
  }
  state.limit = limit;
}

function clear(state: Responding): void {
  state.rcode = rcodes.NOERROR;
  state.answers = 0;
  state.authorities = 0;
  state.additionals = 0;
  state.isTruncated = false;
  state.isAuthoritative = false;
  state.reply.scope = 0;
  state.reply.extendedError = -1;
}

/** Empties the sections, so that no client takes a part of an RRset for all of it (RFC 2181 §9). */
export function truncate(state: Responding): void {
  count(state.counters, truncatedCounter);
  state.at = state.query.questionEnd;
  state.answers = 0;
  state.authorities = 0;
  state.additionals = 0;
}

/**
 * Replaces a truncated answer over TCP with SERVFAIL: there is no other transport to send the client to. A single RRset
 * is never that long, but several together may be.
 */
export function giveUp(state: Responding): number {
  clear(state);
  state.at = state.query.questionEnd;
  state.rcode = rcodes.SERVFAIL;
  return servfail;
}

/**
 * Makes the answer an error.
 * @param extendedError the reason, for clients that read it (RFC 8914)
 * @returns `outcome`
 */
export function fail(state: Responding, code: number, extendedError: number, outcome: number): number {
  state.rcode = code;
  // begin() reserved no room for it, and the answer is valid without it.
  if (state.limit - state.at >= extendedErrorLength) state.reply.extendedError = extendedError;
  return outcome;
}

/** Writes the header and the OPT record around the sections. */
export function finish(state: Responding, message: Uint8Array): void {
  const { out, rcode } = state;
  const { edns, questionEnd } = state.query;
  let flags = flagAnswer | (byteAt(message, 2) & flagRecursionDesired);
  if (state.isAuthoritative) flags |= flagAuthoritative;
  if (state.isTruncated) flags |= flagTruncated;
  out[0] = byteAt(message, 0);
  out[1] = byteAt(message, 1);
  out[2] = flags;
  // RFC 4035 §3.1.6: copy CD, never set AD; Z is zero.
  out[3] = (byteAt(message, 3) & flagCheckingDisabled) | (rcode & 0x0f);
  putUint16(out, 4, questionEnd > headerLength ? 1 : 0);
  putUint16(out, 6, state.answers);
  putUint16(out, 8, state.authorities);
  putUint16(out, 10, state.additionals + (edns.isPresent ? 1 : 0));
  if (edns.subnet.isPresent) count(state.counters, clientSubnetsCounter);
  if (edns.isPresent) state.at = writeOpt(out, state.at, edns, rcode, state.reply);
}

/** NOTIMP for an unknown opcode: the answer repeats the opcode and nothing else (RFC 8906 §3.1.4). */
export function writeUnknownOpcode(state: Responding, message: Uint8Array): void {
  writeHeaderOnly(state, message, rcodes.NOTIMP, byteAt(message, 2) & opcodeMask);
}

/** SERVFAIL after an internal failure, when the state of the message is unknown. */
export function writeFailure(state: Responding, message: Uint8Array): void {
  writeHeaderOnly(state, message, rcodes.SERVFAIL, byteAt(message, 2) & flagRecursionDesired);
}

function writeHeaderOnly(state: Responding, message: Uint8Array, code: number, flags: number): void {
  const { out } = state;
  out[0] = byteAt(message, 0);
  out[1] = byteAt(message, 1);
  out[2] = flagAnswer | flags;
  out[3] = code;
  for (let i = 4; i < headerLength; i++) out[i] = 0;
  state.at = headerLength;
}
