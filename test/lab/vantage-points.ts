/** The observers at the clients' places, and the watches that they keep for a drill. */
import { fileURLToPath } from "node:url";
import type { Order, Report, Sample, Task } from "./observer.ts";
import { type ClientName, clients } from "./plan.ts";
import type { Crew } from "./processes.ts";

const observerScript = fileURLToPath(new URL("observer.ts", import.meta.url));

export interface Watch {
  /** What was seen last. */
  readonly last: () => Sample | undefined;
  /** Resolves with the first sample, from now on or the last one, whose `what` is so. @throws past `withinMs` */
  readonly until: (isSo: (what: string) => boolean, withinMs: number) => Promise<Sample>;
  /** Ends it and gives everything that was seen. */
  readonly end: () => Promise<readonly Sample[]>;
}

export interface Places {
  readonly watch: (client: ClientName, task: Task) => Watch;
}

export async function openPlaces(crew: Crew): Promise<Places> {
  let nextId = 1;
  const places = new Map(await Promise.all(clients.map(async ({ name }) => [name, await openPlace(name)] as const)));

  async function openPlace(client: ClientName) {
    const program = crew.start({
      name: `observer-${client}`,
      namespace: client,
      command: [process.execPath, observerScript],
      output: "ipc",
      isFirst: true,
    });
    const listeners = new Map<number, (message: Report) => void>();
    await new Promise<void>((resolve, reject) => {
      program.child.on("message", (message: Report) => {
        if (message.report === "ready") resolve();
        else listeners.get(message.id)?.(message);
      });
      program.child.once("exit", () => {
        reject(new Error(`the observer at ${client} ended: ${program.lastWords()}`));
      });
    });
    return {
      listeners,
      tell(order: Order): void {
        program.child.send(order);
      },
    };
  }

  return {
    watch(client, task) {
      const place = places.get(client);
      if (place === undefined) throw new Error(`nobody observes from ${client}`);
      const id = nextId++;
      let last: Sample | undefined;
      let changed: ((sample: Sample) => void)[] = [];
      let finish = (_samples: readonly Sample[]): void => undefined;
      place.listeners.set(id, (message) => {
        if (message.report === "changed") {
          last = message.sample;
          for (const listener of changed) listener(message.sample);
        } else if (message.report === "samples") {
          place.listeners.delete(id);
          finish(message.samples);
        }
      });
      place.tell({ order: "begin", id, task });
      return {
        last: () => last,
        until: (isSo, withinMs) =>
          new Promise((resolve, reject) => {
            if (last !== undefined && isSo(last.what)) {
              resolve(last);
              return;
            }
            const listener = (sample: Sample): void => {
              if (!isSo(sample.what)) return;
              done();
              resolve(sample);
            };
            const timer = setTimeout(() => {
              done();
              reject(new Error(`at ${client} it is still "${last?.what ?? "nothing"}" after ${withinMs} ms`));
            }, withinMs);
            const done = (): void => {
              clearTimeout(timer);
              changed = changed.filter((one) => one !== listener);
            };
            changed.push(listener);
          }),
        end: () =>
          new Promise((resolve) => {
            finish = resolve;
            place.tell({ order: "end", id });
          }),
      };
    },
  };
}
