/** Run as a worker: an HTTP server that answers with `opening`, and then with `piece` again and again without end. */
import { createServer } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

const { opening, piece } = workerData as { opening: string; piece: string };
const pieces = Buffer.from(piece.repeat(Math.ceil(65_536 / piece.length)), "latin1");

const server = createServer((socket) => {
  socket.on("error", () => undefined);
  const flood = (): void => {
    while (socket.write(pieces));
  };
  socket.on("drain", flood);
  socket.once("data", () => {
    socket.write(opening, "latin1");
    flood();
  });
});
server.listen(0, "127.0.0.1", () => parentPort?.postMessage(server.address()));
