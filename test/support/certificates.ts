/** Certificates for tests, signed by an authority that lives as long as the test process. */
import { randomUUID } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { issueCertificate, type KeyKind, makeAuthority, type Pair } from "../../deploy/cli/certificate-maker.ts";
import type { CertificatePlace } from "../../node/tls/certificate.ts";

const dayMs = 86_400_000;

export const testAuthority: Pair = await makeAuthority({
  commonName: "nearcast tests",
  validFromMs: Date.now() - 1000 * dayMs,
  validToMs: Date.now() + 1000 * dayMs,
});

export async function certificateFor(
  names: readonly string[],
  options: { key?: KeyKind; validFromMs?: number; validToMs?: number } = {},
): Promise<Pair> {
  const { key = "ecdsa", validFromMs = Date.now() - dayMs, validToMs = Date.now() + 30 * dayMs } = options;
  return await issueCertificate(
    { commonName: names[0] ?? "nobody", names, validFromMs, validToMs, key },
    testAuthority,
  );
}

/** Writes a pair as NAME.crt and NAME.key. */
export async function writePair(stem: string, { certificatePem, keyPem }: Pair): Promise<CertificatePlace> {
  await mkdir(dirname(stem), { recursive: true });
  await replaceFile(`${stem}.crt`, certificatePem);
  await replaceFile(`${stem}.key`, keyPem, 0o600);
  return { certificateFile: `${stem}.crt`, keyFile: `${stem}.key`, ocspFile: null };
}

/** As careful tools write: beside, and then in its place. */
export async function replaceFile(file: string, content: string | Buffer, mode = 0o644): Promise<void> {
  const beside = `${file}.${randomUUID()}.new`;
  await writeFile(beside, content, { mode });
  await rename(beside, file);
}
