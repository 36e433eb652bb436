/** Requests to a node's admin listener: one GET each, with a deadline. */
import { command } from "#base/command-name.ts";
import { parseForeignJson } from "#base/foreign-json.ts";
import { fewInterimResponses } from "#base/interim-responses.ts";
import { request } from "undici";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { systemReason } from "#base/system-reason.ts";
import type { NodePlace } from "./settings.ts";

const timeoutMs = 5000;
/** The status of a fleet of two thousand nodes takes about a megabyte. */
const answerBytesMax = 16 * 1024 * 1024;
const textsMax = 100;

export type AdminAnswer = { status: number; body: Record<string, unknown> };

/**
 * @param target path and query
 * @throws CommandFailure when the node can't be reached or its answer is not a JSON object
 */
export async function askAdmin(node: NodePlace, target: string): Promise<AdminAnswer> {
  const url = new URL(`${node.adminUrl}${target}`);
  try {
    const answer = await request(url, {
      signal: AbortSignal.timeout(timeoutMs),
      onInfo: fewInterimResponses(),
      reset: true,
    });
    const body = parseForeignJson(await readText(answer.body));
    if (typeof body !== "object" || body === null) throw new Error("the answer is not a JSON object");
    return { status: answer.statusCode, body: body as Record<string, unknown> };
  } catch (error) {
    throw new CommandFailure(exitCodes.unreachable, `node ${node.name} can't be reached: ${systemReason(error)}`, {
      cause: error,
      code: "UNREACHABLE",
      lines: [
        `The admin URL was ${node.adminUrl}.`,
        `Is it running? On a trial machine, start everything with: ${command} up`,
        "Is it elsewhere? Give its admin URL: --admin URL",
      ],
    });
  }
}

async function readText(body: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of body) {
    const bytes = chunk as Buffer;
    sizeBytes += bytes.length;
    // Leaving the loop destroys the body and closes the connection.
    if (sizeBytes > answerBytesMax) throw new Error(`the answer is larger than ${answerBytesMax} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** A nested value of a node's answer, which may be from another release. */
export function inside(value: unknown, ...steps: readonly string[]): unknown {
  return steps.reduce<unknown>(
    (at, step) => (typeof at === "object" && at !== null ? (at as Record<string, unknown>)[step] : undefined),
    value,
  );
}

/** The strings and numbers of a list in an answer, without any other values; at most the first hundred. */
export function texts(value: unknown, ...steps: readonly string[]): string[] {
  const found = inside(value, ...steps);
  if (!Array.isArray(found)) return [];
  return found.slice(0, textsMax).flatMap((one: unknown) => cell(one)?.toString() ?? []);
}

/** A scalar of an answer as a table's cell. */
export function cell(value: unknown): string | number | undefined {
  if (typeof value === "number" || typeof value === "string") return value;
  return typeof value === "boolean" ? (value ? "yes" : "no") : undefined;
}
