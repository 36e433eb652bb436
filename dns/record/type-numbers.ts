/**
 * The table of record types by number (IANA "Resource Record (RR) TYPEs"), for zone files, the compiler and the
 * responder. It imports no schemas, so the threads that answer queries can load it cheaply.
 */
export const typeNumbers = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  RP: 17,
  AFSDB: 18,
  SIG: 24,
  KEY: 25,
  AAAA: 28,
  LOC: 29,
  NXT: 30,
  SRV: 33,
  NAPTR: 35,
  KX: 36,
  CERT: 37,
  DNAME: 39,
  OPT: 41,
  APL: 42,
  DS: 43,
  SSHFP: 44,
  IPSECKEY: 45,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  DHCID: 49,
  NSEC3: 50,
  NSEC3PARAM: 51,
  TLSA: 52,
  SMIMEA: 53,
  CDS: 59,
  CDNSKEY: 60,
  OPENPGPKEY: 61,
  CSYNC: 62,
  ZONEMD: 63,
  SVCB: 64,
  HTTPS: 65,
  SPF: 99,
  EUI48: 108,
  EUI64: 109,
  TKEY: 249,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  MAILB: 253,
  MAILA: 254,
  ANY: 255,
  URI: 256,
  CAA: 257,
} as const;

export type TypeName = keyof typeof typeNumbers;

const numbersByName = new Map<string, number>(Object.entries(typeNumbers));

/** The number of `AAAA` or `TYPE65280` (RFC 3597 §5), in any case; undefined when it is neither. */
export function typeNumberFrom(text: string): number | undefined {
  const upper = text.toUpperCase();
  const known = numbersByName.get(upper);
  if (known !== undefined) return known;
  const digits = /^TYPE(\d{1,5})$/.exec(upper)?.[1];
  return digits !== undefined && Number(digits) <= 65_535 ? Number(digits) : undefined;
}

/** QTYPEs and meta-types, which are never zone data (RFC 6895 §3.1, RFC 9824 §3.4). */
function isMetaType(number: number): boolean {
  return number === 0 || number === typeNumbers.OPT || (number >= 128 && number <= 255);
}

/** Records that a signer makes for one version of a zone. */
const signatureTypes: ReadonlySet<number> = new Set([
  typeNumbers.SIG,
  typeNumbers.NXT,
  typeNumbers.RRSIG,
  typeNumbers.NSEC,
  typeNumbers.NSEC3,
  typeNumbers.NSEC3PARAM,
]);

/** Why a zone can't contain records of this type; undefined when it can. */
export function whyNotServed(number: number): string | undefined {
  if (signatureTypes.has(number)) {
    return `type ${number} is made by a DNSSEC signer, and nearcast serves zones unsigned: remove such records`;
  }
  if (isMetaType(number))
    return `type ${number} is not a type that a zone can contain (allowed: 1-127 except 41, 256-65535)`;
  return undefined;
}
