/**
 * Notifies systemd from a service of type `notify` (sd_notify(3)): sends datagrams of `NAME=value` lines to the AF_UNIX
 * socket that the environment names.
 *
 *   READY=1      the service is ready; `systemctl start` returns, units ordered after it start
 *   STATUS=…     one line for people, in `systemctl status`
 *   STOPPING=1   the service is stopping, not hung
 *   WATCHDOG=1   at half of the interval that the unit sets; without it, systemd kills the service
 *
 * Node has no datagram sockets of this family, so koffi makes the calls. koffi is optional: without it, a service of
 * type `notify` could never become ready, and the log says so. Nothing waits for systemd: if its queue is full, the
 * notification is sent again a little later, each kind once with its latest text. Only the watchdog is not repeated:
 * its next notification serves as well.
 */
import { endianness } from "node:os";
import { getSystemErrorName } from "node:util";
import type { Cancel, Clock } from "./clock.ts";
import { koffiMissing, loadKoffi } from "./koffi.ts";
import type { Log } from "./log.ts";

/** Variables that systemd sets in the environment. Only main.ts reads the environment. */
export interface NotifyEnvironment {
  /** NOTIFY_SOCKET: a path, or `@name` in the abstract namespace of Linux. */
  socket?: string | undefined;
  /** WATCHDOG_USEC, in µs. */
  watchdogMicroseconds?: string | undefined;
  /** WATCHDOG_PID: the process that the watchdog is for; absent: any process that reads it. */
  watchdogPid?: string | undefined;
}

export interface Notifier {
  /** @param status one line for people, here and below */
  ready: (status: string) => void;
  status: (status: string) => void;
  stopping: () => void;
  /** Ends the timers. */
  close: () => void;
}

export const silentNotifier: Notifier = {
  ready: () => undefined,
  status: () => undefined,
  stopping: () => undefined,
  close: () => undefined,
};

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2_000_000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sun_path in `struct sockaddr_un`. */
const pathBytesMax = 108;
/** People don't need longer lines. The kernel would accept about 200 KB. */
const statusLengthMax = 200;
const watchdogMinMs = 100;
const retryMs = 200;

/**
 * @param isWell called before each WATCHDOG=1, which is not sent while it returns false
 */
export function openNotifier(
  environment: NotifyEnvironment,
  deps: { pid: number; isWell: () => boolean; clock: Clock; log: Log },
): Notifier {
  const { clock, log } = deps;
  const { socket } = environment;
  if (socket === undefined || socket === "") return silentNotifier;
  const send = openSender(socket);
  if (typeof send === "string") {
    log.warn({ reason: send, socket }, "can't notify systemd; give the unit a Type= other than notify");
    return silentNotifier;
  }
  let hasFailed = false;
  /** Whether the datagram needs no retry: false only if systemd's queue is full. Any other failure would recur. */
  function isTaken(lines: string): boolean {
    const failure = typeof send === "string" ? undefined : send(lines);
    if (failure === "EAGAIN") return false;
    if (failure !== undefined && !hasFailed) {
      hasFailed = true;
      log.warn({ reason: failure, socket }, "systemd did not accept a notification");
    }
    return true;
  }

  /** Lines that systemd has not accepted yet, by name. */
  const unsaid = new Map<string, string>();
  let cancelRetry: Cancel | undefined;
  function say(lines: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(lines)) unsaid.set(name, value);
    sayAll();
  }
  function sayAll(): void {
    cancelRetry?.();
    const lines = [...unsaid].map(([name, value]) => `${name}=${value}\n`).join("");
    if (isTaken(lines)) unsaid.clear();
    else cancelRetry = clock.after(retryMs, sayAll);
  }

  const watchdogMs = watchdogIntervalMs(environment, deps.pid);
  const stopWatchdog =
    watchdogMs === undefined
      ? undefined
      : clock.every(watchdogMs, () => {
          if (deps.isWell()) isTaken("WATCHDOG=1\n");
        });
  return {
    ready(status) {
      say({ READY: "1", STATUS: oneLine(status) });
    },
    status(status) {
      say({ STATUS: oneLine(status) });
    },
    stopping() {
      say({ STOPPING: "1", STATUS: "stopping" });
    },
    close() {
      stopWatchdog?.();
      cancelRetry?.();
    },
  };
}

/** Half of the interval that the unit sets, so that a late notification is still in time. */
function watchdogIntervalMs(environment: NotifyEnvironment, pid: number): number | undefined {
  const { watchdogMicroseconds = "", watchdogPid } = environment;
  if (watchdogPid !== undefined && watchdogPid !== String(pid)) return undefined;
  if (!/^[1-9]\d{0,14}$/.test(watchdogMicroseconds)) return undefined;
  return Math.max(watchdogMinMs, Math.floor(Number(watchdogMicroseconds) / 2000));
}

function oneLine(status: string): string {
  return status.replaceAll(/\s+/g, " ").slice(0, statusLengthMax);
}

/**
 * A function that sends a datagram to `path` and returns the name of the error, if any; or the reason why there is
 * none.
 */
function openSender(path: string): ((text: string) => string | undefined) | string {
  if (process.platform !== "linux") return `not on ${process.platform}, only on Linux`;
  const address = socketAddress(path);
  if (address === undefined) return "NOTIFY_SOCKET is neither an absolute path nor @name, or it is too long";
  const koffi = loadKoffi();
  if (koffi === undefined) return koffiMissing;
  const libc = koffi.load(null);
  const openSocket = libc.func("int socket(int, int, int)") as (...numbers: number[]) => number;
  // The pointers are used only during the call, and koffi keeps their targets alive for that time.
  const sendTo = libc.func("int64_t sendto(int, const uint8_t *, size_t, int, const uint8_t *, uint)") as (
    descriptor: number,
    bytes: Uint8Array,
    lengthBytes: number,
    flags: number,
    address: Uint8Array,
    addressLengthBytes: number,
  ) => number | bigint;
  const descriptor = openSocket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return `socket: ${getSystemErrorName(-koffi.errno())}`;
  return (text) => {
    const bytes = Buffer.from(text, "utf8");
    const sent = sendTo(descriptor, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length);
    return Number(sent) === bytes.length ? undefined : getSystemErrorName(-koffi.errno());
  };
}

/** `struct sockaddr_un` (unix(7)): an abstract name begins with a zero octet and is delimited only by its length. */
function socketAddress(path: string): Uint8Array | undefined {
  const isAbstract = path.startsWith("@");
  if (!isAbstract && !path.startsWith("/")) return undefined;
  const name = Buffer.from(isAbstract ? `\0${path.slice(1)}` : `${path}\0`, "utf8");
  if (name.length > pathBytesMax || name.length < 2) return undefined;
  const family = endianness() === "LE" ? [AF_UNIX, 0] : [0, AF_UNIX];
  return Buffer.concat([Buffer.from(family), name]);
}
