/**
 * Certificates as files: which ones are configured, and what is in them.
 *
 *   https.certificates          named one by one
 *   https.certificateDirectory  NAME.crt or NAME.pem + NAME.key (+ NAME.ocsp)
 *                               NAME/fullchain.pem + NAME/privkey.pem (+ NAME/ocsp.der), as certbot writes them
 *
 * Other files of the directory are ignored, such as lego's NAME.issuer.crt and NAME.json; a certificate without its key
 * is a problem. An OCSP file that can't be read or used is a warning.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { NearcastError } from "#base/errors.ts";
import { markOf } from "#base/file-mark.ts";
import { readSecretFile, type SecretFile } from "#base/secret-file.ts";
import { codeReason } from "#base/system-reason.ts";
import { type CertificatePlace, type ReadCertificate, readCertificate } from "./certificate.ts";

export interface CertificateSettings {
  readonly certificates: readonly {
    readonly certificateFile: string;
    readonly keyFile: string;
    readonly ocspFile?: string;
  }[];
  readonly certificateDirectory?: string;
  readonly defaultName?: string;
}

/** Each is read in full, and a directory may have thousands. */
export const certificatesMax = 20_000;
/** A chain has 4 to 10 KB. */
const fileBytesMax = 256 * 1024;

const keyFileTold: SecretFile = {
  what: "private key",
  reader: "edge",
  mayGroupRead: true,
  whenLeaked: ". Whoever could read it may have it: revoke the certificate, and request one with a new key",
  whenUnreadable: "Write the private key of the certificate into it",
};

export interface Found {
  readonly places: readonly CertificatePlace[];
  readonly problems: readonly string[];
}

/** What makes two places the same pair: an OCSP file comes and goes without the pair. */
export function keyOf({ certificateFile, keyFile }: CertificatePlace): string {
  return `${certificateFile}\n${keyFile}`;
}

/**
 * The certificates that are configured now, each pair once; those that are named come first, then the directory in
 * order of names. A file of a pair may be missing.
 * @throws NearcastError INTERNAL if the directory can't be read
 */
export async function findCertificates(settings: CertificateSettings): Promise<Found> {
  const named = settings.certificates.map(({ certificateFile, keyFile, ocspFile = null }) => {
    return { certificateFile, keyFile, ocspFile };
  });
  const { certificateDirectory } = settings;
  const scanned = certificateDirectory === undefined ? [] : await scan(certificateDirectory);
  const byKey = new Map<string, CertificatePlace>();
  for (const place of [...named, ...scanned]) if (!byKey.has(keyOf(place))) byKey.set(keyOf(place), place);
  const places = [...byKey.values()];
  if (places.length <= certificatesMax) return { places, problems: [] };
  const problem = `there are ${places.length} certificates; only the first ${certificatesMax} are served`;
  return { places: places.slice(0, certificatesMax), problems: [problem] };
}

/** @throws NearcastError INTERNAL if the directory can't be read */
async function scan(directory: string): Promise<CertificatePlace[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    const reason = codeReason((error as NodeJS.ErrnoException).code ?? String(error));
    throw new NearcastError("INTERNAL", `https.certificateDirectory ${directory} can't be read (${reason})`);
  });
  const names = new Set(entries.map(({ name }) => name));
  const places: CertificatePlace[] = [];
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const { name } = entry;
    if (name.startsWith(".")) continue;
    const path = join(directory, name);
    if (/\.(?:crt|pem)$/.test(name)) {
      const stem = name.slice(0, -4);
      if (name.endsWith(".issuer.crt") && !names.has(`${stem}.key`)) continue;
      const ocspFile = names.has(`${stem}.ocsp`) ? join(directory, `${stem}.ocsp`) : null;
      places.push({ certificateFile: path, keyFile: join(directory, `${stem}.key`), ocspFile });
    } else if (entry.isDirectory() || (entry.isSymbolicLink() && (await isDirectory(path)))) {
      const inside = new Set(await readdir(path).catch(() => []));
      if (!inside.has("fullchain.pem")) continue;
      const ocspFile = inside.has("ocsp.der") ? join(path, "ocsp.der") : null;
      places.push({ certificateFile: join(path, "fullchain.pem"), keyFile: join(path, "privkey.pem"), ocspFile });
    }
  }
  return places;
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

export interface SeenFiles {
  /** Differs after each change of one of the files. */
  readonly mark: string;
  /** How many of the certificate and key files exist, 0 to 2; one that the system does not let us see counts. */
  readonly pairFiles: number;
}

/** Looks at the files of a place without reading them; never throws. */
export async function seeFiles({ certificateFile, keyFile, ocspFile }: CertificatePlace): Promise<SeenFiles> {
  const files = [certificateFile, keyFile, ...(ocspFile === null ? [] : [ocspFile])];
  const marks = await Promise.all(files.map(async (file) => await markOf(file).catch((error: unknown) => error)));
  return {
    mark: marks.map(String).join("\n"),
    pairFiles: marks.slice(0, 2).filter((mark) => mark !== undefined).length,
  };
}

/** Reads and checks one certificate; never throws. */
export async function loadCertificate(place: CertificatePlace): Promise<ReadCertificate> {
  const { certificateFile, keyFile, ocspFile } = place;
  try {
    const chainPem = (await readPublic(certificateFile, "certificate")).toString();
    const keyPem = await readSecretFile(keyFile, keyFileTold);
    if (keyPem === undefined) {
      return { outcome: "unusable", problem: `${certificateFile} has no key: put the key into ${keyFile}` };
    }
    const ocsp =
      ocspFile === null ? null : await readPublic(ocspFile, "OCSP response").catch((error: unknown) => error as Error);
    if (!(ocsp instanceof Error)) return readCertificate(place, { chainPem, keyPem, ocsp });
    const read = readCertificate(place, { chainPem, keyPem, ocsp: null });
    return read.outcome === "usable" ? { ...read, ocspProblem: ocsp.message } : read;
  } catch (error) {
    return { outcome: "unusable", problem: (error as Error).message };
  }
}

async function readPublic(file: string, what: string): Promise<Buffer> {
  try {
    const stats = await stat(file);
    if (!stats.isFile()) throw new NearcastError("INTERNAL", `${file} must be a plain file with the ${what}`);
    if (stats.size > fileBytesMax) {
      throw new NearcastError("INTERNAL", `${file} has ${stats.size} bytes; the ${what} may have ${fileBytesMax}`);
    }
    return await readFile(file);
  } catch (error) {
    if (error instanceof NearcastError) throw error;
    const reason = codeReason((error as NodeJS.ErrnoException).code ?? String(error));
    throw new NearcastError("INTERNAL", `can't read the ${what} in ${file} (${reason})`, { cause: error });
  }
}
