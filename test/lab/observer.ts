/**
 * Somebody at a place, who asks again and again and writes down what he got: a process in a client's namespace.
 *
 *   lab ──begin task──▶ observer ──query──▶ …
 *    ▲                     │ ◀──answer── (or none within the task's time)
 *    ├──what, when it is another than before──┤
 *    └──end: all samples───────────────────────┘
 *
 * Queries leave at their times whether answers come or not; where the process was held up they leave at once after it.
 * Moments are the machine's monotonic clock, which the lab shares.
 */
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { request } from "node:http";
import { isIPv6 } from "node:net";
import { machineClock, machineMs } from "./machine-clock.ts";
import { firstResolver } from "./plan.ts";
import { buildQuery, type QueryType, readAnswer } from "./query.ts";

/** What to ask, and how often. */
export type Task = {
  readonly intervalMs: number;
  /** What has no answer by then has none. */
  readonly timeoutMs: number;
} & (
  | {
      readonly kind: "dns";
      readonly server: string;
      /** `*` becomes another label in every query of the whole run. */
      readonly name: string;
      readonly type: QueryType;
      /** What is written down: who answered, or with which addresses. */
      readonly tell: "node" | "addresses";
      /**
       * Ask as one asks a resolver: what it has not answered after so long is asked again, since resolvers may drop it.
       */
      readonly askAgainMs: number | null;
    }
  | {
      readonly kind: "http";
      readonly host: string;
      readonly path: string;
      /** One address that does not answer within this time is given up for the next. */
      readonly attemptMs: number;
      /** The resolver, too, is asked again after so long. */
      readonly askAgainMs: number;
    }
);

export interface Sample {
  readonly sentMs: number;
  /** null: no answer, or one that says that it is none (SERVFAIL, a status other than 200). */
  readonly tookMs: number | null;
  /** The node, the addresses joined by commas, or why there is no answer. */
  readonly what: string;
}

export type Order =
  | { readonly order: "begin"; readonly id: number; readonly task: Task }
  | { readonly order: "end"; readonly id: number };

export type Report =
  | { readonly report: "ready" }
  | { readonly report: "changed"; readonly id: number; readonly sample: Sample }
  | { readonly report: "samples"; readonly id: number; readonly samples: readonly Sample[] };

type Note = (sample: Sample) => void;

/** Stops asking, waits for what may still come, and leaves nothing open. */
type Stop = () => Promise<void>;

const stops = new Map<number, { stop: Stop; samples: Sample[] }>();

function report(message: Report): void {
  process.send?.(message);
}

function begin(id: number, task: Task): void {
  const samples: Sample[] = [];
  let last: string | undefined;
  const note: Note = (sample) => {
    samples.push(sample);
    if (sample.what === last) return;
    last = sample.what;
    report({ report: "changed", id, sample });
  };
  const stop = task.kind === "dns" ? askDns(id, task, note) : askHttp(task, note);
  stops.set(id, { stop, samples });
}

async function end(id: number): Promise<void> {
  const running = stops.get(id);
  if (running === undefined) return;
  stops.delete(id);
  await running.stop();
  report({ report: "samples", id, samples: running.samples.toSorted((a, b) => a.sentMs - b.sentMs) });
}

/** Calls `ask` at every interval, and as often as was missed. */
function pace(intervalMs: number, ask: (count: number) => void): () => void {
  let isStopped = false;
  let count = 0;
  let nextMs = machineMs();
  const turn = (): void => {
    if (isStopped) return;
    while (nextMs <= machineMs()) {
      ask(count++);
      nextMs += intervalMs;
    }
    setTimeout(turn, Math.max(0, nextMs - machineMs()));
  };
  turn();
  return () => {
    isStopped = true;
  };
}

