/**
 * Holds TCP connections open to the addresses of its command line; at each line of standard input it asks once on every
 * one and prints who answered: `node daisy-client.ts 198.51.100.80 2001:db8:a::80`.
 */
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

const connectionsEach = 5;
const answerMs = 5000;

async function open(host: string): Promise<Socket> {
  const socket = connect({ host, port: 80 });
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  socket.on("error", () => undefined);
  return socket;
}

async function ask(socket: Socket): Promise<string> {
  return await new Promise((resolve) => {
    const timer = setTimeout(() => resolve("silence"), answerMs);
    const end = (answer: string): void => {
      clearTimeout(timer);
      resolve(answer);
    };
    if (socket.destroyed) return end("closed");
    socket.once("data", (chunk: Buffer) => end(chunk.toString().trim()));
    socket.once("close", () => end("reset"));
    socket.write("?\n");
    return undefined;
  });
}

const hosts = process.argv.slice(2).flatMap((host) => Array.from({ length: connectionsEach }, () => host));
const sockets = await Promise.all(hosts.map(open));
console.log("client is connected");
for await (const line of createInterface({ input: process.stdin })) {
  const answers = await Promise.all(sockets.map(ask));
  const counts = Object.entries(Object.groupBy(answers, (answer) => answer)).map(
    ([who, all]) => `${all?.length ?? 0} ${who}`,
  );
  console.log(`${line}: ${counts.toSorted().join(", ")}`);
}
for (const socket of sockets) socket.destroy();
