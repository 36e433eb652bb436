/**
 * An address on which connections neither come about nor are refused: a process listens with the smallest backlog and
 * stands still, and the backlog is full. The kernel drops what knocks from then on, as a router does with a dead host.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { TestContext } from "node:test";

const listening = `
  const server = require("node:net").createServer();
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(server.address().port));
`;
const fillersMax = 50;
/** A connection over loopback comes about within a millisecond, or never. */
const lateMs = 500;

export async function startHangingListener(t: TestContext): Promise<{ url: string }> {
  const child = spawn(process.execPath, ["-e", listening], { stdio: ["ignore", "pipe", "inherit"] });
  const fillers: Socket[] = [];
  t.after(() => {
    for (const socket of fillers) socket.destroy();
    child.kill("SIGKILL");
  });
  const [chunk] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(chunk.toString());
  child.kill("SIGSTOP");
  for (let count = 0; count < fillersMax; count += 1) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    fillers.push(socket);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    socket.once("connect", () => {
      resolve(false);
    });
    const timer = setTimeout(() => {
      resolve(true);
    }, lateMs);
    const isFull = await promise;
    clearTimeout(timer);
    if (isFull) return { url: `http://127.0.0.1:${port}` };
  }
  throw new Error(`${fillersMax} connections came about with a backlog of 1`);
}
