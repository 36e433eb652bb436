/**
 * A browser and `nearcast up`: Chromium gets the authority that `up` names, as people import it, and then loads a page
 * of a hundred pictures over one HTTP/2 connection.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";
import sharp from "sharp";
import { needsProgram } from "../support/needs.ts";
import { nearcast, startUp, temporaryFolder } from "./support/command.ts";

const pictures = 100;
const host = "img.cdn.test";

/** A message of the Chrome DevTools Protocol. */
interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly type?: string; readonly response?: Received };
  readonly result?: { readonly targetId?: string; readonly sessionId?: string; readonly result?: { value: unknown } };
  readonly error?: object;
}

/** A response, as the browser tells of it. */
interface Received {
  readonly url: string;
  readonly status: number;
  readonly protocol: string;
  readonly mimeType: string;
  readonly connectionId: number;
}

interface Page {
  readonly evaluate: (expression: string) => Promise<unknown>;
  readonly received: readonly Received[];
}

/** Starts Chromium, which trusts `authorityFile`, and opens an empty page. */
async function openPage(t: TestContext, address: string, authorityFile: string): Promise<Page> {
  const home = await temporaryFolder(t, "browser");
  const database = `sql:${join(home, ".pki", "nssdb")}`;
  await mkdir(join(home, ".pki", "nssdb"), { recursive: true });
  execFileSync("certutil", ["-d", database, "-N", "--empty-password"]);
  execFileSync("certutil", ["-d", database, "-A", "-t", "C,,", "-n", "nearcast", "-i", authorityFile]);
  const args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
  const where = [`--user-data-dir=${join(home, "profile")}`, `--host-resolver-rules=MAP ${host} ${address}`];
  const browser = spawn("chromium", [...args, ...where, "--remote-debugging-port=0", "about:blank"], {
    env: { ...process.env, HOME: home },
    stdio: ["ignore", "ignore", "pipe"],
  });
  t.after(async () => {
    browser.kill("SIGKILL");
    if (browser.exitCode === null && browser.signalCode === null) await once(browser, "exit");
  });
  const socket = new WebSocket(await debuggingUrl(browser.stderr));
  t.after(() => {
    socket.close();
  });
  await once(socket, "open");
  return await attach(socket);
}

async function debuggingUrl(errors: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface({ input: errors })) {
    const url = /^DevTools listening on (\S+)/.exec(line)?.[1];
    if (url !== undefined) return url;
  }
  throw new Error("the browser ended");
}

async function attach(socket: WebSocket): Promise<Page> {
  const received: Received[] = [];
  const waiting = new Map<number, (message: Message) => void>();
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(String(data)) as Message;
    if (message.id !== undefined) waiting.get(message.id)?.(message);
    const response = message.params?.response;
    if (message.method === "Network.responseReceived" && response !== undefined) received.push(response);
  });
  let last = 0;
  const send = async (method: string, params: object, sessionId?: string): Promise<NonNullable<Message["result"]>> => {
    const id = (last += 1);
    const { promise, resolve } = Promise.withResolvers<Message>();
    waiting.set(id, resolve);
    socket.send(JSON.stringify({ id, method, params, sessionId }));
    const { result, error } = await promise;
    assert.ok(result !== undefined, `${method}: ${JSON.stringify(error)}`);
    return result;
  };
  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
  await send("Network.enable", {}, sessionId);
  return {
    received,
    async evaluate(expression) {
      const { result } = await send("Runtime.evaluate", { expression, awaitPromise: true }, sessionId);
      return result?.value;
    },
  };
}

test("Chromium loads a page of a hundred pictures over one HTTP/2 connection", { timeout: 240_000 }, async (t) => {
  if (!needsProgram(t, "chromium") || !needsProgram(t, "certutil")) return;
  const folder = await temporaryFolder(t, "pictures");
  for (let index = 0; index < pictures; index += 1) {
    const background = { r: index, g: 90, b: 255 - index };
    const create = { width: 160 + index, height: 120, channels: 3, background } as const;
    await writeFile(join(folder, `${index}.jpg`), await sharp({ create }).jpeg().toBuffer());
  }
  const data = join(await temporaryFolder(t, "up"), "data");
  const up = await startUp(t, data);
  const put = await nearcast(["put", folder, "page", "--data", data]);
  assert.equal(put.status, 0, put.stderr);
  const authority = /--cacert (\S+) /.exec(up.said())?.[1] ?? "";
  assert.match(await readFile(authority, "utf8"), /BEGIN CERTIFICATE/);

  const page = await openPage(t, up.address, authority);
  const widths = await page.evaluate(`Promise.all(Array.from({ length: ${pictures} }, (_, index) => {
    const image = new Image();
    image.src = "https://${host}:8443/page/" + index + ".jpg?auto=format&w=" + (60 + index);
    document.body.append(image);
    return image.decode().then(() => image.naturalWidth, (error) => String(error));
  })).then((widths) => widths.join(" "))`);
  assert.equal(widths, Array.from({ length: pictures }, (_, index) => String(60 + index)).join(" "));
  assert.equal(page.received.length, pictures);
  assert.deepEqual(new Set(page.received.map(({ protocol, status }) => `${protocol} ${status}`)), new Set(["h2 200"]));
  assert.deepEqual(new Set(page.received.map(({ mimeType }) => mimeType)), new Set(["image/avif"]));
  assert.equal(new Set(page.received.map(({ connectionId }) => connectionId)).size, 1);
});
