/** A TCP connection that sends few bytes at once: records of TLS and frames of HTTP/2 arrive in parts. */
import { connect } from "node:net";
import { Duplex } from "node:stream";

/** @param segmentBytes sent in one turn of the event loop, at most */
export function openChopped(at: { address: string; port: number }, segmentBytes: number): Duplex {
  const socket = connect({ host: at.address, port: at.port, noDelay: true });
  const duplex = new Duplex({
    read() {
      socket.resume();
    },
    write(chunk: Buffer, _encoding, done) {
      const send = (start: number): void => {
        if (socket.destroyed || start >= chunk.length) {
          done();
          return;
        }
        socket.write(chunk.subarray(start, start + segmentBytes));
        setImmediate(send, start + segmentBytes);
      };
      send(0);
    },
    final(done) {
      socket.end(() => {
        done();
      });
    },
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  socket.on("data", (chunk: Buffer) => {
    if (!duplex.push(chunk)) socket.pause();
  });
  socket.on("end", () => duplex.push(null));
  socket.on("error", () => undefined); // followed by "close"
  socket.on("close", () => duplex.destroy());
  return duplex;
}
