/**
 * Requests for a host that the connection's certificate does not name (RFC 9110 §15.5.20, RFC 9113 §9.1.1): hosts of
 * the fleet are served, and only a host that is not of the fleet is misdirected.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { test, type TestContext } from "node:test";
import { connect as connectTls } from "node:tls";
import type { Listener } from "../../../node/http/listener.ts";
import { readAnswers } from "../../node/http/raw.ts";
import { served } from "../../node/tls/secured.ts";
import { certificateFor, testAuthority } from "../../support/certificates.ts";
import { hostName, otherHostName, startEdge } from "./running-edge.ts";

const certificates = [served(await certificateFor([hostName])), served(await certificateFor([otherHostName]))];
const names = [hostName, otherHostName, "unknown.test"];
/** The origin is the same for both. */
const expected = ["200 aaa", "200 aaa", "421"];

type Ask = (t: TestContext, listener: Listener) => Promise<string[]>;
const to = { host: "127.0.0.1", servername: hostName, ca: testAuthority.certificatePem };
const shown = (status: number, body: string): string => (status === 200 ? `200 ${body}` : String(status));

const overHttp1: Ask = async (t, { port }) => {
  const socket = connectTls({ ...to, port });
  t.after(() => socket.destroy());
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  const last = names.length - 1;
  for (const [index, name] of names.entries()) {
    socket.write(`GET /a HTTP/1.1\r\nHost: ${name}\r\n${index === last ? "Connection: close\r\n" : ""}\r\n`);
  }
  await once(socket, "close");
  const answers = readAnswers(Buffer.concat(chunks).toString("latin1"));
  return answers.map(({ status, body }) => shown(status, body.toString()));
};

const overHttp2: Ask = async (t, { port }) => {
  const session = connectHttp2(`https://${hostName}`, {
    createConnection: () => connectTls({ ...to, port, ALPNProtocols: ["h2"] }),
  });
  t.after(() => session.destroy());
  return await Promise.all(
    names.map(async (name) => {
      const stream = session.request({ ":authority": name, ":path": "/a" }).setEncoding("utf8");
      const [fields] = (await once(stream, "response")) as [{ ":status"?: number }];
      return shown(fields[":status"] ?? 0, (await stream.toArray()).join(""));
    }),
  );
};

for (const [name, ask] of [
  ["HTTP/1.1", overHttp1],
  ["HTTP/2", overHttp2],
] as const) {
  test(`a connection serves all hosts of the fleet, whatever its certificate names: ${name}`, async (t) => {
    const edge = await startEdge(t, { certificates });
    edge.origin.say("/a", { fields: [["Cache-Control", "max-age=600"]], body: "aaa" });
    // From the origin, and then from the cache.
    for (let round = 0; round < 2; round += 1) assert.deepEqual(await ask(t, edge.secured().fronted), expected);
  });
}
