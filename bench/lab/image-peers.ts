/** Other image servers, if they are installed: none of them is a Debian package. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { findProgram, type Lab, type Program } from "./lab.ts";

type Format = "jpg" | "webp" | "avif";

export interface ImagePeer {
  name: string;
  program: Program;
  /** A URL of the same picture that nobody requested before. */
  urlOf: (format: Format, index: number) => string;
}

/** Starts those that are installed, unpinned, with the picture in a folder that they can read. */
export async function startImagePeers(
  lab: Lab,
  source: string,
  bytes: Buffer,
): Promise<{ started: ImagePeer[]; absent: string[] }> {
  const folder = join(lab.directory, "pictures");
  await mkdir(folder);
  await writeFile(join(folder, source), bytes);
  const peers = {
    imgproxy: (address: string) => ({
      args: [],
      env: {
        IMGPROXY_BIND: `${address}:8080`,
        IMGPROXY_LOCAL_FILESYSTEM_ROOT: folder,
        IMGPROXY_MAX_SRC_RESOLUTION: "50",
        IMGPROXY_WORKERS: "2",
      },
      urlOf: (format: Format, index: number) =>
        `http://${address}:8080/unsafe/rs:fit:800:0/q:75/cb:${index}/plain/local:///${source}@${format}`,
    }),
    imagor: (address: string) => ({
      args: ["-imagor-unsafe", "-bind", `${address}:8080`, "-file-loader-base-dir", folder],
      env: {},
      urlOf: (format: Format, index: number) => {
        const type = format === "jpg" ? "jpeg" : format;
        return `http://${address}:8080/unsafe/800x0/filters:quality(75):format(${type})/${source}?${index}`;
      },
    }),
  };
  const started: ImagePeer[] = [];
  const absent: string[] = [];
  for (const [name, settingsFor] of Object.entries(peers)) {
    const command = findProgram(name);
    if (command === undefined) {
      absent.push(`${name}: not installed, see bench/peers.md`);
      continue;
    }
    try {
      const { args, env, urlOf } = settingsFor(lab.address());
      const isReady = async (): Promise<boolean> => {
        const answer = await fetch(urlOf("jpg", 0));
        return (await sharp(Buffer.from(await answer.arrayBuffer())).metadata()).width === 800;
      };
      started.push({ name, urlOf, program: await lab.start({ name, command, args, env, pin: "none" }, isReady) });
    } catch (error) {
      absent.push(`${name}: could not be started: ${(error as Error).message}`);
    }
  }
  return { started, absent };
}
