/**
 * No response field of an assets origin makes an edge work for more than a moment: each one, filled to the largest size
 * that an edge reads with the texts that patterns are slow at, costs at most 20 ms of the main thread's CPU.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test, type TestContext } from "node:test";
import { canMeasureProcesses, leastCpuMs } from "../support/cpu.ts";
import { hostileText, shapes } from "../support/hostile-text.ts";
import { needs } from "../support/needs.ts";
import { startWorld, until } from "../support/world.ts";
import { exchange } from "../node/http/raw.ts";

const cpuMsMax = 20;
/** undici reads heads of 16 KiB; the rest is for the other fields. */
const valueLength = 15_800;

/** Field, and what stands before the hostile text so that it is read as far as it can be. */
const fields: readonly (readonly [name: string, opening: string])[] = [
  ["Accept-Ranges", "bytes"],
  ["Age", "1"],
  ["Allow", "GET"],
  ["Alt-Svc", "h3="],
  ["Cache-Control", "max-age="],
  ["Cache-Status", "a; hit"],
  ["Cache-Tag", "a"],
  ["CDN-Cache-Control", 'max-age="'],
  ["Connection", "close"],
  ["Content-Encoding", "gzip"],
  ["Content-Length", "4"],
  ["Content-Range", "bytes 0-3/4"],
  ["Content-Security-Policy", "default-src"],
  ["Content-Type", "text/html"],
  ["Date", "Sat, 29 Oct 1994 19:43:31 GMT"],
  ["ETag", 'W/"a'],
  ["Expires", "Sat, 29 Oct 1994 19:43:31 GMT"],
  ["Keep-Alive", "timeout="],
  ["Last-Modified", "Sat, 29 Oct 1994 19:43:31 GMT"],
  ["Link", "<a>"],
  ["Location", "/"],
  ["Nearcast-Age", "1"],
  ["Retry-After", "1"],
  ["Set-Cookie", "a="],
  ["Surrogate-Key", "a"],
  ["Trailer", "a"],
  ["Transfer-Encoding", "chunked"],
  ["Vary", "accept"],
  ["Via", "1.1 a"],
  ["WWW-Authenticate", "Basic realm="],
];

test("response fields", async (t) => {
  if (!needs(t, canMeasureProcesses(), "/proc/PID/task/TID/schedstat is not there")) return;
  const origin = await startRawOrigin(t);
  const world = await startWorld(t, ["fra"], {
    hosts: [{ name: "static.cdn.test", kind: "assets", origin: origin.url, freshSeconds: 0 }],
    edge: { decoders: { processes: 1 }, assets: { privateNetworks: ["127.0.0.0/8"] } },
  });
  const edge = world.edge("fra");
  const { pid } = edge.program();
  let urls = 0;
  const at = { address: edge.address, port: Number(new URL(edge.url).port) };
  const isServed = async (): Promise<boolean> => {
    origin.answer("");
    urls += 1;
    return /^HTTP\/1\.1 200 [^]*\r\n\r\nbody$/.test(await get());
  };
  // After answers that are no HTTP an origin is left alone for a moment, in which nothing would be measured.
  const untilServed = async (): Promise<void> => await until("a good answer is served", isServed, edge.program());
  const get = (): Promise<string> =>
    exchange(at, `GET /${urls} HTTP/1.1\r\nHost: static.cdn.test\r\nConnection: close\r\n\r\n`);
  const ask = async (): Promise<void> => {
    urls += 1;
    // The first brings the answer, the second revalidates what was stored of it.
    await get();
    await get();
  };
  origin.answer("");
  for (let round = 0; round < 20; round += 1) await ask();

  await t.test(`${fields.length} fields in ${shapes.length} shapes cost 20 ms at most for each answer`, async () => {
    for (const [name, opening] of fields) {
      for (const shape of shapes) {
        await untilServed();
        origin.answer(`${name}: ${hostileText(opening, shape, valueLength)}\r\n`);
        const asked = origin.asked();
        const cpuMs = await leastCpuMs(pid, 2 * cpuMsMax, ask);
        const row = `${name}: ${opening}${JSON.stringify(shape)} again and again`;
        assert.ok(cpuMs <= 2 * cpuMsMax, `${row} cost ${cpuMs.toFixed(1)} ms for two answers`);
        assert.ok(origin.asked() > asked, row);
      }
    }
  });

  await t.test("and the edge serves as before", async () => {
    await untilServed();
    assert.equal(edge.program().pid, pid);
  });
});

interface RawOrigin {
  url: string;
  /** Sets the field lines of the answers from now on. */
  answer: (lines: string) => void;
  /** How often it has been asked. */
  asked: () => number;
}

/** An origin that says what it is told, whatever a server of Node's own would refuse to send. */
async function startRawOrigin(t: TestContext): Promise<RawOrigin> {
  let lines = "";
  let asked = 0;
  const server = createServer((socket) => {
    socket.on("error", () => undefined); // the edge hangs up on what is no HTTP
    socket.on("data", () => {
      asked += 1;
      socket.end(
        `HTTP/1.1 200 OK\r\n${lines}ETag: "a"\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody`,
        "latin1",
      );
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    answer(next) {
      lines = next;
    },
    asked: () => asked,
  };
}
