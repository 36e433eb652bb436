/**
 * What does a hit on disk cost? Many objects of 16 KB, and then of 64 KB, in random order: a hundred times what the
 * memory tier can hold. All of them fit in the kernel's page cache, so this measures the server, not the disk.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { request } from "undici";
import { comparison, type Report, type Table } from "./lab/figures.ts";
import { startNginx } from "./lab/http-peers/nginx.ts";
import { versionOf } from "./lab/http-peers/peer.ts";
import type { Lab } from "./lab/lab.ts";
import { filesHost, fronts, startNearcast } from "./lab/nearcast.ts";
import { startObjectOrigin } from "./lab/object-origin.ts";
import { takeTurns } from "./lab/rounds.ts";
import { drive, storeScript } from "./lab/wrk.ts";

const objectsCount = 6000;
const sizes = [
  { label: "16 KB", bytes: 16_384 },
  { label: "64 KB", bytes: 65_536 },
] as const;
/** The smallest size that the configuration allows: it holds 1 % of the objects of 16 KB. */
const memoryBytes = 1024 * 1024;
/** All objects of both sizes. */
const diskBytes = 2 * 1024 ** 3;
const connections = 64;
/**
 * Each object is requested this often before the measurement, as in production: nearcast keeps what it has decided
 * about an object from the second or third request on.
 */
const times = 4;

export async function measureDiskHit(lab: Lab): Promise<Report> {
  // Windows of one random block: no cache can compress them, and no two objects are the same.
  const block = randomBytes(objectsCount + sizes[1].bytes);
  const origin = await startObjectOrigin(lab, (path) => {
    const [, bytes = "", number = ""] = /^\/object\/(\d{1,6})\/(\d{1,6})$/.exec(path) ?? [];
    const index = Number(number);
    const isObject = sizes.some((size) => String(size.bytes) === bytes) && number !== "" && index < objectsCount;
    if (!isObject) return undefined;
    return { type: "application/octet-stream", body: block.subarray(index, index + Number(bytes)) };
  });
  const edges = await Promise.all(
    fronts.map(async ({ name, lanes }) => ({
      name,
      nearcast: await startNearcast(lab, {
        pin: "server",
        edge: () => ({ cache: { memoryBytes, diskBytes }, front: { lanes } }),
        hosts: [{ name: filesHost, kind: "assets", origin: `http://${origin.host}:${origin.port}` }],
      }),
    })),
  );
  const { nearcast } = edges[0] as (typeof edges)[0];
  // With tcp_nopush, nginx needs more CPU time for 64 KB: its files begin with a head, so bodies are not on pages.
  const nginx = await startNginx(lab, { origin });
  const peers = "started" in nginx ? [nginx.started] : [];
  const servers = [...edges.map(({ name, nearcast: { edge, url } }) => ({ name, program: edge, url })), ...peers];

  const tables: Table[] = [];
  const samples: Record<string, unknown> = {};
  const diskParts: string[] = [];
  for (const { label, bytes } of sizes) {
    for (const { name, url } of servers) {
      lab.say(`${name}: storing ${objectsCount} objects of ${label}`);
      for (let time = 0; time < times; time += 1) await requestAll(url, bytes);
    }
    diskParts.push(`${((await partFromDisk(nearcast.url, bytes)) * 100).toFixed(1)} %`);
    const script = await randomObjectsScript(lab, bytes);
    const taken = await takeTurns(
      lab,
      servers.map(({ name, program, url }) => ({
        name,
        measure: (seconds) => drive(lab, program, { url, connections, seconds, bodyBytes: bytes, script }),
      })),
    );
    const title = `Hit on disk, ${objectsCount} objects of ${label} in random order, page cache warm`;
    tables.push(comparison(title, taken, "nginx"));
    samples[title] = Object.fromEntries(taken);
  }
  for (const { program } of servers) await program.stop();
  for (const one of edges) await one.nearcast.stop();
  return {
    question: "disk-hit",
    tables,
    notes: [
      `${connections} connections, wrk with one thread; nginx ${versionOf("nginx", ["-v"])} with open_file_cache, ` +
        "without tcp_nopush",
      `nearcast: a host of the kind \`assets\`, cache.memoryBytes at its minimum (${memoryBytes}); ` +
        `${diskParts.join(" and ")} of a sample were hits on disk, the rest in memory`,
    ],
    absent: "absent" in nginx ? [nginx.absent] : [],
    samples,
  };
}

function randomObjectsScript(lab: Lab, bytes: number): Promise<string> {
  return storeScript(
    lab,
    `random-objects-${bytes}`,
    `local requests = {}
function init()
  math.randomseed(os.time())
  wrk.headers["Host"] = "${filesHost}"
  for index = 0, ${objectsCount - 1} do requests[index] = wrk.format("GET", "/object/${bytes}/" .. index) end
end
function request() return requests[math.random(0, ${objectsCount - 1})] end
`,
  );
}

/** Requests each object once, sixteen at a time. */
async function requestAll(url: string, bytes: number): Promise<void> {
  let next = 0;
  async function fetchSome(): Promise<void> {
    while (next < objectsCount) {
      const index = next;
      next += 1;
      const { status, length } = await ask(url, bytes, index);
      assert.ok(status === 200 && length === bytes, `object ${index}: status ${status}, ${length} bytes`);
    }
  }
  await Promise.all(Array.from({ length: 16 }, fetchSome));
}

/** The part of a sample of the objects that our edge answers from disk, by Cache-Status. */
async function partFromDisk(url: string, bytes: number): Promise<number> {
  const sampleCount = 300;
  let fromDisk = 0;
  for (let index = 0; index < sampleCount; index += 1) {
    const { cacheStatus } = await ask(url, bytes, (index * 7919) % objectsCount);
    assert.match(cacheStatus, /; hit;/, "an object is not in the cache");
    if (cacheStatus.endsWith("detail=disk")) fromDisk += 1;
  }
  assert.ok(fromDisk / sampleCount > 0.9, `only ${fromDisk} of ${sampleCount} objects come from the disk`);
  return fromDisk / sampleCount;
}

/** Not fetch(), which can't set the Host field. */
async function ask(
  url: string,
  bytes: number,
  index: number,
): Promise<{ status: number; length: number; cacheStatus: string }> {
  const path = `/object/${bytes}/${index}`;
  const { statusCode, headers, body } = await request(url + path, { headers: { host: filesHost } });
  const { byteLength } = await body.arrayBuffer();
  return { status: statusCode, length: byteLength, cacheStatus: String(headers["cache-status"] ?? "") };
}
