/** A real BIRD with any configuration, for as long as a test. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { temporaryDirectory } from "../../support/temporary.ts";
import { until } from "../../support/world.ts";

export interface RunningBird {
  /** Its control socket. */
  socket: string;
  /** Where its sessions listen, on all addresses. */
  port: number;
  log: () => string;
}

/** @param settings makes bird.conf for a port that is free */
export async function runBird(t: TestContext, settings: (port: number) => string): Promise<RunningBird> {
  const directory = await temporaryDirectory(t);
  const [config, socket] = [join(directory, "bird.conf"), join(directory, "ctl")];
  const port = await freePort();
  await writeFile(config, settings(port));
  let log = "";
  const child = spawn("bird", ["-f", "-c", config, "-s", socket, "-P", join(directory, "pid")], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  });
  await until("BIRD has its control socket", async () => await Promise.resolve(existsSync(socket))).catch(
    (error: unknown) => {
      throw new Error(log, { cause: error });
    },
  );
  return { socket, port, log: () => log };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
