/**
 * The state of BIRD's BGP sessions and of BFD, parsed from the output of `show protocols all` and `show bfd sessions`.
 * Pure. That output is for people and may change between BIRD releases, so anything not understood is undefined.
 */
import type { BirdControl, BirdLine } from "./bird-control.ts";

export interface BirdSession {
  /** The protocol's name: `edge0`, `router1`. */
  readonly name: string;
  readonly neighbor: string | undefined;
  readonly neighborAs: number | undefined;
  readonly localAs: number | undefined;
  /** `Established`, `Active`, `Passive`, `Down` … */
  readonly state: string | undefined;
  /** Why it is not up, as BIRD reports it. */
  readonly lastError: string | undefined;
  /** As negotiated by both sides. */
  readonly holdSeconds: number | undefined;
  /** Whether we offer graceful restart to the other side. */
  readonly hasGracefulRestart: boolean;
  readonly importedCount: number;
  readonly exportedCount: number;
}

export interface BfdSession {
  readonly address: string;
  readonly isUp: boolean;
  readonly intervalMs: number;
  /** Silence for this long means a lost link; 0 while the session is down. */
  readonly timeoutMs: number;
}

export interface BirdState {
  /** `2.0.12` */
  readonly version: string | undefined;
  readonly routerId: string | undefined;
  readonly sessions: readonly BirdSession[];
  readonly bfd: readonly BfdSession[];
}

/** Queries BIRD and parses its answers. @throws Error as BirdControl.ask() */
export async function readBirdState(control: BirdControl): Promise<BirdState> {
  const status = await control.ask("show status");
  const protocols = await control.ask("show protocols all");
  // Without a BFD protocol, BIRD answers this command with an error.
  const bfd = await control.ask("show bfd sessions").catch(() => undefined);
  const routerId = status.lines
    .map(({ text }) => /^Router ID is (\S+)$/.exec(text)?.[1])
    .find((id) => id !== undefined);
  return {
    version: /^BIRD (\S+)/.exec(control.greeting)?.[1],
    routerId,
    sessions: sessionsOf(protocols.lines),
    bfd: bfdSessionsOf(bfd?.lines ?? []),
  };
}

const protocolLine = 1002;

/** The BGP sessions in the output of `show protocols all`. */
export function sessionsOf(lines: readonly BirdLine[]): BirdSession[] {
  const blocks: string[][] = [];
  for (const { code, text } of lines) {
    if (code === protocolLine && /^\S/.test(text)) blocks.push([text]);
    else blocks.at(-1)?.push(text);
  }
  return blocks.flatMap(([head = "", ...rest]) => {
    const [name = "", kind] = head.split(/\s+/);
    return kind === "BGP" ? [sessionOf(name, rest)] : [];
  });
}

function sessionOf(name: string, lines: readonly string[]): BirdSession {
  const valueOf = (label: string): string | undefined => {
    const line = lines.map((one) => one.trim()).find((one) => one.startsWith(`${label}:`));
    return line?.slice(label.length + 1).trim();
  };
  const numberOf = (text: string | undefined): number | undefined =>
    text !== undefined && /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : undefined;
  const sumOf = (word: string): number =>
    lines.reduce((sum, line) => {
      const count = line.trimStart().startsWith("Routes:")
        ? new RegExp(`(\\d{1,15}) ${word}`).exec(line)?.[1]
        : undefined;
      return sum + Number(count ?? 0);
    }, 0);
  return {
    name,
    neighbor: valueOf("Neighbor address"),
    neighborAs: numberOf(valueOf("Neighbor AS")),
    localAs: numberOf(valueOf("Local AS")),
    state: valueOf("BGP state"),
    lastError: valueOf("Last error"),
    holdSeconds: numberOf(valueOf("Hold timer")?.split("/")[1]),
    hasGracefulRestart: sectionOf(lines, "Local capabilities").some((line) => /^\s*Graceful restart\b/.test(line)),
    importedCount: sumOf("imported"),
    exportedCount: sumOf("exported"),
  };
}

/** The lines below a heading that are indented more than the heading. */
function sectionOf(lines: readonly string[], heading: string): string[] {
  const indentOf = (line: string): number => line.length - line.trimStart().length;
  const start = lines.findIndex((line) => line.trim() === heading);
  if (start === -1) return [];
  const own = indentOf(lines[start] ?? "");
  const below = lines.slice(start + 1);
  const end = below.findIndex((line) => indentOf(line) <= own);
  return end === -1 ? below : below.slice(0, end);
}

/** Parses the output of `show bfd sessions`: address, interface, state, since, interval and timeout in seconds. */
export function bfdSessionsOf(lines: readonly BirdLine[]): BfdSession[] {
  return lines.flatMap(({ text }) => {
    // Split at spaces instead of one pattern: any number of words may stand between `since` and the times.
    const words = text.trim().split(/\s+/);
    const [address = "", , state = ""] = words;
    const [interval = "", timeout = ""] = words.slice(-2);
    if (words.length < 6 || !isSeconds(interval) || !isSeconds(timeout)) return [];
    return [
      {
        address,
        isUp: state === "Up",
        intervalMs: Math.round(Number(interval) * 1000),
        timeoutMs: Math.round(Number(timeout) * 1000),
      },
    ];
  });
}

function isSeconds(text: string): boolean {
  return /^\d+\.\d+$/.test(text);
}
