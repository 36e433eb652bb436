/** HTTP by hand: bytes as they are onto a socket, and what comes back read by a parser that is not Node's. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";

export interface Answer {
  status: number;
  reason: string;
  /** By lower-case name, in the order in which they came. */
  fields: ReadonlyMap<string, readonly string[]>;
  body: Buffer;
}

/** A connection that a test speaks over; `received` grows as bytes come. */
export interface Line {
  socket: Socket;
  send: (bytes: string | Buffer) => void;
  /** Resolves with all bytes so far, as soon as `isEnough` says so; rejects when the other side closes before. */
  until: (isEnough: (text: string) => boolean) => Promise<string>;
  /** Resolves with all bytes, when the other side has closed. */
  rest: () => Promise<string>;
}

/** An answer that does not come fails the test by this; nothing is measured with it. */
const patienceMs = 20_000;

/** @param tls over TLS, with these options */
export async function openLine(at: { address: string; port: number }, tls?: ConnectionOptions): Promise<Line> {
  const socket =
    tls === undefined ? connect(at.port, at.address) : connectTls({ ...tls, port: at.port, host: at.address });
  const chunks: Buffer[] = [];
  let isClosed = false;
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, tls === undefined ? "connect" : "secureConnect");
  socket.on("error", () => undefined); // a reset is an end like others; what matters is what came before it
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      isClosed = true;
      resolve();
    });
  });
  socket.setTimeout(patienceMs, () => socket.destroy());
  const text = (): string => Buffer.concat(chunks).toString("latin1");
  return {
    socket,
    send: (bytes) => socket.write(bytes),
    until: (isEnough) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (isEnough(text())) resolve(text());
          else if (isClosed) reject(new Error(`closed after ${JSON.stringify(text())}`));
          else return;
          socket.off("data", look).off("close", look);
        };
        socket.on("data", look).on("close", look);
        look();
      }),
    async rest() {
      await closed;
      return text();
    },
  };
}

/** Sends bytes, and gives what comes back until the other side closes. */
export async function exchange(at: { address: string; port: number }, bytes: string | Buffer): Promise<string> {
  const line = await openLine(at);
  line.send(bytes);
  return await line.rest();
}

/** A request over a connection of its own. `fields` are lines without their end. */
export async function request(
  at: { address: string; port: number },
  requestLine: string,
  fields: readonly string[] = [],
): Promise<Answer> {
  const text = await exchange(at, [`${requestLine} HTTP/1.1`, ...fields, "Connection: close", "", ""].join("\r\n"));
  return readAnswer(text, { isHead: requestLine.startsWith("HEAD ") });
}

/** Reads one answer, and fails where its body is not as long as it says (RFC 9112 §6.3). */
export function readAnswer(text: string, { isHead = false }: { isHead?: boolean } = {}): Answer {
  const [first, ...others] = readAnswers(text, { isHead });
  if (first === undefined || others.length > 0) throw new Error(`not one answer: ${JSON.stringify(text)}`);
  return first;
}

/**
 * Reads the answers that came over one connection, one after another.
 * @param about `isHead`: of all requests, or by their index
 */
export function readAnswers(
  text: string,
  { isHead = false }: { isHead?: boolean | readonly boolean[] } = {},
): Answer[] {
  const answers: Answer[] = [];
  let left = text;
  while (left !== "") {
    const end = left.indexOf("\r\n\r\n");
    const [statusLine = "", ...lines] = left.slice(0, end).split("\r\n");
    const status = /^HTTP\/1\.1 (\d{3}) (.*)$/.exec(statusLine);
    if (end === -1 || status === null) throw new Error(`no answer: ${JSON.stringify(left.slice(0, 200))}`);
    const fields = new Map<string, string[]>();
    for (const line of lines) {
      const field = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line);
      if (field === null) throw new Error(`no field: ${JSON.stringify(line)}`);
      const [, name = "", value = ""] = field;
      fields.set(name.toLowerCase(), [...(fields.get(name.toLowerCase()) ?? []), value]);
    }
    const code = Number(status[1]);
    const isOfHead = typeof isHead === "boolean" ? isHead : (isHead[answers.length] ?? false);
    const isBodiless = isOfHead || code < 200 || code === 204 || code === 304;
    const { body, after } = readBody(left.slice(end + 4), fields, isBodiless);
    answers.push({ status: code, reason: status[2] ?? "", fields, body: Buffer.from(body, "latin1") });
    left = after;
  }
  return answers;
}

function readBody(
  text: string,
  fields: ReadonlyMap<string, readonly string[]>,
  isBodiless: boolean,
): { body: string; after: string } {
  if (isBodiless) return { body: "", after: text };
  if (fields.get("transfer-encoding")?.join() === "chunked") return readChunks(text);
  const lengths = fields.get("content-length");
  if (lengths === undefined) return { body: text, after: "" };
  const length = Number(lengths[0]);
  if (lengths.length > 1 || text.length < length) throw new Error(`${text.length} bytes of ${lengths.join()}`);
  return { body: text.slice(0, length), after: text.slice(length) };
}

function readChunks(text: string): { body: string; after: string } {
  let body = "";
  let left = text;
  for (;;) {
    const size = /^([0-9a-f]+)\r\n/i.exec(left);
    if (size === null) throw new Error(`cut off behind ${body.length} bytes`);
    const start = size[0].length;
    const length = Number.parseInt(size[1] ?? "", 16);
    body += left.slice(start, start + length);
    if (left.slice(start + length, start + length + 2) !== "\r\n") throw new Error("cut off within a chunk");
    left = left.slice(start + length + 2);
    if (length === 0) return { body, after: left };
  }
}

/** The value of a field that is there once; fails where there are several. */
export function fieldOf(answer: Pick<Answer, "fields">, name: string): string | undefined {
  const values = answer.fields.get(name);
  if (values !== undefined && values.length > 1) throw new Error(`${name} is there ${values.length} times`);
  return values?.[0];
}

/** The members of a problem (RFC 9457), after a look at its type. */
export function problemOf(answer: Answer): Record<string, unknown> {
  const type = fieldOf(answer, "content-type") ?? "";
  if (!type.startsWith("application/problem+json")) throw new Error(`the type is ${type}`);
  return JSON.parse(answer.body.toString()) as Record<string, unknown>;
}
