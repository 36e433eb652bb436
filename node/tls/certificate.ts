/**
 * One certificate with its key, as a listener serves it: read from PEM, and checked. Pure, except that OpenSSL's parser
 * reads the PEM.
 *
 * A problem makes a certificate unusable, and comes with advice. Faults that only clients can judge (it has expired, or
 * is not valid yet) are warnings: the listener still serves the certificate, because no other would do better. A bad
 * OCSP response is a warning, too: the certificate is served without it.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import { clientTls } from "./settings.ts";

/** Where a certificate comes from, for messages and for reading it again. */
export interface CertificatePlace {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly ocspFile: string | null;
}

export interface ServedCertificate {
  readonly place: CertificatePlace;
  /** DNS names of subjectAltName, in lower case; `*.` in front stands for one label. */
  readonly names: readonly string[];
  /** ECDSA keys with their curve, by OpenSSL's name. */
  readonly key: { readonly kind: "ecdsa"; readonly curve: string } | { readonly kind: "rsa" };
  readonly validFromMs: number;
  readonly validToMs: number;
  /** SHA-256 of the certificate, in hexadecimal. */
  readonly fingerprint: string;
  /** The certificate and its intermediates. */
  readonly chainPem: string;
  readonly keyPem: string;
  /** DER of the response to staple (RFC 6960). */
  readonly ocsp: Buffer | null;
}

export type ReadCertificate =
  | {
      readonly outcome: "usable";
      readonly certificate: ServedCertificate;
      /** Why the OCSP file is not stapled; null: it is, or there is none. */
      readonly ocspProblem: string | null;
    }
  | { readonly outcome: "unusable"; readonly problem: string };

const curves: ReadonlySet<string> = new Set(["prime256v1", "secp384r1"]);
const rsaBitsMin = 2048;
/** A name of a certificate: labels of letters, digits, hyphens and underscores; the first may be a wildcard. */
const dnsName = /^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** OCSPResponse with responseStatus successful: a SEQUENCE, its length, and ENUMERATED 0 (RFC 6960 §4.2.1). */
const successful = Buffer.from([0x0a, 0x01, 0x00]);

/** @param from the content of the three files */
export function readCertificate(
  place: CertificatePlace,
  from: { readonly chainPem: string; readonly keyPem: string; readonly ocsp: Buffer | null },
): ReadCertificate {
  const { certificateFile, keyFile } = place;
  const unusable = (problem: string): ReadCertificate => ({ outcome: "unusable", problem });
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(from.chainPem);
  } catch {
    return unusable(`${certificateFile} holds no PEM certificate (-----BEGIN CERTIFICATE-----)`);
  }
  const key = readKey(from.keyPem);
  if (typeof key === "string") return unusable(`${keyFile} ${key}`);
  if (!leaf.checkPrivateKey(key)) {
    return unusable(
      `the key in ${keyFile} does not match the first certificate in ${certificateFile}: name the key that the ` +
        "certificate was made for; the file must begin with the certificate of the host, then its intermediates",
    );
  }
  const kind = kindOf(key);
  if (kind === undefined) {
    return unusable(`the key in ${keyFile} must be ECDSA (P-256 or P-384), or RSA with at least ${rsaBitsMin} bits`);
  }
  const { names, hasAddress } = namesOf(leaf.subjectAltName);
  if (names.length === 0 && !hasAddress) {
    return unusable(
      `${certificateFile} names no host in subjectAltName, and clients ignore the common name: ` +
        "request a certificate with its names there",
    );
  }
  try {
    createSecureContext({ ...clientTls, cert: from.chainPem, key: from.keyPem });
  } catch (error) {
    return unusable(`${certificateFile} and ${keyFile} can't be used: ${(error as Error).message}`);
  }
  const isBadOcsp = from.ocsp !== null && !isOcspResponse(from.ocsp);
  return {
    outcome: "usable",
    ocspProblem: isBadOcsp
      ? `${place.ocspFile ?? "the OCSP file"} must be a successful OCSP response in DER: get a new one, or remove it`
      : null,
    certificate: {
      place,
      names,
      key: kind,
      validFromMs: leaf.validFromDate.getTime(),
      validToMs: leaf.validToDate.getTime(),
      fingerprint: leaf.fingerprint256.replaceAll(":", "").toLowerCase(),
      ...from,
      ocsp: isBadOcsp ? null : from.ocsp,
    },
  };
}

/** Why clients refuse the certificate now; undefined: nothing that its dates tell. */
export function datesProblem(
  { place, validFromMs, validToMs }: Pick<ServedCertificate, "place" | "validFromMs" | "validToMs">,
  nowMs: number,
): string | undefined {
  if (nowMs >= validToMs) {
    return `${place.certificateFile} expired on ${dateOf(validToMs)}: clients refuse it; replace it by a renewed one`;
  }
  if (nowMs < validFromMs) {
    return (
      `${place.certificateFile} is not valid before ${dateOf(validFromMs)}: clients refuse it until then; ` +
      "check this machine's clock, or wait"
    );
  }
  return undefined;
}

export function dateOf(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(".000Z", "Z");
}

/** The key, or what is wrong with it. */
function readKey(pem: string): KeyObject | string {
  try {
    return createPrivateKey(pem);
  } catch {
    return /-----BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(pem)
      ? "is encrypted: nobody is there to type a passphrase; store the key without one, with mode 0600"
      : "holds no PEM private key (-----BEGIN PRIVATE KEY-----)";
  }
}

function kindOf(key: KeyObject): ServedCertificate["key"] | undefined {
  const { namedCurve = "", modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "ec" && curves.has(namedCurve)) return { kind: "ecdsa", curve: namedCurve };
  if (key.asymmetricKeyType === "rsa" && modulusLength >= rsaBitsMin) return { kind: "rsa" };
  return undefined;
}

/** @param text such as `DNS:a.example, DNS:*.b.example, IP Address:192.0.2.1` */
function namesOf(text = ""): { names: readonly string[]; hasAddress: boolean } {
  const entries = text.split(", ");
  const names = entries
    .filter((entry) => entry.startsWith("DNS:"))
    .map((entry) => entry.slice(4).toLowerCase())
    .filter((name) => dnsName.test(name));
  return { names: [...new Set(names)], hasAddress: entries.some((entry) => entry.startsWith("IP Address:")) };
}

/** Looks at the outermost SEQUENCE only: it must fill the file, and its status must be successful. */
function isOcspResponse(der: Buffer): boolean {
  const [tag, first] = der;
  if (tag !== 0x30 || first === undefined) return false;
  const lengthOctets = first < 0x80 ? 0 : first & 0x7f;
  const contentStart = 2 + lengthOctets;
  if (lengthOctets > 3 || der.length < contentStart) return false;
  const length = lengthOctets === 0 ? first & 0x7f : der.readUIntBE(2, lengthOctets);
  return der.length === contentStart + length && der.subarray(contentStart, contentStart + 3).equals(successful);
}
