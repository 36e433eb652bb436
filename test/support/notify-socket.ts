/**
 * systemd's end of sd_notify: an AF_UNIX datagram socket, which Node has none of, by koffi. It is read without
 * waiting, now and then.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import koffi from "koffi";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2_000_000;
const MSG_DONTWAIT = 0x40;

const libc = koffi.load(null);
const openSocket = libc.func("int socket(int, int, int)") as (family: number, type: number, protocol: number) => number;
const bind = libc.func("int bind(int, const uint8_t *, uint)") as (
  fd: number,
  at: Uint8Array,
  length: number,
) => number;
const receive = libc.func("int64_t recv(int, _Out_ uint8_t *, size_t, int)") as (
  fd: number,
  into: Uint8Array,
  room: number,
  flags: number,
) => number | bigint;
const close = libc.func("int close(int)") as (fd: number) => number;

export interface NotifySocket {
  /** What NOTIFY_SOCKET is to be. */
  name: string;
  /** All that has come so far, a datagram each. */
  heard: () => string[];
  /** Waits for a datagram that has this line. */
  until: (line: string) => Promise<void>;
}

/** @param kind a socket in the file system, or in Linux' abstract namespace */
export async function notifySocket(t: TestContext, kind: "path" | "abstract" = "path"): Promise<NotifySocket> {
  const directory = await mkdtemp(join(tmpdir(), "nearcast-notify-"));
  const path = join(directory, "socket");
  const sun = Buffer.from(kind === "path" ? `\u0001\0${path}\0` : `\u0001\0\0${path}`, "latin1");
  const fd = openSocket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, sun, sun.length) !== 0) throw new Error(`no notify socket: errno ${koffi.errno()}`);
  t.after(async () => {
    close(fd);
    await rm(directory, { recursive: true, force: true });
  });
  const all: string[] = [];
  const room = Buffer.alloc(65_536);
  const heard = (): string[] => {
    for (;;) {
      const length = Number(receive(fd, room, room.length, MSG_DONTWAIT));
      if (length < 0) return all;
      all.push(room.toString("utf8", 0, length));
    }
  };
  return {
    name: kind === "path" ? path : `@${path}`,
    heard,
    async until(line) {
      const deadlineMs = performance.now() + 30_000;
      while (!heard().some((datagram) => datagram.split("\n").includes(line))) {
        if (performance.now() > deadlineMs) throw new Error(`not heard: ${line}; but ${JSON.stringify(all)}`);
        await pause(20);
      }
    },
  };
}
