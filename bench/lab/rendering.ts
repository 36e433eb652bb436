/** Renders cold pictures continuously during a measurement, as many at a time as an edge has decoders. */
import assert from "node:assert/strict";
import { coldPath, coldSource } from "../cold-render.ts";
import { digits } from "./figures.ts";
import type { Nearcast } from "./nearcast.ts";
import { photograph } from "./photograph.ts";

export interface Rendering {
  /** Renders until `measure` ends, and returns its result. */
  during: <Found>(measure: () => Promise<Found>) => Promise<Found>;
  note: () => string;
}

const decoders = 2;

/** Stores the cold picture at the origin. */
export async function renderBeside(nearcast: Nearcast): Promise<Rendering> {
  await nearcast.put(coldSource, await photograph(4000, 3000));
  let variant = 0;
  let rendered = 0;
  let seconds = 0;

  async function keepRendering(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const answer = await fetch(nearcast.url + coldPath("webp", variant++));
      await answer.arrayBuffer();
      assert.equal(answer.status, 200, "a cold picture failed");
      rendered += 1;
    }
  }

  return {
    async during(measure) {
      const measuring = new AbortController();
      const beganMs = performance.now();
      const rendering = Promise.all(Array.from({ length: decoders }, () => keepRendering(measuring.signal)));
      try {
        return await measure();
      } finally {
        measuring.abort();
        await rendering;
        seconds += (performance.now() - beganMs) / 1000;
      }
    },
    note: () =>
      `${digits(rendered / seconds)} pictures of 12 megapixels a second were rendered to WebP of 800 px meanwhile`,
  };
}
