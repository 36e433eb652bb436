/**
 * BIRD's control socket, to look and never to change anything: the first thing said is `restrict`.
 *
 *   S: 0001 BIRD 2.0.12 ready.          C: restrict              S: 0016 Access restricted
 *   C: show protocols                   S: 2002-Name …           `NNNN-` more lines follow
 *                                          1002-edge0 …
 *                                          ␠router1 …            a space: the code of the line before
 *                                          0000                  `NNNN␠` or a bare code: the last line
 *                                       S: +…                    something on the side: left out
 *   8000 and above: it could not do that (8xxx), or did not understand (9xxx)
 *
 * One question at a time, each with a deadline; replies are bounded. A router with a full table never sends one, since
 * routes are not asked for.
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
  /** Of the last line, which says how it went. */
  readonly code: number;
  readonly lines: readonly BirdLine[];
}

export interface BirdControl {
  /** What BIRD called itself in its greeting: `BIRD 2.0.12 ready.` */
  readonly greeting: string;
  /** @throws Error when BIRD refuses, is silent for too long or goes away */
  readonly ask: (command: string) => Promise<BirdReply>;
  readonly close: () => void;
}

/** Takes the socket's text in pieces and gives each reply once it is whole. */
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
 * Connects, waits for the greeting and gives up all rights to change something.
 * @throws Error when nobody listens, the right is missing, or it is not BIRD
 */
export async function openBirdControl(path: string, timeoutMs = timeoutMsDefault): Promise<BirdControl> {
  const socket = connect({ path });
  const next = replyQueue(socket, timeoutMs);
  const ask = async (command: string): Promise<BirdReply> => {
    // Two lines would be two questions.
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

/** Gives the replies one after the other; a failure of the socket is what whoever waits, or asks next, gets. */
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
        if (waiting === undefined) throw new Error("BIRD sent an answer that was not asked for");
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
