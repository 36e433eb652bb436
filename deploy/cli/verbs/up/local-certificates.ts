/**
 * The certificates of `nearcast up`: an authority of the folder's own, made once and kept, and a certificate for the
 * local host names, which is renewed.
 *
 *   DIR/tls/authority.crt   import this one: curl --cacert, browsers      ten years
 *   DIR/tls/authority.key   mode 0600: whoever has it can pose as any host to those who imported the authority
 *   DIR/tls/edge/local.crt, local.key                                     30 days, renewed when 10 are left
 *
 * The edges read DIR/tls/edge and take a renewed certificate by themselves. If the authority's files are deleted, the
 * next start makes new ones.
 */
import type { Clock } from "#base/clock.ts";
import { writeAtomic } from "#base/atomic-file.ts";
import { X509Certificate } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import { certificateFolderOf } from "./certificate-folder.ts";
import { issueCertificate, makeAuthority, type Pair } from "../../certificate-maker.ts";

const dayMs = 86_400_000;
const authorityDays = 3650;
const leafDays = 30;
const renewedDays = 10;
/** Clocks of browsers in virtual machines may be behind. */
const earlierMs = dayMs;

/**
 * Makes what is missing, and renews what expires soon. Returns whether a certificate was made.
 * @param names DNS names and addresses of the certificate
 * @throws CommandFailure if only one of the authority's files is there, or it has expired
 */
export async function provideCertificates(dataDir: string, names: readonly string[], clock: Clock): Promise<boolean> {
  const nowMs = clock.wallMs();
  const { edgeDirectory } = certificateFolderOf(dataDir);
  await mkdir(edgeDirectory, { recursive: true });
  const authority = await provideAuthority(dataDir, nowMs);
  const stem = join(edgeDirectory, "local");
  if (await isGood(stem, names, authority, nowMs)) return false;
  const leaf = await issueCertificate(
    { commonName: "nearcast trial", names, validFromMs: nowMs - earlierMs, validToMs: nowMs + leafDays * dayMs },
    authority,
  );
  await writePair(stem, leaf);
  return true;
}

async function provideAuthority(dataDir: string, nowMs: number): Promise<Pair> {
  const stem = join(dataDir, "tls", "authority");
  const [certificatePem, keyPem] = [await readIfAny(`${stem}.crt`), await readIfAny(`${stem}.key`)];
  if (certificatePem === undefined && keyPem === undefined) {
    const made = await makeAuthority({
      commonName: `nearcast trial authority, made on ${new Date(nowMs).toISOString().slice(0, 10)}`,
      validFromMs: nowMs - earlierMs,
      validToMs: nowMs + authorityDays * dayMs,
    });
    await writePair(stem, made);
    return made;
  }
  const problem = certificatePem === undefined || keyPem === undefined ? "one of them is missing" : undefined;
  if (certificatePem !== undefined && keyPem !== undefined) {
    if (new X509Certificate(certificatePem).validToDate.getTime() > nowMs + leafDays * dayMs) {
      return { certificatePem, keyPem };
    }
  }
  throw new CommandFailure(exitCodes.failed, `the authority in ${stem}.crt and ${stem}.key can't be used`, {
    lines: [
      problem ?? "it expires soon, or has expired",
      "Delete both files: the next start makes a new authority, which you import in place of the old one.",
    ],
  });
}

/** Whether the certificate has all these names, is of this authority, and lasts long enough. */
async function isGood(stem: string, names: readonly string[], authority: Pair, nowMs: number): Promise<boolean> {
  const [pem, key] = [await readIfAny(`${stem}.crt`), await readIfAny(`${stem}.key`)];
  if (pem === undefined || key === undefined) return false;
  try {
    const certificate = new X509Certificate(pem);
    const { subjectAltName = "" } = certificate;
    const entries = subjectAltName.split(", ").map((entry) => entry.slice(entry.indexOf(":") + 1));
    return (
      certificate.validToDate.getTime() > nowMs + renewedDays * dayMs &&
      certificate.verify(new X509Certificate(authority.certificatePem).publicKey) &&
      names.every((name) => entries.includes(name))
    );
  } catch {
    return false; // a file that was cut off, for example
  }
}

/** The key first: edges take a pair only when it matches. */
async function writePair(stem: string, { certificatePem, keyPem }: Pair): Promise<void> {
  await writeAtomic(`${stem}.key`, keyPem, { mode: 0o600 });
  await writeAtomic(`${stem}.crt`, certificatePem);
}

async function readIfAny(file: string): Promise<string | undefined> {
  return await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}
