/**
 * The numbers of the DNS protocol and their names: record types, classes, opcodes, response codes, EDNS options
 * (IANA "Domain Name System (DNS) Parameters").
 */

export const recordTypes = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  DNAME: 39,
  OPT: 41,
  DS: 43,
  SSHFP: 44,
  TLSA: 52,
  SVCB: 64,
  HTTPS: 65,
  TKEY: 249,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  MAILB: 253,
  MAILA: 254,
  ANY: 255,
  CAA: 257,
} as const;

export const classes = { IN: 1, CH: 3, ANY: 255 } as const;

export const rcodes = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  YXDOMAIN: 6,
  /** Needs an OPT record: its upper eight bits stand there (RFC 6891 §6.1.3). */
  BADVERS: 16,
} as const;

/** Extended DNS errors (RFC 8914 §4): why, beside the response code. */
export const extendedErrors = { NOT_READY: 14, PROHIBITED: 18, NOT_AUTHORITATIVE: 20, NOT_SUPPORTED: 21 } as const;

/** Types that are questions or belong to a message, never data of a zone (RFC 6895 §3.1, RFC 9824 §3.4). */
export function isMetaType(type: number): boolean {
  return type === 0 || type === recordTypes.OPT || (type >= 128 && type <= 255);
}

const typeByName = new Map<string, number>(Object.entries(recordTypes));

/** The number of `AAAA` or `TYPE65280` (RFC 3597 §5), in any case; undefined when it is neither. */
export function typeNumber(text: string): number | undefined {
  const upper = text.toUpperCase();
  const known = typeByName.get(upper);
  if (known !== undefined) return known;
  const unknown = /^TYPE(\d{1,5})$/.exec(upper);
  const number = Number(unknown?.[1] ?? Number.NaN);
  return number <= 0xffff ? number : undefined;
}
