/** `nearcast up` and every verb against what it runs, as a user would: one machine, real processes. */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import sharp from "sharp";
import { needsProgram } from "../support/needs.ts";
import {
  launcher,
  nearcast,
  ownAddress,
  type Ran,
  type RunningUp,
  startUp,
  temporaryFolder,
} from "./support/command.ts";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { get as getSecurely } from "node:https";
import { connect as connectTls, type TLSSocket } from "node:tls";

async function jpeg(red: number, width = 400): Promise<Buffer> {
  const background = { r: red, g: 90, b: 120 };
  return await sharp({ create: { width, height: 300, channels: 3, background } })
    .jpeg()
    .toBuffer();
}

/** A verb with the folder's settings; fails the test when its status is another one. */
function verbsOf(data: string): (words: readonly string[], status?: number) => Promise<Ran> {
  return async (words, status = 0) => {
    const ran = await nearcast([...words, "--data", data]);
    assert.equal(ran.status, status, `${words.join(" ")}: ${ran.stderr}${ran.stdout}`);
    return ran;
  };
}

/** Waits until `look` is true; a child of `up` comes back after ten seconds at the latest. */
async function eventually(what: string, look: () => Promise<boolean>, deadlineMs = 120_000): Promise<void> {
  const signal = AbortSignal.timeout(deadlineMs);
  for (;;) {
    if (await look().catch(() => false)) return;
    assert.ok(!signal.aborted, `not within ${deadlineMs} ms: ${what}`);
    await pause(50);
  }
}

test("two run side by side, each with its folder and address; one that fails leaves status to the last", async (t) => {
  const folder = await temporaryFolder(t, "beside");
  const [first, second] = [join(folder, "one"), join(folder, "two")];
  const one = await startUp(t, first);
  const two = await startUp(t, second);
  const nodeOf = async (data: string): Promise<string> => {
    const { nodes } = (await verbsOf(data)(["status", "--json"])).json() as { nodes: { adminUrl: string }[] };
    return nodes.map(({ adminUrl }) => adminUrl).join();
  };
  assert.deepEqual(
    [await nodeOf(first), await nodeOf(second)],
    [`http://${one.address}:8081`, `http://${two.address}:8081`],
  );
  assert.equal(await two.stop(), 0);
  // The second now wants the first one's address: its own folder still says where it ran.
  const state = await readFile(join(second, "up.json"), "utf8");
  const settings = await readFile(join(second, "edge-local1.yaml"), "utf8");
  const refused = await nearcast(["up", "--data", second, "--address", one.address, "--sites", "fra"]);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, new RegExp(`${one.address}:7070/tcp \\(the origin\\) is in use`));
  assert.equal(await readFile(join(second, "up.json"), "utf8"), state);
  assert.equal(await readFile(join(second, "edge-local1.yaml"), "utf8"), settings);
  assert.equal(await nodeOf(first), `http://${one.address}:8081`);
  // Nobody holds the folder any more: it starts where it was.
  const again = await startUp(t, second, { address: two.address });
  assert.equal(await nodeOf(second), `http://${again.address}:8081`);
});

