import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { check } from "#base/schema.ts";
import { edgeConfigSchema, type EdgeConfig } from "../../../node/config.ts";
import { configOfProcess, readProcesses, sharingProblems } from "../../../node/processes/process-share.ts";

const mebibyte = 1024 * 1024;

function edgeConfig(more: object = {}): EdgeConfig {
  const origin = { url: "http://127.0.0.1:1", tokenFile: "token" };
  const checked = check(edgeConfigSchema, { node: "fra1", site: "fra", origin, dataDir: "/data", ...more });
  assert.ok(checked.ok, JSON.stringify(checked));
  return checked.value;
}

test("how many processes a word asks for", () => {
  const rows: [text: string, count: number | undefined][] = [
    ["1", 1],
    ["64", 64],
    ["auto", Math.min(64, availableParallelism())],
    ...["0", "65", "100", "-1", "1.5", "01", "1e1", "", " 1", "Auto", "all"].map((text): [string, undefined] => {
      return [text, undefined];
    }),
  ];
  for (const [text, count] of rows) assert.equal(readProcesses(text), count, text);
});

test("one process gets the configuration as it is", () => {
  const config = edgeConfig();
  assert.equal(configOfProcess(config, 0, 1), config);
  assert.deepEqual(sharingProblems(edgeConfig({ http: [{ port: 0 }], dns: { addresses: [{ port: 0 }] } }), 1), []);
});

test("each of several gets its share, and ports and a directory of its own", () => {
  const config = edgeConfig({
    http: [{ host: "192.0.2.1", port: 80 }],
    admin: { port: 9000 },
    peer: { host: "192.0.2.1", port: 9100 },
    announce: { source: "127.0.0.2", nextHops: ["192.0.2.1"] },
    cache: { memoryBytes: 100 * mebibyte, diskBytes: 1000 },
    decoders: { processes: 7 },
    dns: { responsesPerSecond: 1000, threads: 2 },
  });
  const third = configOfProcess(config, 2, 3);
  assert.equal(third.dataDir, "/data/process-2");
  assert.deepEqual(third.admin, { host: "127.0.0.1", port: 9002, hosts: [] });
  assert.deepEqual(third.peer, { host: "192.0.2.1", port: 9102 });
  assert.equal(third.announce?.source, "127.0.0.2", "the lease counts on by itself");
  assert.deepEqual(third.cache, { memoryBytes: Math.floor((100 * mebibyte) / 3), diskBytes: 333 });
  assert.equal(third.decoders.processes, 2);
  assert.equal(third.dns.responsesPerSecond, 333);
  assert.equal(third.dns.threads, 2);
  for (const key of ["node", "site", "http", "origin", "drainMs", "logLevel"] as const) {
    assert.equal(third[key], config[key], key);
  }
  const first = configOfProcess(config, 0, 3);
  assert.equal(first.dataDir, "/data", "going from one process to several loses no cache");
  assert.deepEqual([first.admin.port, first.peer?.port], [9000, 9100]);
  assert.deepEqual(sharingProblems(config, 3), []);
});

test("what is off stays off, and nothing is divided below its minimum", () => {
  const config = edgeConfig({
    admin: { port: 0 },
    cache: { memoryBytes: mebibyte, diskBytes: 0 },
    decoders: { processes: 1 },
    dns: { responsesPerSecond: 0 },
  });
  const last = configOfProcess(config, 63, 64);
  assert.equal(last.admin.port, 0);
  assert.deepEqual(last.cache, { memoryBytes: mebibyte, diskBytes: 0 });
  assert.equal(last.decoders.processes, 1);
  assert.equal(last.dns.responsesPerSecond, 0);
  assert.equal("peer" in last, false);
  assert.equal("announce" in last, false);
  const few = configOfProcess(edgeConfig({ dns: { responsesPerSecond: 3 } }), 0, 64);
  assert.equal(few.dns.responsesPerSecond, 1, "0 would be no limit");
});

test("what every process gets is a good configuration, up to the most processes", () => {
  const peer = { host: "192.0.2.1", port: 9100 };
  const config = edgeConfig({ admin: { port: 9000 }, peer });
  assert.deepEqual(sharingProblems(config, 64), []);
  for (let index = 0; index < 64; index++) {
    const checked = check(edgeConfigSchema, configOfProcess(config, index, 64));
    assert.ok(checked.ok, JSON.stringify(checked));
  }
});

test("what several processes can't share is named", () => {
  const rows: [config: object, count: number, path: string | undefined, message?: RegExp][] = [
    [{ http: [{ port: 80 }, { port: 0 }] }, 2, "http[1].port", /any free port/],
    [{ dns: { addresses: [{ port: 0 }] } }, 2, "dns.addresses[0].port", /any free port/],
    [{ admin: { port: 65_534 } }, 2, undefined],
    [{ admin: { port: 65_534 } }, 3, "admin.port", /65536/],
    // By default admin has 8081 and HTTP 8080, both on loopback.
    [{ admin: { port: 8078 } }, 2, undefined],
    [{ admin: { port: 8078 } }, 3, "admin.port", /8080 is taken by http\[0\]\.port/],
    [{ peer: { host: "127.0.0.1", port: 8082 } }, 2, "peer.port", /8082 is taken by admin\.port/],
    [{ peer: { host: "0.0.0.0", port: 8082 } }, 2, "peer.port", /8082 is taken by admin\.port/],
    [{ peer: { host: "192.0.2.1", port: 8082 } }, 64, undefined],
    [{ peer: { host: "127.0.0.1", port: 5299 } }, 2, "peer.port", /5300 is taken by dns\.addresses\[0\]\.port/],
  ];
  for (const [config, count, path, message] of rows) {
    const problems = sharingProblems(edgeConfig(config), count);
    assert.deepEqual(
      problems.map((problem) => problem.path),
      path === undefined ? [] : [path],
      JSON.stringify(config),
    );
    if (message !== undefined) assert.match(problems[0]?.message ?? "", message);
  }
});
