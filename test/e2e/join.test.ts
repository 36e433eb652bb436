/**
 * Nodes that join and leave by themselves, with real machines' commands: `nearcast join` on an empty folder is all that
 * adds one, `nearcast remove` all that takes it away, and clients who follow DNS notice neither.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { launcher, nearcast } from "../deploy/support/command.ts";
import { ask } from "../support/ask.ts";
import { photograph } from "../support/pictures.ts";
import { startStream } from "../support/stream.ts";
import { startWorld, until, type World } from "../support/world.ts";

const name = "img.cdn.test";

interface Machine {
  address: string;
  /** The folder of `--data`. */
  data: string;
  child: ChildProcess;
  /** All that it said, both streams. */
  said: () => string;
  /** As a service manager does; twice, since no client is left to wait for. */
  stop: () => Promise<void>;
}

/** The last octet tells machines apart. */
function startMachine(t: TestContext, world: World, last: number): Machine {
  const address = world.edge("fra").address.replace(/\d+$/, String(last));
  const data = join(world.directory, `machine-${last}`);
  const words = ["--site", "fra", "--data", data, "--token-file", edgeTokenOf(world), "--address", address];
  const ports = ["--http-port", "8080", "--dns-port", "5300", "--admin-port", String(31_000 + random(20_000))];
  const child = spawn(process.execPath, [launcher, "join", world.originUrl, ...words, ...ports], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      // The whole database is read for nobody here.
      NEARCAST_EDGE_DNS__GEO_FILES: JSON.stringify([join(world.directory, "geo.mmdb")]),
      NEARCAST_EDGE_DECODERS__PROCESSES: "1",
    },
  });
  const chunks: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => chunks.push(chunk.toString()));
  }
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const end = async (signals: readonly NodeJS.Signals[]): Promise<void> => {
    if (hasEnded()) return;
    const ended = once(child, "exit");
    for (const signal of signals) {
      child.kill(signal);
      await Promise.race([ended, pause(200)]);
    }
    await ended;
  };
  t.after(async () => {
    await end(["SIGKILL"]);
  });
  return { address, data, child, said: () => chunks.join(""), stop: async () => await end(["SIGTERM", "SIGTERM"]) };
}

const random = (below: number): number => Math.floor(Math.random() * below);
const secretsOf = (world: World): string => join(world.directory, "origin", "secrets");
const edgeTokenOf = (world: World): string => join(secretsOf(world), "edge.token");

/** A verb with the writer's token. */
async function writes(world: World, words: readonly string[]): Promise<string> {
  const place = ["--origin", world.originUrl, "--token-file", join(secretsOf(world), "writer.token")];
  const ran = await nearcast([...words, ...place]);
  assert.equal(ran.status, 0, `${words.join(" ")}: ${ran.stderr}`);
  return ran.stdout;
}

/** What the node that stands in the document answers a client. */
async function named(world: World): Promise<string[]> {
  return (await ask(world.edge("fra").dns, name)).addresses;
}

async function untilNamed(world: World, machine: Machine, isNamed: boolean): Promise<void> {
  await until(`DNS ${isNamed ? "names" : "does not name"} ${machine.address}\n${machine.said()}`, async () => {
    assert.ok(!isNamed || machine.child.exitCode === null, machine.said());
    return (await named(world)).includes(machine.address) === isNamed;
  });
}