function askDns(watch: number, task: Extract<Task, { kind: "dns" }>, note: Note): Stop {
  /** What waits for an answer, by its id: no more than the ids that there are. */
  const open = new Map<number, { sentMs: number; name: string; askedMs: number }>();
  const socket = createSocket(isIPv6(task.server) ? "udp6" : "udp4");
  // ICMP's word that nobody is there comes as an error: no answer, which the deadline says as well.
  socket.on("error", () => undefined);
  socket.on("message", (bytes) => {
    const answer = readAnswer(bytes);
    const sentMs = answer === null ? undefined : open.get(answer.id)?.sentMs;
    if (answer === null || sentMs === undefined) return;
    open.delete(answer.id);
    const tookMs = machineMs() - sentMs;
    if (answer.rcode !== 0) note({ sentMs, tookMs: null, what: `rcode ${answer.rcode}` });
    else if (task.tell === "node") note({ sentMs, tookMs, what: answer.node ?? "nobody says" });
    else note({ sentMs, tookMs, what: answer.addresses.toSorted().join(",") });
  });
  const wantsRecursion = task.askAgainMs !== null;
  const expire = (nowMs: number): void => {
    for (const [id, waiting] of open) {
      if (nowMs - waiting.sentMs >= task.timeoutMs) {
        open.delete(id);
        note({ sentMs: waiting.sentMs, tookMs: null, what: "no answer" });
      } else if (nowMs - waiting.askedMs >= (task.askAgainMs ?? Infinity)) {
        waiting.askedMs = nowMs;
        socket.send(buildQuery(id, waiting.name, task.type, wantsRecursion));
      }
    }
  };
  let stopAsking = (): void => undefined;
  socket.connect(53, task.server, () => {
    stopAsking = pace(task.intervalMs, (count) => {
      const id = count & 0xffff;
      const name = task.name.replace("*", `${watch}-${count}`);
      const sentMs = machineMs();
      open.set(id, { sentMs, name, askedMs: sentMs });
      socket.send(buildQuery(id, name, task.type, wantsRecursion));
    });
  });
  const stopExpiring = machineClock.every(20, () => {
    expire(machineMs());
  });
  return async () => {
    stopAsking();
    await settled(() => open.size === 0, task.timeoutMs);
    expire(Infinity);
    stopExpiring();
    socket.close();
  };
}

function askHttp(task: Extract<Task, { kind: "http" }>, note: Note): Stop {
  const { askAgainMs, timeoutMs } = task;
  // As stub resolvers do; waiting longer for one query brings nothing (watching.ts).
  const tries = Math.max(1, Math.floor(timeoutMs / askAgainMs));
  const resolver = new Resolver({ timeout: askAgainMs, maxTimeout: askAgainMs, tries });
  resolver.setServers([firstResolver]);
  let openCount = 0;
  const fetchOnce = async (): Promise<void> => {
    const sentMs = machineMs();
    const what = await fetchPicture(task, resolver).catch((error: unknown) => error as Error);
    const tookMs = machineMs() - sentMs;
    if (what instanceof Error) note({ sentMs, tookMs: null, what: what.message });
    else note({ sentMs, tookMs, what });
  };
  const stopAsking = pace(task.intervalMs, () => {
    openCount++;
    void fetchOnce().finally(() => openCount--);
  });
  return async () => {
    stopAsking();
    await settled(() => openCount === 0, task.timeoutMs + 4 * task.attemptMs);
  };
}

/** As a browser does it: the name's addresses one after the other, until one answers. */
async function fetchPicture(task: Extract<Task, { kind: "http" }>, resolver: Resolver): Promise<string> {
  const addresses = await resolver.resolve4(task.host);
  let failure = new Error("the name has no address");
  for (const address of addresses) {
    try {
      return await fetchFrom(address, task);
    } catch (error) {
      failure = error as Error;
    }
  }
  throw failure;
}

function fetchFrom(address: string, task: Extract<Task, { kind: "http" }>): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: address, port: 80, path: task.path, headers: { host: task.host }, agent: false },
      (answer) => {
        let sizeBytes = 0;
        answer.on("data", (chunk: Buffer) => (sizeBytes += chunk.length));
        answer.on("end", () => {
          if (answer.statusCode === 200 && sizeBytes > 0) resolve(address);
          else reject(new Error(`status ${answer.statusCode}`));
        });
        answer.on("error", reject);
      },
    );
    asked.setTimeout(task.attemptMs, () => asked.destroy(new Error("timeout")));
    asked.on("error", (error: NodeJS.ErrnoException) => reject(new Error(error.code ?? error.message)));
    asked.end();
  });
}

async function settled(isSo: () => boolean, timeoutMs: number): Promise<void> {
  const deadlineMs = machineMs() + timeoutMs;
  while (!isSo() && machineMs() < deadlineMs) await new Promise((resolve) => setTimeout(resolve, 10));
}

process.on("message", (message: Order) => {
  if (message.order === "begin") begin(message.id, message.task);
  else void end(message.id);
});
report({ report: "ready" });
