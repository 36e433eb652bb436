import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "#base/clock.ts";
import { openAssetFetcher } from "../../../../node/fetch/asset.ts";
import { createStatusLine, wrongVersion } from "../../../../node/fetch/upstream/status-line.ts";

const ending = "Content-Length: 4\r\n\r\nbody";
const rows: [what: string, response: string, wrong: string | undefined][] = [
  ["HTTP/1.1", `HTTP/1.1 200 OK\r\n${ending}`, undefined],
  ["HTTP/1.0", `HTTP/1.0 200 OK\r\n${ending}`, undefined],
  ["HTTP/2.0", `HTTP/2.0 200 OK\r\n${ending}`, "HTTP/2.0"],
  ["HTTP/0.9", `HTTP/0.9 200 OK\r\n${ending}`, "HTTP/0.9"],
  ["no reason", `HTTP/1.1 200\r\n${ending}`, undefined],
  ["an empty line first", `\r\nHTTP/2.0 200 OK\r\n${ending}`, "HTTP/2.0"],
  ["after an interim response", `HTTP/1.1 103 Early\r\nLink: <a>\r\n\r\nHTTP/2.0 200 OK\r\n${ending}`, "HTTP/2.0"],
  ["an interim response", `HTTP/2.0 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n${ending}`, "HTTP/2.0"],
  ["after one without fields", `HTTP/1.1 103\r\n\r\nHTTP/2.0 200 OK\r\n${ending}`, "HTTP/2.0"],
  ["in the body", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n\r\nHTTP/2.0 200 OK\r\n\r\n", undefined],
];

for (const [what, response, wrong] of rows) {
  test(`the version, in pieces of any size: ${what}`, () => {
    for (let size = 1; size <= response.length; size += 1) {
      const state = createStatusLine();
      let found: string | undefined;
      for (let at = 0; at < response.length && found === undefined; at += size)
        found = wrongVersion(state, Buffer.from(response.slice(at, at + size)));
      assert.equal(found, wrong, `in pieces of ${size}`);
    }
  });
}

/** An origin that sends this, in one piece or byte by byte. */
async function startOrigin(t: TestContext, response: string, isInBytes: boolean): Promise<string> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => {
      if (!isInBytes) socket.end(response);
      else
        void (async () => {
          for (const letter of response) {
            socket.write(letter);
            await pause(2);
          }
          socket.end();
        })();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

for (const [what, response, wrong] of rows) {
  for (const isInBytes of [false, true]) {
    test(`from an origin${isInBytes ? ", byte by byte" : ""}: ${what}`, async (t) => {
      const origin = await startOrigin(t, response, isInBytes);
      const options = { node: "fra1", privateNetworks: ["127.0.0.0/8"], clock: systemClock, random: () => 0 };
      const fetcher = openAssetFetcher(options);
      t.after(async () => await fetcher.close());
      const order = { origin, method: "GET", target: "/", clientFields: {}, extra: {}, timeoutMs: 5000 } as const;
      const asking = fetcher.fetch({ ...order, client: "192.0.2.0/24" });
      if (wrong === undefined) {
        assert.match(await (await asking).body.text(), /^body$|HTTP\/2\.0/);
        return;
      }
      await assert.rejects(asking, { code: "ORIGIN_BAD_ANSWER", message: new RegExp(`answered with ${wrong}, not`) });
    });
  }
}