test("one command on an empty folder makes a node that DNS names; draining it is as simple", async (t) => {
  const world = await startWorld(t, ["fra"], { fleet: { steering: [{ name, policy: "geo", ttlSeconds: 1 }] } });
  await world.api("PUT", "/images/a.jpg", await photograph(1));
  await until("fra is up", async () => (await named(world)).join() === world.edge("fra").address);

  const started = performance.now();
  const machine = startMachine(t, world, 101);
  await until("it is registered", async () => machine.said().includes("fra2 joined site fra"));
  const registered = performance.now();
  await untilNamed(world, machine, true);
  const since = (moment: number): string => `${((performance.now() - moment) / 1000).toFixed(1)} s`;
  t.diagnostic(`named by DNS ${since(registered)} after it was registered, ${since(started)} after the command began`);

  await t.test("it serves pictures and names like any other", async () => {
    const answer = await fetch(`http://${machine.address}:8080/a.jpg?w=100&fm=webp`, { headers: { host: name } });
    assert.equal(answer.status, 200);
    await until("it names both", async () => {
      const { addresses } = await ask({ host: machine.address, port: 5300 }, name);
      return addresses.toSorted().join() === [world.edge("fra").address, machine.address].toSorted().join();
    });
  });

  await t.test("drained, it is named no more and serves on; undrained, it is named again", async () => {
    assert.match(await writes(world, ["drain", "fra2"]), /for up to 1 s$/m);
    await untilNamed(world, machine, false);
    assert.deepEqual(await named(world), [world.edge("fra").address]);
    const answer = await fetch(`http://${machine.address}:8080/a.jpg?w=100&fm=webp`, { headers: { host: name } });
    assert.equal(answer.status, 200);
    await answer.arrayBuffer();
    await writes(world, ["undrain", "fra2"]);
    await untilNamed(world, machine, true);
  });

  await t.test("killed and joined again, it is the same node", async () => {
    machine.child.kill("SIGKILL");
    await once(machine.child, "exit");
    await until("it is named no more", async () => !(await named(world)).includes(machine.address));
    const again = startMachine(t, world, 101);
    await untilNamed(world, again, true);
    assert.match(again.said(), /fra2 is already a node of site fra/);
  });

  await t.test("removed, its status says what to do now", async () => {
    await writes(world, ["remove", "fra2"]);
    let shown = "";
    await until("it heard of it", async () => {
      shown = (await nearcast(["status", "--data", machine.data])).stdout;
      return /^fra2 +fra +removed /m.test(shown);
    });
    assert.match(shown, /^  fra2: removed from the fleet: stop nearcast on its machine$/m);
  });
});

test("three join and two are removed under a stream of requests: none fails", async (t) => {
  const world = await startWorld(t, ["fra"], { fleet: { steering: [{ name, policy: "geo", ttlSeconds: 1 }] } });
  await world.api("PUT", "/images/a.jpg", await photograph(1, { width: 200, height: 150 }));
  await until("fra is up", async () => (await named(world)).join() === world.edge("fra").address);
  const resolvers = [world.edge("fra").dns];
  const stream = startStream({ host: name, path: "/a.jpg?w=100&fm=webp", perSecond: 2000, resolvers });
  t.after(async () => {
    await stream.stop();
  });
  await until("the stream flows", async () => stream.counts().answered > 100);

  const machines = [101, 102, 103].map((last) => startMachine(t, world, last));
  for (const machine of machines) await untilNamed(world, machine, true);
  await until("each has its share", async () =>
    machines.every(({ address }) => (stream.byAddress().get(address) ?? 0) > 100),
  );
  const names = machines.map(({ said }) => /(fra\d) joined site fra/.exec(said())?.[1] ?? "");
  assert.deepEqual(names.toSorted(), ["fra2", "fra3", "fra4"]);

  for (const [index, machine] of machines.slice(0, 2).entries()) {
    await writes(world, ["remove", names[index] ?? ""]);
    await machine.stop();
  }
  const after = stream.counts().answered;
  await until("the stream flows on", async () => stream.counts().answered > after + 500);
  await stream.stop();
  assert.deepEqual((await named(world)).toSorted(), [world.edge("fra").address, machines[2]?.address ?? ""].toSorted());
  const { answered, seconds, failures } = stream.counts();
  t.diagnostic(`${answered} requests in ${seconds.toFixed(1)} s: ${Math.round(answered / seconds)} a second`);
  assert.deepEqual(failures, []);
});
