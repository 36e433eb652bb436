/**
 * Do hits stay fast while pictures are rendered? Hits in memory at a steady, moderate rate, first alone, then while the
 * edge's two decoders always have a cold picture to render. No core is reserved for the edge: it, its decoders and the
 * driver share the machine's cores, as they do in production.
 */
import assert from "node:assert/strict";
import { median, digits, type Report, type Sample } from "./lab/figures.ts";
import type { Lab } from "./lab/lab.ts";
import { startNearcast } from "./lab/nearcast.ts";
import { photograph } from "./lab/photograph.ts";
import { takeTurns } from "./lab/rounds.ts";
import { drive, storeScript } from "./lab/wrk.ts";
import { renderBeside } from "./lab/rendering.ts";

const connections = 32;
/** Each connection pauses for a random time up to this between two requests: some 3,000 requests a second in all. */
const pauseMsMax = 20;

export async function measureHitWhileRendering(lab: Lab): Promise<Report> {
  const nearcast = await startNearcast(lab, { pin: "none" });
  await nearcast.put("small.jpg", await photograph(800, 600));
  const hit = "/small.jpg?w=160&fm=webp";
  const first = await fetch(nearcast.url + hit);
  assert.equal(first.status, 200, `${hit}: status ${first.status}`);
  const bodyBytes = (await first.arrayBuffer()).byteLength;
  const script = await storeScript(lab, "paused", `function delay() return math.random(0, ${pauseMsMax}) end\n`);
  const measure = (seconds: number): Promise<Sample> =>
    drive(lab, nearcast.edge, { url: nearcast.url + hit, connections, seconds, bodyBytes, script });

  const rendering = await renderBeside(nearcast);

  const alone = "hits alone";
  const beside = "hits while two cold pictures are always being rendered";
  const taken = await takeTurns(lab, [
    { name: alone, measure },
    { name: beside, measure: (seconds) => rendering.during(() => measure(seconds)) },
  ]);
  await nearcast.stop();
  const row = (name: string): string[] => {
    const list = taken.get(name) ?? [];
    const of = (key: keyof Sample): string => digits(median(list.map((sample) => sample[key])));
    return [name, of("perSecond"), of("p50Ms"), of("p99Ms")];
  };
  return {
    question: "hit-while-rendering",
    tables: [
      {
        title: "Hits in memory while cold pictures are rendered, all on the same cores",
        columns: ["nearcast", "requests/s", "p50 ms", "p99 ms"],
        rows: [row(alone), row(beside)],
      },
    ],
    notes: [
      `${connections} connections, each pausing up to ${pauseMsMax} ms between two requests; ${rendering.note()}`,
    ],
    absent: [],
    samples: Object.fromEntries(taken),
  };
}
