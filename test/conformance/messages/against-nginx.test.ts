/**
 * The corpus at nginx, whose answers check the table itself: what an independent server finds right can't be only our
 * reading of the RFCs. TABLE=1 prints every case in which nginx and the edge differ, or in which nginx is not right:
 *
 *   TABLE=1 node test/conformance/messages/against-nginx.test.ts
 *
 * nginx runs on a loopback port, with a configuration in a temporary directory: a cache in front of the same origin.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { needsProgram } from "../../support/needs.ts";
import { startEdge } from "../http/running-edge.ts";
import { corpus } from "./corpus.ts";
import type { RawCase } from "./raw-case.ts";
import { type Outcome, runCase, type Server } from "./run-case.ts";
import { tellOrigin } from "./tell-origin.ts";

const address = "127.0.0.1";

/**
 * nginx 1.22 is not right in 22 of 348 cases: it answers HTTP/0.9, takes HTTP/1.10 for HTTP/1.1, sends a 100 before the
 * response to a request without a body, allows no tab before a value, reads Host less strictly, and closes after a 412.
 */
const wrongMax = 0.1;

function configuration(directory: string, port: number, originUrl: string): string {
  return `daemon off;
master_process off;
pid ${directory}/pid;
error_log ${directory}/error.log;
worker_processes 1;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  proxy_temp_path ${directory}/proxy;
  proxy_cache_path ${directory}/cache keys_zone=one:1m;
  client_header_timeout 3s;
  client_body_timeout 3s;
  server {
    listen ${address}:${port} default_server;
    location / {
      if ($request_method !~ ^(GET|HEAD)$) { return 405; }
      proxy_cache one;
      proxy_pass ${originUrl};
      proxy_force_ranges on;
    }
  }
}
`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, address);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function startNginx(t: TestContext, originUrl: string): Promise<Server> {
  const directory = await mkdtemp(join(tmpdir(), "nearcast-nginx-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const port = await freePort();
  const file = join(directory, "nginx.conf");
  await writeFile(file, configuration(directory, port, originUrl));
  const nginx = spawn("nginx", ["-p", directory, "-e", join(directory, "error.log"), "-c", file], { stdio: "inherit" });
  const ended = once(nginx, "exit");
  t.after(async () => {
    nginx.kill();
    await ended;
  });
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (await isListening(port)) return { address, port };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("nginx does not listen");
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, address);
  const result = await once(socket, "connect").then(
    () => true,
    () => false,
  );
  socket.destroy();
  return result;
}

function described({ statuses, isOpen }: Outcome): string {
  return `${statuses === "" ? "nothing" : statuses}${isOpen ? "" : ", closed"}`;
}

function rowOf({ name, rfc, right, after }: RawCase, edge: Outcome, nginx: Outcome): string {
  const marked = (outcome: Outcome): string => `${described(outcome)}${outcome.wrong === null ? "" : " ✗"}`;
  const cells = [name, rfc, `${right}, ${after}`, marked(edge), marked(nginx)];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

test("nginx answers nearly all raw requests as the table says", async (t) => {
  if (!needsProgram(t, "nginx")) return;
  const edge = await startEdge(t);
  tellOrigin(edge.origin);
  await edge.ask("/a");
  const nginx = await startNginx(t, edge.origin.url);
  const rows: string[] = [];
  let wrong = 0;
  const left = [...corpus.entries()];
  const work = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [index, one] = next;
      const [ours, theirs] = await Promise.all([runCase(edge.listeners().fronted, one), runCase(nginx, one)]);
      if (theirs.wrong !== null) wrong += 1;
      const isEqual = ours.statuses === theirs.statuses && ours.isOpen === theirs.isOpen;
      if (!isEqual || theirs.wrong !== null) rows[index] = rowOf(one, ours, theirs);
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
  if (process.env["TABLE"] !== undefined) {
    const head = "| case | RFC | right | edge | nginx |\n| --- | --- | --- | --- | --- |";
    process.stdout.write(`${[head, ...rows.filter((row) => row !== undefined)].join("\n")}\n`);
  }
  t.diagnostic(`nginx is not right in ${wrong} of ${corpus.length} cases`);
  assert.ok(wrong < corpus.length * wrongMax, `nginx is not right in ${wrong} of ${corpus.length} cases`);
});
