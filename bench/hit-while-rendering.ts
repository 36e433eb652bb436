/**
 * Do hits stay fast while pictures are rendered? Hits in memory at a steady, moderate rate, first alone, then while the
 * edge's two decoders always have a cold picture to render. No core is reserved for the edge: it, its decoders and the
 * driver share the machine's cores, as they do in production.
 */
import assert from "node:assert/strict";
import { median, digits, type Report, type Sample } from "./lab/figures.ts";
import { startNginx } from "./lab/http-peers/nginx.ts";
import type { Lab } from "./lab/lab.ts";
import { fronts, type Nearcast, startNearcast } from "./lab/nearcast.ts";
import { startObjectOrigin } from "./lab/object-origin.ts";
import { photograph } from "./lab/photograph.ts";
import { type Contender, takeTurns } from "./lab/rounds.ts";
import { drive, storeScript } from "./lab/wrk.ts";
import { renderBeside, type Rendering } from "./lab/rendering.ts";

const connections = 32;
/** Each connection pauses for a random time up to this between two requests: some 3,000 requests a second in all. */
const pauseMsMax = 20;
const hit = "/small.jpg?w=160&fm=webp";

export async function measureHitWhileRendering(lab: Lab): Promise<Report> {
  const picture = await photograph(800, 600);
  const script = await storeScript(lab, "paused", `function delay() return math.random(0, ${pauseMsMax}) end\n`);
  const contenders: Contender[] = [];
  const edges: Nearcast[] = [];
  const renderings: Rendering[] = [];
  let body = Buffer.alloc(0);
  for (const { name, lanes } of fronts) {
    const nearcast = await startNearcast(lab, { pin: "none", edge: () => ({ front: { lanes } }) });
    edges.push(nearcast);
    await nearcast.put("small.jpg", picture);
    const first = await fetch(nearcast.url + hit);
    assert.equal(first.status, 200, `${hit}: status ${first.status}`);
    body = Buffer.from(await first.arrayBuffer());
    const bodyBytes = body.length;
    const measure = (seconds: number): Promise<Sample> =>
      drive(lab, nearcast.edge, { url: nearcast.url + hit, connections, seconds, bodyBytes, script });
    const rendering = await renderBeside(nearcast);
    renderings.push(rendering);
    contenders.push(
      { name: `${name}: hits alone`, measure },
      {
        name: `${name}: while two cold pictures are always being rendered`,
        measure: (seconds) => rendering.during(() => measure(seconds)),
      },
    );
  }
  const origin = await startObjectOrigin(lab, (path) => (path === hit ? { type: "image/webp", body } : undefined));
  const nginx = await startNginx(lab, { origin, pin: "none" });
  const [rendering] = renderings;
  if ("started" in nginx && rendering !== undefined) {
    const { program, url } = nginx.started;
    const load = { url: url + hit, connections, bodyBytes: body.length, script };
    contenders.push({
      name: "nginx: while the first edge always renders two",
      measure: (seconds) => rendering.during(() => drive(lab, program, { ...load, seconds })),
    });
  }
  const taken = await takeTurns(lab, contenders);
  if ("started" in nginx) await nginx.started.program.stop();
  for (const nearcast of edges) await nearcast.stop();
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
        rows: contenders.map(({ name }) => row(name)),
      },
    ],
    notes: [
      `${connections} connections, each pausing up to ${pauseMsMax} ms between two requests`,
      rendering?.note() ?? "nothing was rendered",
    ],
    absent: "absent" in nginx ? [nginx.absent] : [],
    samples: Object.fromEntries(taken),
  };
}
