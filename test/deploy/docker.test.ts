/**
 * deploy/docker without an engine: the files are read as Docker reads them, as far as we use them, and all that they
 * name must be there: sources, verbs, settings, addresses, volumes.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkConfig } from "#base/read-config.ts";
import { parseFleet } from "#document/read-document.ts";
import { parse } from "yaml";
import { edgeConfigSchema, type EdgeConfig } from "../../node/config.ts";
import { loadOriginConfig } from "../../origin/config.ts";
import { nearcast } from "./support/command.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const docker = join(root, "deploy/docker");

interface Mount {
  type: "bind" | "volume";
  source: string;
  target: string;
  read_only?: boolean;
}

interface Service {
  image: string;
  build: { context: string; dockerfile: string };
  command: string[];
  entrypoint?: string[];
  environment?: Record<string, string>;
  volumes?: Mount[];
  networks?: Record<string, { ipv4_address: string }> | string[];
  ports?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test?: string[]; disable?: boolean };
  read_only: boolean;
  cap_drop: string[];
  sysctls?: Record<string, number>;
}

interface Compose {
  services: Record<string, Service>;
  networks: { fleet: { ipam: { config: { subnet: string }[] } } };
  volumes: Record<string, object>;
}

const compose = parse(await readFile(join(docker, "compose.yaml"), "utf8"), { merge: true }) as Compose;
const services = Object.entries(compose.services);
const edges = services.filter(([, { command }]) => command[0] === "edge");

interface Instruction {
  word: string;
  rest: string;
}

/** Lines that end in a backslash go on; comments and empty ones are left out. */
function instructionsIn(text: string): Instruction[] {
  return text
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, word = "", rest = ""] = /^([A-Z]+) (.+)$/.exec(line) ?? [];
      assert.notEqual(word, "", `not an instruction: ${line}`);
      return { word, rest };
    });
}

const dockerfile = instructionsIn(await readFile(join(docker, "Dockerfile"), "utf8"));
const allOf = (word: string): string[] => dockerfile.filter((one) => one.word === word).map(({ rest }) => rest);

