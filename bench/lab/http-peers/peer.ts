/** Other HTTP servers beside nearcast, on an address of the lab: HTTP on port 8080, HTTPS on 8443. */
import { spawnSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { findProgram, type Lab, type Pin, type Program } from "../lab.ts";

export const protocols = ["HTTP/1.1", "TLS 1.3", "HTTP/2"] as const;
/** "HTTP/1.1" is in the clear, "TLS 1.3" is HTTP/1.1 over it, and so is "HTTP/2". */
export type Protocol = (typeof protocols)[number];

export const [clearPort, securePort] = [8080, 8443];

export interface HttpPeer {
  name: string;
  program: Program;
  /** In the clear. */
  url: string;
}

/** The outcome of starting a peer: it runs, or the reason why it does not. */
export type PeerStart = { started: HttpPeer } | { absent: string };

export interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

export interface PeerOptions {
  /** A loopback server to fetch from. */
  readonly origin: { host: string; port: number };
  /** Absent: no HTTPS. */
  readonly certificate?: CertificateFiles | undefined;
  readonly pin?: Pin;
}

/** What a peer's start gets: an address of its own, and a folder. */
export interface Place {
  readonly host: string;
  readonly directory: string;
}

/**
 * @param start writes the configuration; returns the arguments
 */
export async function startPeer(
  lab: Lab,
  name: string,
  program: string,
  pin: Pin,
  start: (place: Place) => Promise<string[]>,
): Promise<PeerStart> {
  const command = findProgram(program);
  if (command === undefined) return { absent: `${name}: not installed, see bench/peers.md` };
  const host = lab.address();
  const directory = join(lab.directory, `${program}-${host}`);
  const url = `http://${host}:${clearPort}`;
  try {
    await mkdir(directory);
    const args = await start({ host, directory });
    const running = await lab.start({ name, command, args, pin }, answers(url));
    return { started: { name, program: running, url } };
  } catch (error) {
    return { absent: `${name}: could not be started: ${(error as Error).message}` };
  }
}

const answers = (url: string) => async (): Promise<boolean> => (await fetch(`${url}/`)).status > 0;

export function secureUrlOf(url: string): string {
  return `https://${new URL(url).hostname}:${securePort}`;
}

/** The version that a program reports, whatever else it prints and whatever its exit status. */
export function versionOf(name: string, args: readonly string[]): string {
  const command = findProgram(name);
  if (command === undefined) return "";
  const { stdout, stderr } = spawnSync(command, args, { timeout: 5000, encoding: "utf8" });
  return /\d+\.\d+[.\w]*/.exec(stdout + stderr)?.[0] ?? "";
}
