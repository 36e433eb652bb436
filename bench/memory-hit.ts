/**
 * What does a hit in memory cost? WebP pictures of 1 KB and 16 KB over persistent HTTP/1.1 connections, as many
 * requests as one core answers; nearcast, nginx and Varnish with the same bytes under the same URL.
 */
import assert from "node:assert/strict";
import { comparison, type Report, type Sample, type Table } from "./lab/figures.ts";
import { startNginx } from "./lab/http-peers/nginx.ts";
import { versionOf } from "./lab/http-peers/peer.ts";
import { startVarnish } from "./lab/http-peers/varnish.ts";
import type { Lab } from "./lab/lab.ts";
import { fronts, startNearcast } from "./lab/nearcast.ts";
import { startObjectOrigin } from "./lab/object-origin.ts";
import { photograph } from "./lab/photograph.ts";
import { takeTurns } from "./lab/rounds.ts";
import { drive } from "./lab/wrk.ts";

/** Enough to keep a server busy, and few enough that it answers a full queue within some milliseconds. */
const connections = 64;
const sizes = [
  { label: "1 KB", bytes: 1024 },
  { label: "16 KB", bytes: 16_384 },
] as const;

export async function measureMemoryHit(lab: Lab): Promise<Report> {
  const edges = await Promise.all(
    fronts.map(async ({ name, lanes }) => {
      return { name, nearcast: await startNearcast(lab, { pin: "server", edge: () => ({ front: { lanes } }) }) };
    }),
  );
  const picture = await photograph(1600, 1200);
  for (const { nearcast } of edges) await nearcast.put("photograph.jpg", picture);
  const { nearcast } = edges[0] as (typeof edges)[0];
  const objects = new Map<string, { type: string; body: Buffer }>();
  for (const { label, bytes } of sizes) {
    const { path, body } = await variantOfSize(nearcast.url, bytes);
    objects.set(path, { type: "image/webp", body });
    lab.say(`${label}: ${path}, ${body.length} bytes`);
  }

  const origin = await startObjectOrigin(lab, (path) => objects.get(path));
  const starts = [await startNginx(lab, { origin }), await startVarnish(lab, { origin })];
  const peers = starts.flatMap((start) => ("started" in start ? [start.started] : []));
  const servers = [...edges.map(({ name, nearcast: { edge, url } }) => ({ name, program: edge, url })), ...peers];

  const tables: Table[] = [];
  const samples: Record<string, Record<string, Sample[]>> = {};
  for (const [index, [path, { body }]] of [...objects].entries()) {
    for (const { name, url } of servers) await checkBody(name, url + path, body);
    const taken = await takeTurns(
      lab,
      servers.map(({ name, program, url }) => ({
        name,
        measure: (seconds) => drive(lab, program, { url: url + path, connections, seconds, bodyBytes: body.length }),
      })),
    );
    const title = `Hit in memory, WebP of ${sizes[index]?.label} (${body.length} bytes)`;
    tables.push(comparison(title, taken, "nginx"));
    samples[title] = Object.fromEntries(taken);
  }
  for (const { program } of servers) await program.stop();
  for (const one of edges) await one.nearcast.stop();
  return {
    question: "memory-hit",
    tables,
    notes: [
      `${connections} connections, wrk with one thread; nginx ${versionOf("nginx", ["-v"])}, ` +
        `varnish ${versionOf("varnishd", ["-V"])}`,
      "nginx keeps its cache in files, read through the page cache; Varnish and nearcast keep it in memory",
    ],
    absent: starts.flatMap((start) => ("absent" in start ? [start.absent] : [])),
    samples,
  };
}

/** Finds the width at which the variant has about `bytes` bytes. */
async function variantOfSize(url: string, bytes: number): Promise<{ path: string; body: Buffer }> {
  let [low, high] = [8, 1600];
  let best: { path: string; body: Buffer } | undefined;
  while (low <= high) {
    const width = Math.floor((low + high) / 2);
    const path = `/photograph.jpg?w=${width}&fm=webp`;
    const answer = await fetch(url + path);
    assert.equal(answer.status, 200, `${path}: status ${answer.status}`);
    const body = Buffer.from(await answer.arrayBuffer());
    if (best === undefined || Math.abs(body.length - bytes) < Math.abs(best.body.length - bytes)) best = { path, body };
    if (body.length < bytes) low = width + 1;
    else high = width - 1;
  }
  assert.ok(
    best !== undefined && Math.abs(best.body.length - bytes) < bytes / 10,
    `no variant has some ${bytes} bytes`,
  );
  return best;
}

async function checkBody(server: string, url: string, expected: Buffer): Promise<void> {
  for (const request of ["first", "second"]) {
    const answer = await fetch(url);
    const body = Buffer.from(await answer.arrayBuffer());
    assert.ok(answer.ok && body.equals(expected), `${server}: the ${request} answer to ${url} is not the picture`);
  }
}