test("up runs everything, each verb works on it, and a second start goes on where the first ended", async (t) => {
  const data = join(await temporaryFolder(t, "up"), "data");
  let up = await startUp(t, data);
  const verb = verbsOf(data);
  const { address } = up;

  await t.test("the lines to paste work", async (step) => {
    const curl = /curl .*/.exec(up.said())?.[0] ?? "";
    const url = /'(http:[^']+)'/.exec(curl)?.[1] ?? "";
    const get = async (): Promise<Response> => await fetch(url, { headers: { accept: "image/avif,image/webp" } });
    const first = await get();
    assert.equal(first.status, 200);
    assert.equal(first.headers.get("content-type"), "image/avif");
    assert.equal((await sharp(Buffer.from(await first.arrayBuffer())).metadata()).width, 640);
    assert.match((await get()).headers.get("cache-status") ?? "", /hit/);
    if (!needsProgram(step, "dig")) return;
    const words = (/ dig (.*)/.exec(up.said())?.[1] ?? "").split(" ");
    assert.equal(execFileSync("dig", [...words, "+short"], { encoding: "utf8" }).trim(), address);
  });

  await t.test("HTTPS answers with a certificate of the authority that it names, over HTTP/2 as well", async () => {
    const [, authority = "", url = ""] = /--cacert (\S+) '(https:[^']+)'/.exec(up.said()) ?? [];
    const ca = await readFile(authority);
    const status = await new Promise((resolve, reject) => {
      const asked = getSecurely(url, { ca, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      });
      asked.on("error", reject);
    });
    assert.equal(status, 200);
    const createConnection = (): TLSSocket =>
      connectTls({ host: address, port: 8443, servername: "img.cdn.test", ca, ALPNProtocols: ["h2"] });
    const session = connectHttp2("https://img.cdn.test", { createConnection });
    const stream = session.request({ ":path": "/sample.jpg?w=320" });
    const [fields] = (await once(stream, "response")) as [IncomingHttpHeaders];
    stream.resume();
    session.close();
    assert.equal(fields[":status"], 200);
    await assert.rejects(fetch(url), "nobody else trusts it");
    const { nodes } = (await verb(["status", "--json"])).json() as { nodes: { status?: { tls?: unknown } }[] };
    assert.match(JSON.stringify(nodes), /"hostsWithout":\[\]/);
  });

  await t.test("tokens and nothing else are kept from other users", async () => {
    const secrets = join(data, "origin", "secrets");
    for (const file of await readdir(secrets))
      assert.equal((await stat(join(secrets, file))).mode & 0o777, 0o600, file);
  });

  await t.test("put, ls, versions, rollback, rm", async () => {
    const folder = await temporaryFolder(t, "pictures");
    await writeFile(join(folder, "a.jpg"), await jpeg(10));
    await writeFile(join(folder, "b.jpg"), await jpeg(200, 500));
    await writeFile(join(folder, "bad.jpg"), "no picture at all");
    const stored = await verb(["put", join(folder, "a.jpg"), "shop/chair.jpg"]);
    assert.match(stored.stdout, /^shop\/chair\.jpg: version 1 \(jpeg, 400×300/);
    await verb(["put", join(folder, "b.jpg"), "shop/chair.jpg"]);
    const many = await verb(["put", folder, "many", "--json"], 4);
    const { stored: some, failed } = many.json() as {
      stored: { name: string }[];
      failed: { name: string; code: string }[];
    };
    assert.deepEqual(some.map(({ name }) => name).toSorted(), ["many/a.jpg", "many/b.jpg"]);
    assert.deepEqual(
      failed.map(({ name, code }) => [name, code]),
      [["many/bad.jpg", "UNSUPPORTED_IMAGE"]],
    );
    const again = await verb(["put", folder, "many"], 4);
    assert.match(again.stdout, /^0 stored \(0 B\), 2 unchanged, 1 failed\n/);

    const widthOf = async (): Promise<number> => {
      const answer = await fetch(`http://${address}:8080/shop/chair.jpg`);
      return (await sharp(Buffer.from(await answer.arrayBuffer())).metadata()).width;
    };
    assert.equal(await widthOf(), 500);
    await verb(["rollback", "shop/chair.jpg"]);
    await eventually("the edge gives the old picture", async () => (await widthOf()) === 400);
    const versions = (await verb(["versions", "shop/chair.jpg", "--json"])).json() as {
      versions: { reason: string }[];
    };
    assert.deepEqual(
      versions.versions.map(({ reason }) => reason),
      ["rollback", "put", "put"],
    );

    await verb(["rm", "many/a.jpg"]);
    assert.match((await verb(["rm", "many/a.jpg"], 4)).stderr, /already deleted/);
    const listed = (await verb(["ls", "--json"])).json() as { images: { name: string }[] };
    assert.deepEqual(
      listed.images.map(({ name }) => name),
      ["many/b.jpg", "sample.jpg", "shop/chair.jpg"],
    );
    assert.match((await verb(["ls", "shop/"])).stdout, /shop\/chair\.jpg +3 +jpeg +400×300/);
  });

  await t.test("purge, explain, status, dig", async () => {
    const url = `http://${address}:8080/sample.jpg?w=100`;
    assert.equal((await fetch(url)).status, 200);
    const explained = (await verb(["explain", url, "--json"])).json() as { host: string; verdict: string };
    assert.deepEqual([explained.host, explained.verdict], ["img.cdn.test", "fresh"]);
    const asBrowser = await verb(["explain", url]);
    assert.match(asBrowser.stdout, /^for a common browser, which sends Accept: image\/avif,image\/webp,/);
    assert.match(asBrowser.stdout, /At +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d$/m, "times are dates");
    const asOther = (await verb(["explain", url, "--accept", "image/png", "--json"])).json() as Record<string, string>;
    assert.deepEqual([asOther["accept"], asOther["acceptIs"]], ["image/png", "as given"]);
    await verb(["purge", url]);
    await eventually("the edge has dropped it", async () => {
      const after = (await verb(["explain", url, "--json"])).json() as { verdict: string };
      return after.verdict !== "fresh";
    });
    const name = (await verb(["explain", "img.cdn.test", "--from", "81.2.69.160", "--json"])).json();
    assert.equal((name as { outcome: string }).outcome, "steered");
    assert.match((await verb(["status"])).stdout, /local1 +local +ready/);
    const dug = (await verb(["dig", "img.cdn.test", "--from", "81.2.69.160", "--json"])).json();
    const { rcode, answers } = dug as { rcode: string; answers: { value: string }[] };
    assert.deepEqual([rcode, answers.map(({ value }) => value)], ["NOERROR", [address]]);
    assert.match((await verb(["dig", "cdn.test", "--type", "SOA", "--tcp"])).stdout, /IN {2}SOA {2}ns1\.cdn\.test\./);
    const foreign = await verb(["dig", "example.com"], 4);
    assert.match(foreign.stdout, /^REFUSED: this server has no zone for the name/m);
    const outside = await verb(["explain", "example.com"]);
    assert.match(outside.stdout, /REFUSED: the name lies in none of the zones \(cdn\.test\)$/m);
  });

  await t.test("purge warns before its table, of what no node held", async () => {
    const words = ["purge", "sampel.jpg", "--wait", "--data", data];
    const run = [process.execPath, launcher, ...words].map((word) => `'${word}'`).join(" ");
    const both = execFileSync("sh", ["-c", `${run} 2>&1`], { encoding: "utf8" });
    assert.match(both, /^warning: no node held anything for the name "sampel\.jpg" \(.*"sample\.jpg"\?\)\npurged: /);
  });

  await t.test("explain says what is served where a URL has another host or no picture", async () => {
    const wrongHost = await verb(["explain", "http://imgs.cdn.test/sample.jpg"], 4);
    assert.match(
      wrongHost.stderr,
      /"imgs\.cdn\.test" is not served here \(served: img\.cdn\.test\); did you mean img\.cdn\.test\?/,
    );
    const wrongName = await verb(["explain", `http://${address}:8080/sampel.jpg`]);
    assert.match(wrongName.stderr, /the origin has no picture "sampel\.jpg"; did you mean "sample\.jpg"\?/);
    assert.match(wrongName.stdout, /^picture {2}sampel\.jpg, .*\nanswer {3}not cached on this node/m);
    const right = await verb(["explain", `http://${address}:8080/sample.jpg?w=640`]);
    assert.doesNotMatch(right.stderr, /no picture/);
    const steered = await verb(["explain", "img.cdn.test"]);
    assert.match(steered.stdout, /TTL +\d+ s, (?:the longest allowed \(ttlSeconds\)|the shortest|since)/);
  });

  await t.test("secret rotate: the node takes the new one, and status shows which it has", async () => {
    const rotated = (await verb(["secret", "rotate", "--json"])).json() as { id: string; previousId: string };
    assert.match(rotated.id, /^[0-9a-f]{16}$/);
    await eventually("the node has it", async () => {
      return (await verb(["status"])).stdout.includes(` ${rotated.id.slice(0, 8)} `);
    });
    const again = await verb(["secret", "rotate"]);
    assert.match(again.stdout, new RegExp(`the fleet secret is now [0-9a-f]{16}; ${rotated.id} is still accepted`));
  });

  await t.test("apply, releases, rollback of the fleet document", async () => {
    const fleet = join(data, "fleet.yaml");
    const text = await fleetText(up, data);
    await writeFile(fleet, text.replace("ttlSeconds: 30", "ttlSeconds: 7"));
    // Nobody can be asked here, and this changes what is there.
    assert.match((await verb(["fleet", "apply", fleet], 2)).stderr, /nothing was published.*\n.*--yes/);
    const published = await verb(["fleet", "apply", fleet, "--yes"]);
    assert.match(
      published.stderr,
      /against version 1 \(\+ added, - removed, ~ changed\):\n  ~ name img\.cdn\.test: .*ttlSeconds 30 → 7/,
    );
    assert.match(published.stdout, /^published as version 2 \(/);
    assert.match((await verb(["fleet", "apply", fleet])).stdout, /version 2 already has this text/);
    await verb(["fleet", "rollback"]);
    const old = await verb(["rollback", "2"]);
    assert.match(old.stderr, /`npx nearcast rollback 2` is now `npx nearcast fleet rollback 2`/);
    await verb(["fleet", "rollback", "99"], 4);
    assert.match((await verb(["fleet", "show", "--version", "2"])).stdout, /ttlSeconds: 7\b/);
    const { versions } = (await verb(["fleet", "releases", "--json"])).json() as {
      versions: { version: number; fromVersion?: number; summary: string; author: string }[];
    };
    assert.deepEqual(
      versions.map(({ version, fromVersion }) => [version, fromVersion]),
      [
        [4, 2],
        [3, 1],
        [2, undefined],
        [1, undefined],
      ],
    );
    for (const { summary, author } of versions) assert.ok(summary !== "" && author !== "");
  });

  /** All that other verbs go by. */
  const settingsIn = async (folder: string): Promise<string[]> => {
    const files = (await readdir(folder)).filter((file) => /\.(?:json|yaml)$/.test(file)).toSorted();
    return await Promise.all(files.map(async (file) => `${file}: ${await readFile(join(folder, file), "utf8")}`));
  };

  await t.test("a second `up` on the same addresses says which are taken, and leaves nothing behind", async () => {
    const other = join(data, "other");
    const refused = await nearcast(["up", "--data", other, "--address", address]);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, new RegExp(`${address}:8080/tcp \\(HTTP of edge local1\\) is in use`));
    assert.match(refused.stderr, /npx nearcast up --data \.\/data2 --address 127\.0\.101\.1/);
    await assert.rejects(stat(other), { code: "ENOENT" });
  });

  await t.test(
    "a second `up` on the same folder is refused before anything is changed; status asks the first",
    async () => {
      const before = await settingsIn(data);
      for (const words of [[], ["--address", ownAddress()], ["--sites", "fra,nyc"], ["--nodes", "2"]]) {
        const refused = await nearcast(["up", "--data", data, ...words]);
        assert.equal(refused.status, 1, words.join(" "));
        assert.match(refused.stderr, /another `npx nearcast up` is using .*; nothing was changed/);
        assert.match(refused.stderr, new RegExp(`It runs the nodes local1; the origin is http://${address}:7070`));
        assert.match(refused.stderr, /npx nearcast up --data \.\/data2 --address 127\.0\.101\.1/);
        assert.deepEqual(await settingsIn(data), before, words.join(" "));
      }
      assert.match((await verb(["status"])).stdout, /local1 +local +ready/);
    },
  );

  await t.test("Ctrl-C stops all; started again, tokens, pictures, fleet and edited settings are kept", async () => {
    const startedMs = performance.now();
    assert.equal(await up.stop("SIGINT"), 0);
    assert.ok(performance.now() - startedMs < 5500, "it took longer than 5 s");
    await assert.rejects(fetch(`http://${address}:7070/healthz`));
    const settings = join(data, "edge-local1.yaml");
    const edited = (await readFile(settings, "utf8")).replace("drainMs: 1000", "drainMs: 10");
    await writeFile(settings, edited);
    const token = await readFile(join(data, "origin", "secrets", "writer.token"), "utf8");
    up = await startUp(t, data, { address });
    assert.equal(await readFile(join(data, "origin", "secrets", "writer.token"), "utf8"), token);
    assert.equal(await readFile(settings, "utf8"), edited);
    assert.match((await verb(["status"])).stdout, /fleet version 4/);
    assert.equal((await fetch(`http://${address}:8080/shop/chair.jpg?w=50`)).status, 200);
  });

  await t.test("when `up` is killed its children end by themselves", async () => {
    await up.stop("SIGKILL");
    await eventually("the origin is gone", async () => await isGone(`http://${address}:7070/healthz`));
    await eventually("the edge is gone", async () => await isGone(`http://${address}:8081/healthz`));
  });

  await t.test("an upload waits for an origin that is being started", async () => {
    const picture = join(data, "late.jpg");
    await writeFile(picture, await jpeg(77));
    const uploading = verb(["put", picture]);
    up = await startUp(t, data, { address });
    const { stdout, stderr } = await uploading;
    assert.match(stdout, /^late\.jpg: version 1/);
    assert.match(stderr, /^the origin at .* can't be reached.*retrying/);
    assert.equal(await up.stop(), 0);
  });
});

