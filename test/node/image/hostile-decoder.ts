/**
 * A decoder that a picture took over: it does what its first job's pixelsMax says, as a number of the list below. The
 * pool must survive all of it. Not sandboxed; run by pool tests in place of decoder-launch.ts.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { frameHead, readFrames } from "../../../node/image/frame.ts";
import { headerBytesMax, readJob } from "../../../node/image/messages.ts";

const { stdin, stdout } = process;
const say = (header: unknown, body = Buffer.alloc(0)): void => {
  stdout.write(frameHead(header, body.length));
  stdout.write(body);
};

const acts: ((id: number) => unknown)[] = [
  () => process.kill(process.pid, "SIGSEGV"),
  (id) => say({ outcome: "facts", id: id + 1, type: "png", width: 1, height: 1, frames: 1, hasAlpha: false }),
  (id) => say({ outcome: "picture", id, type: "png", width: 1, height: 1 }, Buffer.from("<script>alert(1)</script>")),
  (id) => say({ outcome: "facts", id, type: "png", width: 1, height: 1, frames: 1, hasAlpha: false }, Buffer.from("x")),
  (id) => say({ outcome: "facts", id, type: "../../etc", width: 1, height: 1, frames: 1, hasAlpha: false }),
  () => say({ outcome: "ready", sandbox: "seccomp", reason: "" }),
  () => stdout.write("Segmentation fault\n"),
  () => stdout.write(Buffer.from([0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff])),
  () => stdout.write(Buffer.concat([Buffer.from([0, 0, 0, 4, 0, 0, 0, 0]), Buffer.from("null")])),
];

const read = readFrames({ headerBytesMax, bodyBytesMax: 1_000_000 }, ({ header }) => {
  const { id, pixelsMax } = readJob(header);
  say({ outcome: "taken", id });
  // "taken" must have been read before a signal ends this process.
  void sleep(20).then(() => acts[pixelsMax - 1]?.(id));
});
stdin.on("data", read);
say({ outcome: "ready", sandbox: "none", reason: "a test" });
