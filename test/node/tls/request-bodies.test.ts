/** Requests with bodies over TLS: each gets its response, and what it sends is neither kept nor read to its end. */
import assert from "node:assert/strict";
import type { TLSSocket } from "node:tls";
import { setTimeout as sleep } from "node:timers/promises";
import { certificateFor } from "../../support/certificates.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { get } from "../front/fronted.ts";
import { exchangeSecure, openSecure, served, startSecured, testBoth } from "./secured.ts";

const name = "a.example";
const certificates = [served(await certificateFor([name]))];
const largeBytes = 20 * 1024 * 1024;
/** What a client may send before it has to wait: buffers of the system at both ends, and the edge's. */
const takenBytesMax = 12 * 1024 * 1024;
const piece = Buffer.alloc(64 * 1024, "x");

const head = (field: string): string => `POST /a HTTP/1.1\r\nHost: x\r\n${field}\r\n\r\n`;
const chunk = (bytes: Buffer | string): string => `${bytes.length.toString(16)}\r\n${bytes.toString()}\r\n`;

/** Writes as fast as the connection takes it, until it closes. */
function pour(socket: TLSSocket, bytes: Buffer | string, times: number): void {
  const more = (): void => {
    while (times > 0 && !socket.destroyed) {
      times -= 1;
      if (!socket.write(bytes)) {
        socket.once("drain", more);
        return;
      }
    }
  };
  more();
}

testBoth("a body of any size and framing does not keep its client from the response", async (t, through) => {
  const { listener } = await startSecured(t, certificates, { through });
  const bodies: [claim: string, first: string, piece: Buffer | string, times: number][] = [
    ["one byte", head("Content-Length: 1"), "x", 1],
    ["64 KB", head(`Content-Length: ${piece.length}`), piece, 1],
    ["20 MB", head(`Content-Length: ${largeBytes}`), piece, largeBytes / piece.length],
    ["one chunk", head("Transfer-Encoding: chunked"), `${chunk("x")}0\r\n\r\n`, 1],
    ["20 MB of chunks", head("Transfer-Encoding: chunked"), chunk(piece), largeBytes / piece.length],
    ["chunks of one byte", head("Transfer-Encoding: chunked"), chunk("x").repeat(1000), 20],
  ];
  for (const [claim, first, bytes, times] of bodies) {
    const socket = await openSecure(t, listener, { servername: name });
    let answer = "";
    socket.on("data", (got: Buffer) => (answer += got.toString("latin1")));
    socket.write(first);
    pour(socket, bytes, times);
    // Whoever still writes then may see a broken pipe.
    await turnsUntil(() => socket.closed, 5);
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n(?:2\r\n)?\/a/, claim);
    assert.ok(socket.bytesWritten - socket.writableLength < takenBytesMax + piece.length, `${claim} was taken`);
  }
});

testBoth("clients that stop in the middle of their body leave nothing behind, and delay nobody", async (t, through) => {
  const open = new Set<object>();
  const { listener } = await startSecured(t, certificates, {
    through,
    application(asked, response) {
      open.add(asked.socket);
      asked.socket.once("close", () => open.delete(asked.socket));
      response.end("ok");
    },
  });
  const clients = await Promise.all(
    Array.from({ length: 20 }, async () => await openSecure(t, listener, { servername: name })),
  );
  for (const [at, client] of clients.entries()) {
    client.on("data", () => undefined);
    client.write(head(at % 2 === 0 ? `Content-Length: ${largeBytes}` : "Transfer-Encoding: chunked"));
    client.write(at % 2 === 0 ? "x" : chunk("x"));
  }
  await sleep(50);
  const other = await openSecure(t, listener, { servername: name });
  assert.match(await exchangeSecure(other, get("/hit", "Connection: close")), /^HTTP\/1\.1 200/);
  for (const [at, client] of clients.entries()) if (at % 4 < 2) client.destroy();
  // The others get their response, and the end of the connection.
  await turnsUntil(() => clients.every(({ closed }) => closed) && open.size === 0, 10);
});
