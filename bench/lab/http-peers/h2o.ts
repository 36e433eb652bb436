/** H2O as a file server, since it has no cache for what it fetches: one thread, no log. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Lab } from "../lab.ts";
import { type CertificateFiles, clearPort, type PeerStart, securePort, startPeer } from "./peer.ts";

/** @param files by name, without a slash */
export async function startH2o(
  lab: Lab,
  { files, certificate }: { files: ReadonlyMap<string, Buffer>; certificate?: CertificateFiles },
): Promise<PeerStart> {
  return await startPeer(lab, "h2o (files)", "h2o", "server", async ({ host, directory }) => {
    const folder = join(directory, "files");
    await mkdir(folder);
    await Promise.all([...files].map(([name, bytes]) => writeFile(join(folder, name), bytes)));
    const config = {
      "num-threads": 1,
      "max-connections": 4096,
      "http1-request-timeout": 65,
      ...(process.getuid?.() === 0 ? { user: "root" } : {}),
      hosts: {
        default: {
          paths: {
            "/": {
              "file.dir": folder,
              "file.mime.setdefaulttype": "image/webp",
              "header.set": "Cache-Control: public, max-age=86400",
            },
          },
        },
      },
    };
    // Each listener is a key of its own with the same name, which YAML does not allow, but H2O asks for.
    const listeners: object[] = [{ host, port: clearPort }];
    if (certificate !== undefined) {
      const { certificateFile, keyFile } = certificate;
      const ssl = { "certificate-file": certificateFile, "key-file": keyFile, "ocsp-update-interval": 0 };
      listeners.push({ host, port: securePort, ssl });
    }
    const texts = [config, ...listeners.map((listen) => ({ listen }))].map((part) => stringify(part));
    await writeFile(join(directory, "h2o.yaml"), texts.join(""));
    return ["-c", join(directory, "h2o.yaml")];
  });
}
