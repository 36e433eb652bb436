/**
 * What do requests for many objects of mixed sizes cost? First a set that fits in memory, and then one of ten times the
 * memory, on disk. Popular objects are requested more often, as on the Web: the n-th in the order of popularity is
 * `objects · u³` for a random u.
 *
 * nginx has both sets in files, and the page cache holds them. So does nearcast what is not in its memory.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { request } from "undici";
import { comparison, type Report, type Table } from "./lab/figures.ts";
import { type HttpServer, type HttpServers, startHttpServers } from "./lab/http-servers.ts";
import type { Lab } from "./lab/lab.ts";
import { filesHost } from "./lab/nearcast.ts";
import { startObjectOrigin } from "./lab/object-origin.ts";
import { takeTurns } from "./lab/rounds.ts";
import { drive, storeScript } from "./lab/wrk.ts";

/** Of 20 objects, this many have this size: the mean is 20.9 KB. */
const sizes = [
  ...(Array(8).fill(1024) as number[]),
  ...(Array(5).fill(4096) as number[]),
  ...(Array(4).fill(16_384) as number[]),
  ...(Array(2).fill(65_536) as number[]),
  180_000,
];
const sets = [
  { label: "that fits in memory", objects: 400, memoryBytes: 64 * 1024 ** 2 },
  { label: "of ten times the memory", objects: 6000, memoryBytes: 12 * 1024 ** 2 },
] as const;
const connections = 64;

export async function measureHttpMixed(lab: Lab): Promise<Report> {
  const block = randomBytes(sets[1].objects + Math.max(...sizes));
  const origin = await startObjectOrigin(lab, (path) => {
    const index = Number(/^\/mixed\/(\d{1,6})$/.exec(path)?.[1] ?? NaN);
    if (!(index < sets[1].objects)) return undefined;
    return { type: "image/webp", body: block.subarray(index, index + sizeOf(index)) };
  });
  const tables: Table[] = [];
  const samples: Record<string, unknown> = {};
  let started: HttpServers | undefined;
  for (const { label, objects, memoryBytes } of sets) {
    started = await startHttpServers(lab, { origin, cache: { memoryBytes, diskBytes: 1024 ** 3 } });
    for (const server of started.servers) {
      lab.say(`${server.name}: storing ${objects} objects`);
      await fill(server, objects);
    }
    const script = await mixedScript(lab, objects);
    const taken = await takeTurns(
      lab,
      started.servers.map(({ name, program, clearUrl: url }) => ({
        name,
        measure: (seconds) => drive(lab, program, { url, connections, seconds, bodyBytes: sizes[0] ?? 0, script }),
      })),
    );
    const title = `${objects} objects of 1 to 176 KB, a set ${label}`;
    tables.push(comparison(title, taken, "nginx"));
    samples[title] = Object.fromEntries(taken);
    await started.stop();
  }
  return {
    question: "http-mixed",
    tables,
    notes: [
      `HTTP/1.1, ${connections} connections, wrk with one thread; the mean object has ${mean(sizes)} bytes`,
      "the cubed random number asks for the most popular tenth of the objects in 46 % of all requests",
      ...(started?.notes ?? []),
    ],
    absent: started?.absent ?? [],
    samples,
  };
}

function sizeOf(index: number): number {
  return sizes[index % sizes.length] ?? 0;
}

function mean(values: readonly number[]): number {
  return Math.round(values.reduce((sum, value) => sum + value, 0) / values.length);
}

function mixedScript(lab: Lab, objects: number): Promise<string> {
  return storeScript(
    lab,
    `mixed-${objects}`,
    `local requests = {}
function init()
  math.randomseed(os.time())
  wrk.headers["Host"] = "${filesHost}"
  for index = 0, ${objects - 1} do requests[index] = wrk.format("GET", "/mixed/" .. index) end
end
function request() return requests[math.floor(${objects} * math.random() ^ 3)] end
`,
  );
}

/** Requests each object once, sixteen at a time. */
async function fill({ name, clearUrl }: HttpServer, objects: number): Promise<void> {
  let next = 0;
  async function fetchSome(): Promise<void> {
    while (next < objects) {
      const index = next;
      next += 1;
      const { statusCode, body } = await request(`${clearUrl}/mixed/${index}`, { headers: { host: filesHost } });
      const { byteLength } = await body.arrayBuffer();
      assert.ok(statusCode === 200 && byteLength === sizeOf(index), `${name}: ${statusCode}, ${byteLength} bytes`);
    }
  }
  await Promise.all(Array.from({ length: 16 }, fetchSome));
}
