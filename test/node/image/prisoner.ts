/**
 * Enters the decoders' sandbox as a decoder does, then tries to get out. Writes what came of it to standard output, as
 * JSON: name of the attempt → "done", or the error's code.
 */
import { spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { readFileSync, readdirSync, unlinkSync, writeFileSync, writeSync } from "node:fs";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { decoderEnvironment, enterSandbox, forbidIoUring } from "../../../node/image/sandbox.ts";

async function attempt(action: () => unknown): Promise<string> {
  try {
    await action();
    return "done";
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
}

/** Resolves with the first event, or throws the emitter's error. */
function settled(emitter: NodeJS.EventEmitter, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    emitter.once(event, () => resolve());
    emitter.once("error", reject);
  });
}

const [node = "", script = "", stage] = process.argv;
if (stage !== "inside") {
  if (process.execve !== undefined && (await forbidIoUring())) {
    process.execve(node, [node, fileURLToPath(import.meta.url), "inside"], decoderEnvironment);
  }
  writeSync(1, JSON.stringify({ sandbox: "none", reason: "io_uring can't be forbidden" }));
} else {
  const report = await enterSandbox(100_000_000);
  const attempts =
    report.sandbox === "none"
      ? {}
      : {
          "read a file": await attempt(() => readFileSync(script)),
          "list a folder": await attempt(() => readdirSync("/")),
          "write a file": await attempt(() => writeFileSync("/tmp/prisoner", "")),
          "remove a file": await attempt(() => unlinkSync(script)),
          "connect by TCP": await attempt(() => settled(connect(9, "127.0.0.1"), "connect")),
          "listen on TCP": await attempt(() => settled(createServer().listen(0, "127.0.0.1"), "listening")),
          "listen on a path": await attempt(() => settled(createServer().listen("/tmp/prisoner.sock"), "listening")),
          "send by UDP": await attempt(() => {
            const socket = createSocket("udp4");
            socket.send("x", 9, "127.0.0.1");
            return settled(socket, "listening");
          }),
          "run a program": await attempt(() => settled(spawn("/bin/true", { stdio: "inherit" }), "spawn")),
          "run a program and wait": await attempt(() => {
            const { error } = spawnSync("/bin/true", { stdio: "inherit" });
            if (error !== undefined) throw error;
          }),
          "become a program": await attempt(() => process.execve?.("/bin/true", ["true"], {})),
          "signal the parent": await attempt(() => process.kill(process.ppid, "SIGCONT")),
          compute: await attempt(() => Buffer.alloc(50_000_000, 1).reduce((sum, byte) => sum + byte, 0)),
        };
  writeSync(1, JSON.stringify({ ...report, attempts }));
}
