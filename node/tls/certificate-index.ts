/**
 * Which certificate a client gets: by its server name, and by the kinds of keys that it can verify. Pure.
 *
 *   a.b.example ─▶ a.b.example ─▶ *.b.example ─▶ the default          one label for the star (RFC 9525 §6.3)
 *                   └── ECDSA and RSA ─▶ ECDSA, if the client can verify it
 */
import type { ServedCertificate } from "./certificate.ts";
import type { ClientHello } from "./client-hello.ts";
import { ecdsaSuites } from "./settings.ts";

/** The certificates of one name; at least one. */
export interface ByKind {
  readonly ecdsa?: ServedCertificate;
  readonly rsa?: ServedCertificate;
}

export interface CertificateIndex {
  readonly byName: ReadonlyMap<string, ByKind>;
  /** For clients that send no server name, or one without certificate. */
  readonly fallback: ByKind;
  /** Certificates that lost a name to another one of the same kind, which is valid for longer. */
  readonly superseded: readonly { readonly name: string; readonly by: ServedCertificate; readonly place: string }[];
  /** When the next certificate becomes valid, so that the index has to be made again; Infinity: never. */
  readonly changesAtMs: number;
}

/**
 * @param certificates in order of precedence for the default; at least one
 * @param defaultName a name that one of them has; its certificate is the default
 */
export function indexCertificates(
  certificates: readonly ServedCertificate[],
  defaultName: string | undefined,
  nowMs: number,
): CertificateIndex {
  const byName = new Map<string, ByKind>();
  const superseded: { name: string; by: ServedCertificate; place: string }[] = [];
  for (const certificate of certificates) {
    const { kind } = certificate.key;
    for (const name of certificate.names) {
      const known = byName.get(name);
      const rival = known?.[kind];
      if (rival === undefined || isBetter(certificate, rival, nowMs)) {
        byName.set(name, { ...known, [kind]: certificate });
      }
      if (rival === undefined) continue;
      const by = byName.get(name)?.[kind] as ServedCertificate;
      superseded.push({ name, by, place: (by === rival ? certificate : rival).place.certificateFile });
    }
  }
  const [first] = certificates;
  const chosen = defaultName === undefined ? undefined : namedIn(byName, defaultName);
  const ofFirst = first?.names[0] === undefined ? undefined : byName.get(first.names[0]);
  const bare = first === undefined ? {} : { [first.key.kind]: first };
  const later = certificates.map(({ validFromMs }) => validFromMs).filter((fromMs) => fromMs > nowMs);
  return { byName, fallback: chosen ?? ofFirst ?? bare, superseded, changesAtMs: Math.min(Infinity, ...later) };
}

function isBetter(one: ServedCertificate, other: ServedCertificate, nowMs: number): boolean {
  const isValid = one.validFromMs <= nowMs;
  if (isValid !== other.validFromMs <= nowMs) return isValid;
  return one.validToMs > other.validToMs;
}

/** The certificates for a name; undefined: there is none. */
export function certificatesFor({ byName }: Pick<CertificateIndex, "byName">, name: string): ByKind | undefined {
  return namedIn(byName, name.toLowerCase().replace(/\.$/, ""));
}

function namedIn(byName: ReadonlyMap<string, ByKind>, name: string): ByKind | undefined {
  const exact = byName.get(name);
  if (exact !== undefined) return exact;
  const dot = name.indexOf(".");
  return dot <= 0 ? undefined : byName.get(`*${name.slice(dot)}`);
}

/** The certificate for a client. @param hello undefined: it could not be read, and OpenSSL will refuse it */
export function chooseCertificate(
  index: Pick<CertificateIndex, "byName" | "fallback">,
  hello: ClientHello | undefined,
): ServedCertificate {
  const servername = hello?.servername;
  const { ecdsa, rsa } = (servername === undefined ? undefined : certificatesFor(index, servername)) ?? index.fallback;
  const chosen = ecdsa !== undefined && (rsa === undefined || canVerify(hello, ecdsa)) ? ecdsa : rsa;
  if (chosen === undefined) throw new Error("the index has no certificate");
  return chosen;
}

/** Signature schemes of ECDSA (RFC 8446 §4.2.3), and the groups of the curves (§4.2.7), by OpenSSL's curve names. */
const ecdsaSchemes = [0x0403, 0x0503, 0x0603];
const schemeOfCurve: Readonly<Record<string, number>> = { prime256v1: 0x0403, secp384r1: 0x0503 };
const groupOfCurve: Readonly<Record<string, number>> = { prime256v1: 23, secp384r1: 24 };

function canVerify(hello: ClientHello | undefined, { key }: ServedCertificate): boolean {
  if (hello === undefined || key.kind !== "ecdsa") return false;
  const { signatureSchemes, suites, groups, offersTls13 } = hello;
  // In TLS 1.3, a scheme names its curve.
  if (offersTls13) return signatureSchemes.includes(schemeOfCurve[key.curve] ?? -1);
  return (
    suites.some((suite) => ecdsaSuites.has(suite)) &&
    ecdsaSchemes.some((scheme) => signatureSchemes.includes(scheme)) &&
    groups.includes(groupOfCurve[key.curve] ?? -1)
  );
}
