/** Sends a raw case over a connection of its own, and tells what came back. */
import { type Answer, openLine, readAnswers } from "../../node/http/raw.ts";
import { ask, type RawCase } from "./raw-case.ts";

export interface Outcome {
  /** Statuses of the responses, as in a case's `right`. */
  readonly statuses: string;
  /** Whether the connection served another request, which followed when all responses were there. */
  readonly isOpen: boolean;
  /** Null: what came back is as the case says; otherwise what is wrong with it. */
  readonly wrong: string | null;
  readonly answers: readonly Answer[];
}

export interface Server {
  readonly address: string;
  readonly port: number;
  /** Ends every exchange. Whoever answers it did not take it for a part of what came before. */
  readonly probe?: string;
  /** Whether this is the response to the probe. */
  readonly isProbed?: (answer: Answer) => boolean;
}

/** The origin of the cases marks its response (tell-origin.ts). */
const usualProbe = ask("GET /a?probe HTTP/1.1", "Connection: close");
const isMarked = (answer: Answer): boolean => answer.fields.has("x-probe");

/**
 * @param pieceBytes how much is sent in a turn of the event loop
 * @param isOurs the first of several right answers is expected
 */
export async function runCase(
  server: Server,
  { bytes, right, after }: RawCase,
  { pieceBytes = bytes.length, isOurs = false }: { pieceBytes?: number; isOurs?: boolean } = {},
): Promise<Outcome> {
  const wanted = right.split(" ").map((each) => each.split("|"));
  const line = await openLine(server);
  line.socket.setNoDelay(true);
  const all = Buffer.from(bytes, "latin1");
  for (let start = 0; start < all.length && line.socket.writable; start += pieceBytes) {
    if (start > 0) await new Promise(setImmediate);
    line.send(all.subarray(start, start + pieceBytes));
  }
  if (after === "half-closed") line.socket.end();
  else {
    const isAnswered = (text: string): boolean => statusLines(text) >= wanted.length;
    await line.until(isAnswered).catch(() => undefined);
    if (line.socket.writable) line.send(server.probe ?? usualProbe);
  }
  const text = await line.rest();
  const heads = wanted.map((each) => each[0]?.endsWith("-") ?? false);
  return judge(text, { heads, wanted, after, isOurs, isProbed: server.isProbed ?? isMarked });
}

/** A body of these tests has no line that looks like this. */
function statusLines(text: string): number {
  return text.match(/HTTP\/1\.1 [2-5]/g)?.length ?? 0;
}

interface Judged {
  /** Whether the n-th response is one to a HEAD. */
  readonly heads: readonly boolean[];
  readonly wanted: readonly (readonly string[])[];
  readonly after: RawCase["after"];
  readonly isOurs: boolean;
  readonly isProbed: (answer: Answer) => boolean;
}

function judge(text: string, { heads, wanted, after, isOurs, isProbed }: Judged): Outcome {
  let answers: readonly Answer[];
  try {
    answers = readAnswers(text, { isHead: heads });
  } catch (error) {
    return { statuses: "?", isOpen: false, wrong: (error as Error).message, answers: [] };
  }
  const isOpen = after !== "half-closed" && answers.length > wanted.length;
  const own = isOpen ? answers.slice(0, -1) : answers;
  const last = answers.at(-1);
  const statuses = own.map(({ status }, index) => `${status}${heads[index] === true ? "-" : ""}`);
  // A request that breaks off may get no response (RFC 9112 §8).
  if (statuses.length === wanted.length - 1 && wanted.at(-1)?.includes("none") === true) statuses.push("none");
  const isRight =
    statuses.length === wanted.length &&
    wanted.every((each, index) => (isOurs ? each.slice(0, 1) : each).includes(statuses[index] ?? ""));
  const outcome = { statuses: statuses.join(" "), isOpen, answers: own };
  if (!isRight) return { ...outcome, wrong: "the statuses" };
  if (isOpen && (last === undefined || !isProbed(last))) return { ...outcome, wrong: "a response too many" };
  if (after === "open" && !isOpen) return { ...outcome, wrong: "the connection is closed" };
  if (after === "closed" && isOpen) return { ...outcome, wrong: "the connection is open" };
  return { ...outcome, wrong: null };
}
