/** Answers each chunk with its own name, on the wildcard of both families: `node daisy-server.ts NAME`. */
import { createServer } from "node:net";

const [name = "", port = "80"] = process.argv.slice(2);
for (const host of ["0.0.0.0", "::"]) {
  createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", () => socket.write(`${name}\n`));
  }).listen({ host, port: Number(port), ipv6Only: host === "::" }, () => console.log(`${name} listens ${host}`));
}
