/**
 * The numbers of the DNS protocol and their names: record types, classes, response codes, extended errors
 * (IANA "Domain Name System (DNS) Parameters").
 */
import { typeNumbers } from "#record/type-numbers.ts";

/** The record types, from the table that also serves for reading zones. */
export const recordTypes = typeNumbers;

export const classes = { IN: 1, CH: 3, ANY: 255 } as const;

export const rcodes = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  YXDOMAIN: 6,
  /** Needs an OPT record, which has its upper eight bits (RFC 6891 §6.1.3). */
  BADVERS: 16,
} as const;

/** Extended DNS errors (RFC 8914 §4): the reason for a response code. */
export const extendedErrors = { NOT_READY: 14, PROHIBITED: 18, NOT_AUTHORITATIVE: 20, NOT_SUPPORTED: 21 } as const;
