/**
 * The pool's end of one decoder process: starting it, writing jobs to it, reading what it answers, ending it.
 *
 * Everything it writes is hostile: sizes are bounded, headers checked, and the first thing that does not fit ends it.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { frameHead, readFrames } from "./frame.ts";
import { headerBytesMax, readReply, type Job, type Reply } from "./messages.ts";
import { decoderEnvironment } from "./sandbox.ts";

export interface DecoderProcess {
  readonly pid: number | undefined;
  /** Hands a job over. A child that is gone takes nothing and has no error here: `onEnd` tells. */
  give: (job: Job, source: Buffer) => void;
  /** Resident memory in bytes, or undefined where the system does not tell. */
  residentBytes: () => number | undefined;
  /** Lets it end by itself, as the end of its input does. */
  retire: () => void;
  kill: () => void;
}

export interface DecoderListener {
  onReply: (reply: Reply, body: Buffer) => void;
  /** It wrote what no decoder of ours writes, and has been killed. */
  onViolation: (what: string) => void;
  /** It is gone and all that it wrote was read. @param how for the log */
  onEnd: (how: string) => void;
}

export interface DecoderSettings {
  /** Largest rendering that is read back. */
  readonly bodyBytesMax: number;
  /** "off" leaves the system-call filter out. */
  readonly sandbox: "auto" | "off";
  /** Bound of writable memory that the child sets for itself, where it can. */
  readonly memoryBytesMax: number;
  /** Default: decoder-launch.ts. */
  readonly decoderFile?: URL;
}

/** A decoder says something on standard error only when it dies; the last lines say why. */
const stderrCharactersMax = 2000;

export function startDecoder(settings: DecoderSettings, listener: DecoderListener): DecoderProcess {
  const main = fileURLToPath(settings.decoderFile ?? new URL("./decoder-launch.ts", import.meta.url));
  const child = spawn(
    process.execPath,
    // Pictures live outside of V8's heap; what the script itself needs is a few megabytes.
    [
      "--max-old-space-size=64",
      "--disable-warning=ExperimentalWarning",
      main,
      settings.sandbox,
      String(settings.memoryBytesMax),
    ],
    {
      cwd: "/",
      env: decoderEnvironment,
      stdio: ["pipe", "pipe", "pipe"],
    },
  );

  let stderr = "";
  child.stderr.setEncoding("latin1").on("data", (text: string) => {
    stderr = (stderr + text).slice(-stderrCharactersMax);
  });

  let isTrusted = true;
  const distrust = (what: string): void => {
    if (!isTrusted) return;
    isTrusted = false;
    child.kill("SIGKILL");
    listener.onViolation(what);
  };
  const read = readFrames({ headerBytesMax, bodyBytesMax: settings.bodyBytesMax }, ({ header, body }) => {
    const reply = readReply(header);
    if (reply === undefined) distrust("a header that fits no reply");
    else if (isTrusted) listener.onReply(reply, body);
  });
  child.stdout.on("data", (chunk: Buffer) => {
    if (!isTrusted) return;
    try {
      read(chunk);
    } catch (error) {
      distrust(error instanceof Error ? error.message : String(error));
    }
  });
  // Writing to a child that just died. Its end is reported by `close`.
  child.stdin.on("error", () => undefined);

  const memory = child.pid === undefined ? undefined : openMemoryGauge(child.pid);
  let hasEnded = false;
  const end = (how: string): void => {
    if (hasEnded) return;
    hasEnded = true;
    memory?.close();
    listener.onEnd(stderr === "" ? how : `${how}: ${stderr}`);
  };
  child.on("error", (error) => {
    if (child.pid === undefined) end(`it could not be started: ${error.message}`);
  });
  child.on("close", (code, signal) => {
    end(signal === null ? `exit code ${code}` : `signal ${signal}`);
  });

  return {
    pid: child.pid,
    give(job, source) {
      child.stdin.write(frameHead(job, source.length));
      child.stdin.write(source);
    },
    residentBytes: () => memory?.residentBytes(),
    retire() {
      child.stdin.end();
    },
    kill() {
      child.kill("SIGKILL");
    },
  };
}

/** More than /proc/PID/status ever has. */
const statusBytesMax = 8192;

interface MemoryGauge {
  /** Undefined once the process is gone. */
  residentBytes: () => number | undefined;
  close: () => void;
}

/**
 * Opened before the process locks itself in: where /proc hides what may not be traced (hidepid, systemd's ProtectProc),
 * its folder is gone from then on, while a file that is open can be read on.
 */
function openMemoryGauge(pid: number): MemoryGauge | undefined {
  let file: number;
  try {
    file = openSync(`/proc/${pid}/status`, "r");
  } catch {
    return undefined; // not Linux, or hidden already
  }
  const room = Buffer.alloc(statusBytesMax);
  let isOpen = true;
  return {
    residentBytes() {
      if (!isOpen) return undefined;
      try {
        return residentBytesIn(room.toString("latin1", 0, readSync(file, room, 0, room.length, 0)));
      } catch {
        return undefined; // ESRCH: it is gone
      }
    },
    close() {
      if (isOpen) closeSync(file);
      isOpen = false;
    },
  };
}

/** Resident memory of this process; undefined where the system does not tell. */
export function ownResidentBytes(): number | undefined {
  try {
    return residentBytesIn(readFileSync("/proc/self/status", "latin1"));
  } catch {
    return undefined;
  }
}

/** VmRSS of a status text (proc(5)). */
function residentBytesIn(status: string): number | undefined {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
}
