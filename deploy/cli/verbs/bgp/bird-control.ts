/**
 * A read-only client of BIRD's control socket: its first command is `restrict`.
 *
 *   S: 0001 BIRD 2.0.12 ready.          C: restrict              S: 0016 Access restricted
 *   C: show protocols                   S: 2002-Name …           `NNNN-` more lines follow
 *                                          1002-edge0 …
 *                                          ␠router1 …            a space: same code as the line before
 *                                          0000                  `NNNN␠` or a bare code: the last line
 *                                       S: +…                    asynchronous output: ignored
 *   8000 and above: BIRD could not do that (8xxx), or did not understand (9xxx)
 *
 * One command at a time, each with a deadline; replies are bounded. Routes are never requested, so even a router with a
 * full table sends little.
 */
import { connect, type Socket } from "node:net";

export const birdSocketDefault = "/run/bird/bird.ctl";

/** `show protocols all` has some 60 lines of 60 bytes for each session. */
const replyBytesMax = 1024 * 1024;
const timeoutMsDefault = 3000;

export interface BirdLine {
  readonly code: number;
  readonly text: string;
}

export interface BirdReply {
  /** Code of the last line: the result. */
  readonly code: number;
  readonly lines: readonly BirdLine[];
}

export interface BirdControl {
  /** BIRD's greeting: `BIRD 2.0.12 ready.` */
  readonly greeting: string;
  /** @throws Error when BIRD refuses, does not answer in time or closes the connection */
  readonly ask: (command: string) => Promise<BirdReply>;
  readonly close: () => void;
}

/** Takes chunks of the socket's text and returns each reply once it is complete. */
export function createReplyReader(): (chunk: string) => BirdReply[] {
  let rest = "";
  let lines: BirdLine[] = [];
  let sizeBytes = 0;
  return (chunk) => {
    const replies: BirdReply[] = [];
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      sizeBytes += part.length + 1;
      const line = readLine(part, lines.at(-1)?.code);
      if (line === "aside") continue;
      lines.push({ code: line.code, text: line.text });
      if (!line.isLast) continue;
      replies.push({ code: line.code, lines });
      [lines, sizeBytes] = [[], 0];
    }
    if (sizeBytes + rest.length > replyBytesMax) throw new Error(`BIRD's reply is longer than ${replyBytesMax} bytes`);
    return replies;
  };
}

function readLine(line: string, codeBefore: number | undefined): "aside" | (BirdLine & { isLast: boolean }) {
  if (line.startsWith("+")) return "aside";
  if (line.startsWith(" ") && codeBefore !== undefined) return { code: codeBefore, text: line.slice(1), isLast: false };
  const coded = /^(\d{4})(?:([ -])(.*))?$/.exec(line);
  if (coded === null) throw new Error("this is not BIRD's control socket");
  return { code: Number(coded[1]), text: coded[3] ?? "", isLast: coded[2] !== "-" };
}

/**
 * Connects, waits for the greeting and gives up the right to change anything.
 * @throws Error when nobody listens, permission is missing, or the server is not BIRD
 */
export async function openBirdControl(path: string, timeoutMs = timeoutMsDefault): Promise<BirdControl> {
  const socket = connect({ path });
  const next = replyQueue(socket, timeoutMs);
  const ask = async (command: string): Promise<BirdReply> => {
    // Two lines would be two commands.
    if (/[\r\n]/.test(command)) throw new Error("a BIRD command is one line");
    const replied = next();
    socket.write(`${command}\n`);
    const reply = await replied;
    if (reply.code >= 8000) throw new Error(`BIRD says: ${reply.lines.at(-1)?.text ?? reply.code}`);
    return reply;
  };
  try {
    const greeting = (await next()).lines[0]?.text ?? "";
    await ask("restrict");
    return { greeting, ask, close: () => socket.destroy() };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** Returns the replies one by one; after a socket failure, pending and later calls fail with it. */
function replyQueue(socket: Socket, timeoutMs: number): () => Promise<BirdReply> {
  const read = createReplyReader();
  let waiting: { resolve: (reply: BirdReply) => void; reject: (error: Error) => void } | undefined;
  let failure: Error | undefined;
  const fail = (error: Error): void => {
    failure ??= error;
    waiting?.reject(failure);
    waiting = undefined;
    socket.destroy();
  };
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    try {
      for (const reply of read(chunk)) {
        if (waiting === undefined) throw new Error("BIRD sent an unexpected answer");
        waiting.resolve(reply);
        waiting = undefined;
      }
    } catch (error) {
      fail(error as Error);
    }
  });
  socket.on("error", fail);
  socket.on("close", () => fail(new Error("BIRD closed its control socket")));
  return async () => {
    const signal = AbortSignal.timeout(timeoutMs);
    const tooLate = (): void => fail(new Error(`BIRD did not answer within ${timeoutMs} ms`));
    signal.addEventListener("abort", tooLate, { once: true });
    try {
      return await new Promise<BirdReply>((resolve, reject) => {
        if (failure !== undefined) reject(failure);
        else waiting = { resolve, reject };
      });
    } finally {
      signal.removeEventListener("abort", tooLate);
    }
  };
}
