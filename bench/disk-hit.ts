/**
 * What does a hit on disk cost? Many objects of 16 KB in random order: a hundred times what the memory tier can hold.
 * All of them fit in the kernel's page cache, so this measures the server, not the disk.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { request } from "undici";
import { comparison, type Report } from "./lab/figures.ts";
import { startNginx, versionOf } from "./lab/http-peers.ts";
import type { Lab } from "./lab/lab.ts";
import { startNearcast } from "./lab/nearcast.ts";
import { startObjectOrigin } from "./lab/object-origin.ts";
import { takeTurns } from "./lab/rounds.ts";
import { drive, storeScript } from "./lab/wrk.ts";

const objectsCount = 6000;
const objectBytes = 16_384;
/** The smallest size that the configuration allows: it holds some 60 of the objects, 1 %. */
const memoryBytes = 1024 * 1024;
const filesHost = "files.bench.test";
const connections = 64;

export async function measureDiskHit(lab: Lab): Promise<Report> {
  // Windows of one random block: no cache can compress them, and no two objects are the same.
  const block = randomBytes(objectsCount + objectBytes);
  const origin = await startObjectOrigin(lab, (path) => {
    const index = Number(/^\/object\/(\d{1,6})$/.exec(path)?.[1] ?? Number.NaN);
    if (!(index < objectsCount)) return undefined;
    return { type: "application/octet-stream", body: block.subarray(index, index + objectBytes) };
  });
  const nearcast = await startNearcast(lab, {
    pin: "server",
    edge: () => ({ cache: { memoryBytes, diskBytes: 1024 ** 3 } }),
    hosts: [{ name: filesHost, kind: "assets", origin: `http://${origin.host}:${origin.port}` }],
  });
  const nginx = await startNginx(lab, origin);
  const peers = "started" in nginx ? [nginx.started] : [];
  const servers = [{ name: "nearcast", program: nearcast.edge, url: nearcast.url }, ...peers];

  const path = await storeScript(
    lab,
    "random-objects",
    `local requests = {}
function init()
  math.randomseed(os.time())
  wrk.headers["Host"] = "${filesHost}"
  for index = 0, ${objectsCount - 1} do requests[index] = wrk.format("GET", "/object/" .. index) end
end
function request() return requests[math.random(0, ${objectsCount - 1})] end
`,
  );
  for (const { name, url } of servers) {
    lab.say(`${name}: storing ${objectsCount} objects`);
    await fill(url);
  }
  const diskPart = await partFromDisk(nearcast.url);
  const taken = await takeTurns(
    lab,
    servers.map(({ name, program, url }) => ({
      name,
      measure: (seconds) => drive(lab, program, { url, connections, seconds, bodyBytes: objectBytes, script: path }),
    })),
  );
  for (const { program } of servers) await program.stop();
  await nearcast.stop();
  const title = `Hit on disk, ${objectsCount} objects of 16 KB in random order, page cache warm`;
  return {
    question: "disk-hit",
    tables: [comparison(title, taken, "nginx")],
    notes: [
      `${connections} connections, wrk with one thread; nginx ${versionOf("nginx", ["-v"])} with open_file_cache`,
      `nearcast: a host of the kind \`assets\`, cache.memoryBytes at its minimum (${memoryBytes}); ` +
        `${(diskPart * 100).toFixed(1)} % of a sample were hits on disk, the rest in memory`,
    ],
    absent: "absent" in nginx ? [nginx.absent] : [],
    samples: { [title]: Object.fromEntries(taken) },
  };
}

/** Requests each object once, sixteen at a time. */
async function fill(url: string): Promise<void> {
  let next = 0;
  async function fetchSome(): Promise<void> {
    while (next < objectsCount) {
      const index = next;
      next += 1;
      const { status, length } = await ask(url, index);
      assert.ok(status === 200 && length === objectBytes, `object ${index}: status ${status}, ${length} bytes`);
    }
  }
  await Promise.all(Array.from({ length: 16 }, fetchSome));
}

/** The part of a sample of the objects that our edge answers from disk, by Cache-Status. */
async function partFromDisk(url: string): Promise<number> {
  const sampleCount = 300;
  let fromDisk = 0;
  for (let index = 0; index < sampleCount; index += 1) {
    const { cacheStatus } = await ask(url, (index * 7919) % objectsCount);
    assert.match(cacheStatus, /; hit;/, "an object is not in the cache");
    if (cacheStatus.endsWith("detail=disk")) fromDisk += 1;
  }
  assert.ok(fromDisk / sampleCount > 0.9, `only ${fromDisk} of ${sampleCount} objects come from the disk`);
  return fromDisk / sampleCount;
}

/** Not fetch(), which can't set the Host field. */
async function ask(url: string, index: number): Promise<{ status: number; length: number; cacheStatus: string }> {
  const { statusCode, headers, body } = await request(`${url}/object/${index}`, { headers: { host: filesHost } });
  const { byteLength } = await body.arrayBuffer();
  return { status: statusCode, length: byteLength, cacheStatus: String(headers["cache-status"] ?? "") };
}
