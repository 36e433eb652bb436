/** An origin for a test: its own directory, a free port, real decoders; stopped and removed when the test ends. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import sharp from "sharp";
import { systemClock, type Clock } from "#base/clock.ts";
import { type Log, silentLog } from "#base/log.ts";
import { check } from "#base/schema.ts";
import { openDecoderPool } from "#image/pool.ts";
import { originConfigSchema, type OriginConfig } from "../../origin/config.ts";
import { startOrigin, type RunningOrigin } from "../../origin/start.ts";
import type { Inspector } from "../../origin/upload/store-upload.ts";

/** What a test hangs its cleaning up on. */
export interface Scope {
  after: (cleanUp: () => Promise<void>) => void;
}

/** The scope of a whole test file. */
export const wholeFile: Scope = {
  after: (cleanUp) => {
    after(cleanUp);
  },
};

let pool: ReturnType<typeof openDecoderPool> | undefined;

/** One pool for a test file, started when it is first needed. */
export function filePool(): Inspector {
  return {
    inspect: async (source, options) => {
      pool ??= openDecoderPool({ size: 1, clock: systemClock, log: silentLog });
      return await pool.inspect(source, options);
    },
  };
}
after(async () => {
  await pool?.close({ graceMs: 0 });
});

export interface Call {
  token?: string | null;
  body?: string | Buffer;
  headers?: Record<string, string>;
}

export interface TestOrigin extends RunningOrigin {
  readonly port: number;
  readonly dataDir: string;
  readonly tokens: { readonly writer: string; readonly edge: string };
  /** By default with the writer's token; null: with none. `path` begins after /api/v1 unless it begins with http. */
  readonly call: (method: string, path: string, call?: Call) => Promise<Response>;
  /** The same, its JSON body, and its status checked. */
  readonly json: <Body = Record<string, unknown>>(
    status: number,
    method: string,
    path: string,
    call?: Call,
  ) => Promise<Body>;
}

export async function temporaryDirectory(scope: Scope): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "nearcast-origin-"));
  scope.after(async () => {
    await rm(directory, { recursive: true, force: true, maxRetries: 20 });
  });
  return directory;
}

type Overrides = {
  [Key in keyof OriginConfig]?: OriginConfig[Key] extends object ? Partial<OriginConfig[Key]> : OriginConfig[Key];
};

export function testConfig(dataDir: string, overrides: Overrides = {}): OriginConfig {
  const listen = { ...overrides.listen, port: 0 };
  const checked = check(originConfigSchema, { drainMs: 300, ...overrides, dataDir, listen });
  if (!checked.ok) throw new Error(JSON.stringify(checked.problems));
  return checked.value;
}

export async function startTestOrigin(
  scope: Scope,
  options: { config?: Overrides; clock?: Clock; inspector?: Inspector; dataDir?: string; log?: Log } = {},
): Promise<TestOrigin> {
  const dataDir = options.dataDir ?? (await temporaryDirectory(scope));
  const { clock = systemClock, inspector = filePool(), log = silentLog } = options;
  const origin = await startOrigin(testConfig(dataDir, options.config), { clock, inspector, log });
  scope.after(origin.close);
  const tokens = tokensOf(origin);
  const call: TestOrigin["call"] = async (method, path, { token = tokens.writer, body, headers = {} } = {}) =>
    await fetch(path.startsWith("http") ? path : `${origin.url}/api/v1${path}`, {
      method,
      headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : new Uint8Array(body) }),
    });
  return {
    ...origin,
    port: Number(new URL(origin.url).port),
    dataDir,
    tokens,
    call,
    json: async <Body>(status: number, method: string, path: string, options_: Call = {}): Promise<Body> => {
      const answer = await call(method, path, options_);
      const text = await answer.text();
      if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status}, not ${status}: ${text}`);
      return JSON.parse(text) as Body;
    },
  };
}

export function tokensOf(origin: RunningOrigin): { writer: string; edge: string } {
  return {
    writer: readFileSync(origin.tokenFiles.writer, "utf8").trim(),
    edge: readFileSync(origin.tokenFiles.edge, "utf8").trim(),
  };
}

/** A small JPEG whose bytes depend on `mark`. */
export async function jpeg(mark: number, width = 40, height = 30): Promise<Buffer> {
  const picture = sharp({ create: { width, height, channels: 3, background: "#6a7" } });
  return await picture
    .withExif({ IFD0: { Copyright: String(mark) } })
    .jpeg()
    .toBuffer();
}

/** Sends bytes as they are and returns all that comes back until the server closes, or `isEnough` says so. */
export async function raw(
  port: number,
  text: string | Buffer,
  isEnough: (text: string) => boolean = () => false,
): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let received = "";
  const socket = connect(port, "127.0.0.1", () => socket.write(text));
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    received += chunk;
    if (isEnough(received)) socket.destroy();
  });
  socket.on("error", () => undefined);
  socket.on("close", () => {
    resolve(received);
  });
  return await promise;
}

/** The status of a raw answer. */
export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);
}

/** The code of the problem in a raw answer. */
export function codeOf(answer: string): string {
  return /"code":"([A-Z_]+)"/.exec(answer)?.[1] ?? "";
}

export const fleetExample = (sites: readonly string[] = ["fra"], extra = ""): string => `
zones:
  - name: cdn.test
    nameservers: [{ name: ns1, addresses: [127.0.0.1] }]
sites:
${sites
  .map(
    (name, index) => `  - name: ${name}
    place: { latitude: 50.1, longitude: 8.7 }
    addresses: [127.0.${index + 1}.1]
    nodes: [{ name: ${name}1, http: "http://127.0.${index + 1}.1:8080" }]`,
  )
  .join("\n")}
hosts:
  - name: img.cdn.test
    kind: images
${extra}`;