test("the Dockerfile: pinned images, sources that there are, no root, no development tools", async () => {
  const { devDependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
    devDependencies: Record<string, string>;
  };
  assert.equal(allOf("FROM").length, 2);
  for (const from of allOf("FROM")) assert.match(from, new RegExp(`^node:${devDependencies["node"]}-[a-z-]+`));
  const ignored = (await readFile(join(docker, "Dockerfile.dockerignore"), "utf8")).split("\n");
  const sources = allOf("COPY")
    .filter((rest) => !rest.startsWith("--from="))
    .flatMap((rest) => rest.split(" ").slice(0, -1));
  assert.ok(sources.includes("package-lock.json"));
  for (const source of sources) {
    assert.ok(existsSync(join(root, source)), source);
    assert.ok(ignored.includes(`!${source}`), `Dockerfile.dockerignore keeps ${source} away`);
  }
  assert.match(allOf("RUN").join("\n"), /npm ci --omit=dev/);
  assert.equal(allOf("USER").at(-1), "node");
  const [entrypoint, command] = [allOf("ENTRYPOINT"), allOf("CMD")].map(([json = ""]) => JSON.parse(json) as string[]);
  assert.deepEqual(entrypoint, ["node", "deploy/nearcast.mjs"]);
  assert.equal((await nearcast([command?.[0] ?? "", "--help"])).status, 0);
  const [health = ""] = allOf("HEALTHCHECK");
  assert.match(health, /CMD \["node", .*127\.0\.0\.1:8081\/readyz/);
  assert.doesNotThrow(() => JSON.parse(health.slice(health.indexOf("["))) as unknown);
});

test("compose: every path, volume, service and verb that is named is there", async () => {
  const verbs = new Set<string>();
  for (const [name, service] of services) {
    const { context, dockerfile: file } = service.build;
    assert.equal(resolve(docker, context), resolve(root), name);
    assert.ok(existsSync(join(resolve(docker, context), file)), name);
    for (const mount of service.volumes ?? []) {
      if (mount.type === "bind") assert.ok(existsSync(resolve(docker, mount.source)), `${name}: ${mount.source}`);
      else assert.ok(mount.source in compose.volumes, `${name}: ${mount.source}`);
    }
    for (const needed of Object.keys(service.depends_on ?? {})) assert.ok(needed in compose.services, needed);
    if (service.command[0] !== undefined) verbs.add(service.command[0]);
    assert.deepEqual([service.read_only, service.cap_drop], [true, ["ALL"]], name);
  }
  for (const verb of verbs) assert.equal((await nearcast([verb, "--help"])).status, 0, verb);
  const used = new Set(
    services.flatMap(([, { volumes = [] }]) =>
      volumes.filter(({ type }) => type === "volume").map(({ source }) => source),
    ),
  );
  assert.deepEqual(Object.keys(compose.volumes).toSorted(), [...used].toSorted());
  const published = services.flatMap(([, { ports = [] }]) => ports);
  assert.equal(new Set(published).size, published.length, "no port is published twice");
  for (const port of published) assert.match(port, /^127\.0\.0\.1:\d+:(?:80|53)\/(?:tcp|udp)$/);
});

test("each service that waits for a healthy one waits for one that says so", () => {
  for (const [name, { depends_on: needed = {} }] of services) {
    for (const [other, { condition }] of Object.entries(needed)) {
      const health = compose.services[other]?.healthcheck;
      if (condition === "service_healthy") assert.ok((health?.test?.length ?? 0) > 0, `${name} waits for ${other}`);
      if (condition === "service_completed_successfully") assert.equal(health?.disable, true, other);
    }
  }
});

/** The settings that an edge has in its container: the file that is mounted, and its environment. */
async function edgeConfig(service: Service): Promise<EdgeConfig> {
  const file = service.volumes?.find(({ target }) => target === service.command[2])?.source ?? "";
  const written = parse(await readFile(resolve(docker, file), "utf8")) as unknown;
  const checked = checkConfig(edgeConfigSchema, written, "NEARCAST_EDGE", service.environment ?? {});
  assert.ok(checked.ok, checked.ok ? "" : JSON.stringify(checked.problems));
  return checked.value;
}

const addressOf = ({ networks }: Service): string =>
  networks !== undefined && !Array.isArray(networks) ? (networks["fleet"]?.ipv4_address ?? "") : "";

test("the three edges are those of the fleet document, at their addresses", async () => {
  const fleet = parseFleet(await readFile(join(docker, "fleet.yaml"), "utf8"));
  assert.ok(fleet.ok, fleet.ok ? "" : JSON.stringify(fleet.problems));
  const nodes = fleet.value.sites.flatMap((site) => site.nodes.map((node) => ({ ...node, site: site.name })));
  assert.deepEqual(
    edges.map(([name]) => name),
    nodes.map(({ name }) => name),
  );
  const net = (compose.networks.fleet.ipam.config[0]?.subnet ?? "").replace(/\.0\/24$/, ".");
  for (const [name, service] of edges) {
    const node = nodes.find((one) => one.name === name);
    const config = await edgeConfig(service);
    const address = addressOf(service);
    assert.ok(address.startsWith(net));
    assert.deepEqual([config.node, config.site], [name, node?.site]);
    assert.deepEqual([node?.addresses, node?.http], [[address], `http://${address}`]);
    assert.deepEqual(
      [config.peer, node?.peer],
      [
        { host: address, port: 8082 },
        { host: address, port: 8082 },
      ],
    );
    // Where its ports lead, it listens; and it may, without root.
    const inside = (service.ports ?? []).map((port) => Number(/:(\d+)\/\w+$/.exec(port)?.[1]));
    const listened = [...config.http, ...config.dns.addresses].map(({ port }) => port);
    for (const port of inside) assert.ok(listened.includes(port), `${name}: ${port}`);
    assert.equal(service.sysctls?.["net.ipv4.ip_unprivileged_port_start"], 0);
    // What it writes to, and the token that it reads, are mounts.
    const mounts = (service.volumes ?? []).map(({ target }) => target);
    assert.ok(mounts.includes(config.dataDir) && mounts.includes(dirname(config.origin.tokenFile)));
    assert.equal(new URL(config.origin.url).hostname, addressOf(compose.services["origin"] as Service));
  }
});

test("the origin listens where the others look for it, and the token is where the origin makes it", async () => {
  const origin = compose.services["origin"] as Service;
  const config = await loadOriginConfig({ file: join(docker, "origin.yaml") });
  const mounts = new Map((origin.volumes ?? []).map(({ target, source }) => [target, source]));
  assert.ok(mounts.has(config.dataDir));
  for (const name of ["publish", "command"]) {
    const { environment = {}, volumes = [] } = compose.services[name] as Service;
    assert.equal(environment["NEARCAST_ORIGIN"], `http://${addressOf(origin)}:${config.listen.port}`);
    assert.equal(environment["NEARCAST_TOKEN_FILE"], `${config.dataDir}/secrets/writer.token`);
    assert.ok(volumes.some(({ source, target }) => source === mounts.get(config.dataDir) && target === config.dataDir));
  }
  const copied = compose.services["token"]?.entrypoint ?? [];
  assert.deepEqual(copied.slice(0, 2), ["cp", `${config.dataDir}/secrets/edge.token`]);
  for (const [, service] of edges) {
    assert.equal((await edgeConfig(service)).origin.tokenFile, copied[2]);
    assert.ok(!(service.volumes ?? []).some(({ source }) => source === "origin"), "edges never see the writer's token");
  }
});
