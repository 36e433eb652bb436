/** `--processes N`: one machine, several processes behind the same ports, and what is lost when one of them dies. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { Agent, get } from "node:http";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import { ask } from "../support/ask.ts";
import { needs } from "../support/needs.ts";
import { notifySocket } from "../support/notify-socket.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld, until, type World, type WorldEdge } from "../support/world.ts";

const edgeMain = fileURLToPath(new URL("../../node/main.ts", import.meta.url));

interface Machine {
  world: World;
  edge: WorldEdge;
  count: number;
  /** The process id of each, as they are now. */
  pids: () => Promise<number[]>;
  /** Waits until all are ready, and gives their ids. */
  ready: () => Promise<number[]>;
}

async function startMachine(
  t: TestContext,
  count: number,
  more: Parameters<typeof startWorld>[2] = {},
): Promise<Machine> {
  const world = await startWorld(t, ["fra"], { ...more, edgeWords: ["--processes", String(count)] });
  const edge = world.edge("fra");
  const status = async (index: number): Promise<{ pid: number; ready: boolean }> => {
    const url = new URL("/status", edge.adminUrl);
    url.port = String(Number(url.port) + index);
    return (await (await fetch(url)).json()) as { pid: number; ready: boolean };
  };
  const all = async () => await Promise.all(Array.from({ length: count }, async (_, index) => await status(index)));
  return {
    world,
    edge,
    count,
    pids: async () => (await all()).map(({ pid }) => pid),
    async ready() {
      await until("all are ready", async () => (await all()).every(({ ready }) => ready), edge.program());
      return (await all()).map(({ pid }) => pid);
    },
  };
}

interface Tried {
  startMs: number;
  failure: string | null;
}

/** Does it again and again in `workers` loops, until the signal; what was tried, in the order of its end. */
function load(
  workers: number,
  signal: AbortSignal,
  attempt: () => Promise<void>,
): { tried: Tried[]; done: Promise<void> } {
  const tried: Tried[] = [];
  const work = async (): Promise<void> => {
    while (!signal.aborted) {
      const startMs = performance.now();
      const failure = await attempt().then(
        () => null,
        (error: unknown) => (error as NodeJS.ErrnoException).code ?? (error as Error).message,
      );
      tried.push({ startMs, failure });
    }
  };
  return { tried, done: Promise.all(Array.from({ length: workers }, work)).then(() => undefined) };
}

/** One GET, on a connection of its own unless an agent is given. */
function fetchOnce(url: string, agent: Agent | false = false): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { agent, timeout: 10_000 }, (answer) => {
      answer.resume();
      answer.once("error", reject);
      answer.once("end", () => {
        if (answer.statusCode === 200 && answer.complete) resolve();
        else reject(new Error(`status ${answer.statusCode}`));
      });
    })
      .once("timeout", function (this: { destroy: (error: Error) => void }) {
        this.destroy(new Error("no answer"));
      })
      .once("error", reject);
  });
}

/** Memory in RAM, KB. */
async function residentKb(pid: number): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]);
}

const isGone = (pid: number): boolean => !existsSync(`/proc/${pid}`);

