/**
 * Makes X.509 certificates (RFC 5280): an authority that signs itself, and certificates that it signs. For trials on
 * one machine, where no public authority can vouch for names such as `localhost`.
 */
import { Integer, OctetString, Utf8String } from "asn1js";
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from "node:crypto";
import { isIPv4 } from "node:net";
import {
  AttributeTypeAndValue,
  BasicConstraints,
  Certificate,
  Extension,
  ExtKeyUsage,
  GeneralName,
  GeneralNames,
} from "pkijs";

export interface Pair {
  readonly certificatePem: string;
  /** PKCS #8. */
  readonly keyPem: string;
}

export interface Subject {
  readonly commonName: string;
  /** DNS names and IPv4 addresses; none: the certificate has no subjectAltName. */
  readonly names: readonly string[];
  readonly validFromMs: number;
  readonly validToMs: number;
  readonly key?: KeyKind;
}

export type KeyKind = "ecdsa" | "rsa";

const oid = {
  commonName: "2.5.4.3",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  extKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
};
/** BIT STRINGs in DER: keyCertSign and cRLSign; digitalSignature. */
const usages = { authority: Buffer.from("03020106", "hex"), server: Buffer.from("03020780", "hex") };
/** GeneralName (RFC 5280 §4.2.1.6). */
const generalName = { dns: 2, ip: 7 } as const;
const rsaBits = 2048;

/** An authority, which signs itself and nothing but certificates of hosts. */
export async function makeAuthority(subject: Omit<Subject, "names">): Promise<Pair> {
  return await make({ ...subject, names: [] }, undefined);
}

/** A certificate for a server's names, signed by the authority. */
export async function issueCertificate(subject: Subject, authority: Pair): Promise<Pair> {
  return await make(subject, authority);
}

/** @param authority undefined: the certificate is one, and signs itself */
async function make(subject: Subject, authority: Pair | undefined): Promise<Pair> {
  const keyPem = makeKey(subject.key ?? "ecdsa");
  const certificate = new Certificate();
  certificate.version = 2; // v3
  // Positive, with 64 random bits (CA/Browser Forum BR §7.1).
  certificate.serialNumber = new Integer({ valueHex: bytesOf(Buffer.concat([Buffer.from([1]), randomBytes(15)])) });
  certificate.notBefore.value = new Date(subject.validFromMs);
  certificate.notAfter.value = new Date(subject.validToMs);
  certificate.subject.typesAndValues.push(commonNameOf(subject.commonName));
  if (authority === undefined) certificate.issuer = certificate.subject;
  else certificate.issuer = Certificate.fromBER(derOf(authority.certificatePem)).subject;
  certificate.extensions = extensionsFor(subject.names, authority === undefined);
  await certificate.subjectPublicKeyInfo.importKey(await publicKeyOf(keyPem));
  await certificate.sign(await signingKeyOf(authority?.keyPem ?? keyPem), "SHA-256");
  return { certificatePem: pemOf(Buffer.from(certificate.toSchema(true).toBER(false))), keyPem };
}

function makeKey(kind: KeyKind): string {
  const { privateKey } =
    kind === "rsa"
      ? generateKeyPairSync("rsa", { modulusLength: rsaBits })
      : generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ type: "pkcs8", format: "pem" });
}

function commonNameOf(text: string): AttributeTypeAndValue {
  return new AttributeTypeAndValue({ type: oid.commonName, value: new Utf8String({ value: text }) });
}

function extensionsFor(names: readonly string[], isAuthority: boolean): Extension[] {
  const extension = (extnID: string, critical: boolean, extnValue: ArrayBuffer): Extension =>
    new Extension({ extnID, critical, extnValue });
  if (isAuthority) {
    const constraints = new BasicConstraints({ cA: true, pathLenConstraint: 0 });
    return [
      extension(oid.basicConstraints, true, constraints.toSchema().toBER(false)),
      extension(oid.keyUsage, true, bytesOf(usages.authority)),
    ];
  }
  const alternative = new GeneralNames({ names: names.map(generalNameOf) });
  const purposes = new ExtKeyUsage({ keyPurposes: [oid.serverAuth] });
  return [
    extension(oid.keyUsage, true, bytesOf(usages.server)),
    extension(oid.extKeyUsage, false, purposes.toSchema().toBER(false)),
    ...(names.length === 0 ? [] : [extension(oid.subjectAltName, false, alternative.toSchema().toBER(false))]),
  ];
}

function generalNameOf(name: string): GeneralName {
  if (!isIPv4(name)) return new GeneralName({ type: generalName.dns, value: name });
  const octets = Buffer.from(name.split(".").map(Number));
  return new GeneralName({ type: generalName.ip, value: new OctetString({ valueHex: bytesOf(octets) }) });
}

const subtle = webcrypto.subtle;

function algorithmOf({ asymmetricKeyType }: KeyObject): { name: string; namedCurve?: string; hash?: string } {
  return asymmetricKeyType === "rsa"
    ? { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }
    : { name: "ECDSA", namedCurve: "P-256" };
}

async function signingKeyOf(keyPem: string): Promise<webcrypto.CryptoKey> {
  const key = createPrivateKey(keyPem);
  const der = key.export({ type: "pkcs8", format: "der" });
  return await subtle.importKey("pkcs8", der, algorithmOf(key), false, ["sign"]);
}

async function publicKeyOf(keyPem: string): Promise<webcrypto.CryptoKey> {
  const key = createPrivateKey(keyPem);
  const der = createPublicKey(key).export({ type: "spki", format: "der" });
  return await subtle.importKey("spki", der, algorithmOf(key), true, ["verify"]);
}

function derOf(pem: string): ArrayBuffer {
  return bytesOf(new X509Certificate(pem).raw);
}

function pemOf(der: Buffer): string {
  return new X509Certificate(der).toString();
}

function bytesOf(buffer: Buffer): ArrayBuffer {
  return new Uint8Array(buffer).buffer;
}
