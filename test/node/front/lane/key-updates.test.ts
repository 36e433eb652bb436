/**
 * Clients that send KeyUpdate messages (RFC 8446 §4.6.3) to a lane: some are answered as ever, a flood of them ends the
 * connection. `node:tls` can't send any, so OpenSSL is called as a client here.
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { loadKoffi } from "../../../../node/base/koffi.ts";
import { writeSocketAddress } from "../../../../node/base/socket-address.ts";
import { certificateFor, testAuthority } from "../../../support/certificates.ts";
import { lanesWithReady } from "../../../support/shared-lanes.ts";
import { startEdge } from "../../../conformance/http/running-edge.ts";
import { startObservingOrigin } from "../../../conformance/messages/observing-origin.ts";
import { request as requestOf } from "../../../conformance/messages/smuggling-case.ts";
import { openLine } from "../../http/raw.ts";
import { served } from "../../tls/secured.ts";

const request = Buffer.from(requestOf("GET /hit HTTP/1.1"));

interface Client {
  /** Sends a KeyUpdate. False: the connection is closed. */
  readonly update: () => boolean;
  /** Sends a request. @returns the first bytes of what comes, "" for a closed connection */
  readonly ask: () => string;
}

/** A blocking client: the lane is another thread, and answers what it can without the main thread. */
function connectTls(t: TestContext, { address, port }: { address: string; port: number }): Client {
  const program = loadKoffi()?.load(null);
  assert.ok(program !== undefined);
  const [socket, connect, closeSocket, newContext, freeContext, open, free, setDescriptor, handshake, update] = [
    program.func("int socket(int, int, int)"),
    program.func("int connect(int, void*, int)"),
    program.func("int close(int)"),
    program.func("int64_t SSL_CTX_new(int64_t)"),
    program.func("void SSL_CTX_free(int64_t)"),
    program.func("int64_t SSL_new(int64_t)"),
    program.func("void SSL_free(int64_t)"),
    program.func("int SSL_set_fd(int64_t, int)"),
    program.func("int SSL_do_handshake(int64_t)"),
    program.func("int SSL_key_update(int64_t, int)"),
  ];
  const [method, begin, read, write] = [
    program.func("int64_t TLS_client_method()"),
    program.func("int SSL_connect(int64_t)"),
    program.func("int SSL_read(int64_t, void*, int)"),
    program.func("int SSL_write(int64_t, void*, int)"),
  ];
  const descriptor = socket(2, 1, 0) as number;
  const place = new Uint8Array(28);
  assert.equal(connect(descriptor, place, writeSocketAddress(place, { host: address, port })), 0);
  const context = newContext(method()) as number;
  const ssl = open(context) as number;
  t.after(() => {
    free(ssl);
    freeContext(context);
    closeSocket(descriptor);
  });
  setDescriptor(ssl, descriptor);
  assert.equal(begin(ssl), 1);
  return {
    update: () => update(ssl, 0) === 1 && handshake(ssl) === 1,
    ask() {
      const bytes = Buffer.alloc(4096);
      if ((write(ssl, request, request.length) as number) <= 0) return "";
      const received = read(ssl, bytes, bytes.length) as number;
      return bytes.toString("latin1", 0, Math.max(0, received));
    },
  };
}

test("a client may send some KeyUpdates; a flood of them ends its connection, and nobody waits for it", async (t) => {
  const certificates = [served(await certificateFor(["localhost"]))];
  const lanes = await lanesWithReady(t, { certificates });
  if (lanes === undefined) return;
  const host = { origin: (await startObservingOrigin(t)).url, hedging: false };
  const edge = await startEdge(t, { host, certificates, lanes });
  const at = edge.secured().fronted;
  const line = await openLine(at, { servername: "localhost", ca: testAuthority.certificatePem });
  for (let time = 1; time <= 4; time += 1) {
    line.send(request);
    await line.until((received) => received.split("\r\n\r\n/hit").length > time);
  }
  line.socket.destroy();
  assert.ok(lanes.lanes.counts().answered > 0, "from now on, the lane answers by itself");
  // Right behind the handshake, some are read ahead.
  for (let time = 0; time < 10; time += 1) {
    const hasty = connectTls(t, at);
    for (let count = 0; count < 3; count += 1) assert.ok(hasty.update());
    assert.match(hasty.ask(), /^HTTP\/1\.1 200 OK\r\n/);
  }
  const calm = connectTls(t, at);
  for (let time = 0; time < 10; time += 1) {
    for (let count = 0; count < 3; count += 1) assert.ok(calm.update());
    assert.match(calm.ask(), /^HTTP\/1\.1 200 OK\r\n/);
  }
  const flood = connectTls(t, at);
  let sent = 0;
  while (sent < 200_000 && flood.update()) sent += 1;
  assert.ok(sent < 200_000, "the connection is closed");
  assert.match(calm.ask(), /^HTTP\/1\.1 200 OK\r\n/);
  assert.equal(lanes.lanes.restarts(), 0);
});
