/** Where `nearcast up` keeps its certificates. local-certificates.ts makes them; loading it takes a while. */
import { resolve } from "node:path";

/** How often a running `up` looks whether it must renew. */
export const renewalCheckMs = 6 * 3_600_000;

export interface CertificateFolder {
  /** Of the authority, to be imported. */
  readonly authorityFile: string;
  /** The edges' `https.certificateDirectory`. */
  readonly edgeDirectory: string;
}

export function certificateFolderOf(dataDir: string): CertificateFolder {
  return { authorityFile: resolve(dataDir, "tls", "authority.crt"), edgeDirectory: resolve(dataDir, "tls", "edge") };
}