test("with --sites each site answers for its part of the world, and an edge that dies is started again", async (t) => {
  const data = join(await temporaryFolder(t, "sites"), "data");
  const up = await startUp(t, data, { words: ["--sites", "fra,nyc,tyo"] });
  const verb = verbsOf(data);
  const [, second, third = 0] = up.address.split(".").map(Number);
  const addressOf = { fra: 1, nyc: 2, tyo: 3 };
  const siteFor = async (client: string): Promise<string> => {
    const dug = (await verb(["dig", "img.cdn.test", "--from", client, "--json"])).json();
    const [answer] = (dug as { answers: { value: string }[] }).answers;
    const found = Object.entries(addressOf).find(([, n]) => answer?.value === `127.${second}.${third + n}.1`);
    return found?.[0] ?? `nobody (${answer?.value})`;
  };
  assert.equal(await siteFor("133.11.1.0/24"), "tyo");
  assert.equal(await siteFor("81.2.69.0/24"), "fra");
  assert.equal(await siteFor("8.8.8.0/24"), "nyc");

  const tokyo = `http://127.${second}.${third + 3}.1:8081`;
  const { pid } = (await (await fetch(`${tokyo}/status`)).json()) as { pid: number };
  process.kill(pid, "SIGKILL");
  await up.saying("edge tyo1 was killed by SIGKILL");
  await eventually("no answer names tyo", async () => (await siteFor("133.11.1.0/24")) !== "tyo", 30_000);
  assert.match((await verb(["status"], 3)).stdout, /tyo1 +tyo +unreachable/);
  await up.saying("edge tyo1 was restarted");
  await eventually("tyo is answered again", async () => (await siteFor("133.11.1.0/24")) === "tyo");
  assert.equal(await up.stop("SIGTERM"), 0);

  const { address } = up;
  const alone = await startUp(t, data, { words: ["--sites", "local"], address });
  assert.match(alone.said(), /published version 2 of the fleet document/);
  const { nodes } = (await verb(["status", "--json"])).json() as { nodes: { site: string; fleetVersion: number }[] };
  assert.deepEqual(
    nodes.map(({ site, fleetVersion }) => [site, fleetVersion]),
    [["local", 2]],
  );
  assert.equal(await alone.stop(), 0);
});

test("a process that can't start is reported with the end of its log, and nothing is left running", async (t) => {
  const data = join(await temporaryFolder(t, "broken"), "data");
  const secrets = join(data, "origin", "secrets");
  await mkdir(secrets, { recursive: true });
  await writeFile(join(secrets, "writer.token"), "x".repeat(43), { mode: 0o644 });
  const address = ownAddress();
  const { status, stderr } = await nearcast(["up", "--data", data, "--address", address]);
  assert.equal(status, 1);
  assert.match(stderr, /origin exited with status 1 while starting[\s\S]*chmod 600/);
  assert.ok(await isGone(`http://${address}:7070/healthz`));
});

async function isGone(url: string): Promise<boolean> {
  return await fetch(url).then(
    () => false,
    () => true,
  );
}

async function fleetText(up: RunningUp, data: string): Promise<string> {
  const token = (await readFile(join(data, "origin", "secrets", "writer.token"), "utf8")).trim();
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`http://${up.address}:7070/api/v1/fleet`, { headers });
  return ((await answer.json()) as { text: string }).text;
}