test("kill -9 of one of three under load: only what it had in its hands is lost, and it comes back", async (t) => {
  if (!needs(t, process.platform === "linux", "SO_REUSEPORT that spreads clients, and /proc")) return;
  // All questions come from one network here.
  const machine = await startMachine(t, 3, { dns: { responsesPerSecond: 0 } });
  const { world, edge } = machine;
  await world.api("PUT", "/images/a.jpg", await photograph(1));
  const before = await machine.ready();
  const url = `${edge.url}/a.jpg?w=100&fm=webp`;
  await until("every process has it", async () => {
    await Promise.all(Array.from({ length: 30 }, async () => await fetchOnce(url)));
    return true;
  });

  const ending = new AbortController();
  t.after(() => ending.abort());
  const pictures = load(8, ending.signal, async () => await fetchOnce(url));
  const names = load(4, ending.signal, async () => {
    const { rcode, addresses } = await ask(edge.dns, "img.cdn.test", { timeoutMs: 5000 });
    if (rcode !== "NOERROR" || addresses[0] !== edge.address) throw new Error(`${rcode} ${addresses.join()}`);
  });
  // Connections that are kept: one process has them for good.
  const kept = Array.from({ length: 30 }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
  t.after(() => {
    for (const agent of kept) agent.destroy();
  });
  await Promise.all(kept.map(async (agent) => await fetchOnce(url, agent)));
  const open = (): Agent[] => kept.filter((agent) => Object.values(agent.freeSockets).flat().length === 1);
  assert.equal(open().length, kept.length);

  await until("there is load", async () => pictures.tried.length > 200 && names.tried.length > 100);
  const victim = before[1] ?? 0;
  process.kill(victim, "SIGKILL");
  await until("it is gone", async () => isGone(victim));
  const goneMs = performance.now();
  await until("its connections are known to be broken", async () => open().length < kept.length);
  // The system has closed them all by now; this process may have heard of some only.
  await pause(100);
  const others = open();
  assert.ok(others.length > 0);
  await Promise.all(others.map(async (agent) => await fetchOnce(url, agent)));

  const after = await machine.ready();
  assert.deepEqual([after[0], after[2]], [before[0], before[2]]);
  assert.notEqual(after[1], victim);
  const [seenPictures, seenNames] = [pictures.tried.length, names.tried.length];
  await until("there was more load", async () => {
    return pictures.tried.length > seenPictures + 200 && names.tried.length > seenNames + 100;
  });
  ending.abort();
  await Promise.all([pictures.done, names.done]);

  for (const { tried } of [pictures, names]) {
    const failed = tried.filter(({ failure }) => failure !== null);
    t.diagnostic(`${tried.length} tried, lost: ${failed.map(({ failure }) => failure).join() || "none"}`);
    assert.deepEqual(
      failed.filter(({ startMs, failure }) => startMs > goneMs || failure === "ECONNREFUSED"),
      [],
      "nothing that began after its death fails, and nobody is refused",
    );
    assert.ok(failed.length < 30, "what it had in its hands is little");
  }
  // The new one has its share of these: that it has none has a chance of (2/3)^60.
  await Promise.all(Array.from({ length: 60 }, async () => await fetchOnce(url)));
});

test("SIGTERM drains all, and the end is status 0; kill -9 of the supervisor ends all, too", async (t) => {
  if (!needs(t, process.platform === "linux", "SO_REUSEPORT that spreads clients, and /proc")) return;
  const machine = await startMachine(t, 2);
  const { world, edge } = machine;
  const supervisor = edge.program();
  const first = await machine.ready();
  assert.equal(new Set([...first, supervisor.pid]).size, 3);

  const log = (): string => supervisor.log();
  await until("it says so", async () => log().includes('"part":"supervisor fra1","processes":2,"msg":"ready"'));
  assert.match(log(), /"part":"edge fra1"/);
  assert.match(log(), /"part":"edge fra1\.1"/);
  const [own = 0, served = 0] = await Promise.all([supervisor.pid, first[0] ?? 0].map(residentKb));
  t.diagnostic(`supervisor ${Math.round(own / 1024)} MiB, process ${Math.round(served / 1024)} MiB`);
  assert.ok(own < served, "a supervisor loads nothing that serves");

  await supervisor.kill("SIGTERM");
  assert.equal(supervisor.status(), 0);
  assert.ok(first.every(isGone), "it ends last");
  assert.equal(log().match(/"msg":"draining: /g)?.length, 2);

  const dataDir = join(world.directory, "fra");
  const there = (name: string): boolean => existsSync(join(dataDir, name));
  for (const name of ["process-2/cache", "process-63", "process-64", "process-x"]) {
    await mkdir(join(dataDir, name), { recursive: true });
  }
  await edge.start();
  const second = await machine.ready();
  await until("leftovers of others are gone", async () => !there("process-2") && !there("process-63"));
  assert.ok(there("process-1") && there("cache"), "these are in use");
  assert.ok(there("process-64") && there("process-x"), "these are none of ours");

  await edge.program().kill("SIGKILL");
  await until("all are gone", async () => second.every(isGone));
});

test("another supervisor of the same machine takes no client from the first", async (t) => {
  if (!needs(t, process.platform === "linux", "SO_REUSEPORT that spreads clients, and /proc")) return;
  const machine = await startMachine(t, 2);
  const { world, edge } = machine;
  await world.api("PUT", "/images/a.jpg", await photograph(1));
  const before = await machine.ready();
  const url = `${edge.url}/a.jpg?w=100`;
  const ending = new AbortController();
  t.after(() => ending.abort());
  const pictures = load(2, ending.signal, async () => {
    await fetchOnce(url);
    await pause(10); // the second supervisor needs the machine, too
  });
  // With a directory of its own: what shares the first one's is refused before it comes to a port.
  const config = join(world.directory, "second.yaml");
  const own = parse(await readFile(join(world.directory, "fra1.yaml"), "utf8")) as object;
  const dataDir = join(world.directory, "second");
  await mkdir(dataDir);
  await writeFile(config, stringify({ ...own, dataDir }));
  const second = spawn(process.execPath, [edgeMain, "--config", config, "--processes", "2"], { stdio: "pipe" });
  t.after(() => second.kill("SIGKILL"));
  let said = "";
  second.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const refused = (): number =>
    said.match(/can't listen for HTTP on [\d.]+ port 808[12]: the address is in use/g)?.length ?? 0;
  await until("both of its processes were refused", async () => refused() >= 2);
  second.kill("SIGTERM");
  await once(second, "exit");
  ending.abort();
  await pictures.done;
  assert.deepEqual(
    pictures.tried.filter(({ failure }) => failure !== null),
    [],
  );
  assert.deepEqual(await machine.pids(), before);
});

for (const count of [1, 2]) {
  test(`systemd hears of ${count === 1 ? "one process" : "several"} from the first to the last`, async (t) => {
    if (!needs(t, process.platform === "linux", "sd_notify is of Linux")) return;
    const socket = await notifySocket(t);
    const edgeEnvironment = { NOTIFY_SOCKET: socket.name, WATCHDOG_USEC: "400000" };
    const machine = await startMachine(t, count, { edgeEnvironment });
    const pids = await machine.ready();
    await socket.until("READY=1");
    await socket.until("WATCHDOG=1");
    const ready = socket.heard().find((datagram) => datagram.includes("READY=1\n")) ?? "";
    assert.ok(ready.includes(count === 1 ? "STATUS=ready\n" : "STATUS=2 of 2 processes are ready\n"), ready);
    if (count > 1) {
      process.kill(pids[0] ?? 0, "SIGKILL");
      await socket.until("STATUS=1 of 2 processes are ready");
    }
    assert.equal(socket.heard().filter((datagram) => datagram.includes("READY=1\n")).length, 1);
    await machine.edge.program().kill("SIGTERM");
    await socket.until("STOPPING=1");
  });
}
