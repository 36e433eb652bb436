/** A thread with clients that send a head, then the same piece without end, and read what arrives. */
import { connect } from "node:net";
import { workerData } from "node:worker_threads";

const { port, connections, opening, piece } = workerData as {
  port: number;
  connections: number;
  opening: string;
  piece: string;
};
const block = Buffer.from(piece.repeat(Math.ceil(60_000 / piece.length)));

function open(): void {
  const socket = connect(port, "127.0.0.1");
  const flood = (): void => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on("error", () => undefined).on("data", () => undefined);
  socket.on("drain", flood);
  socket.write(opening);
  flood();
}

for (let count = 0; count < connections; count += 1) open();
