/** Sends all cases of a table to servers of ours, whole and in single bytes, and tells what was answered otherwise. */
import type { RawCase } from "./raw-case.ts";
import { runCase, type Server } from "./run-case.ts";

/** A longer request is sent in two pieces in place of single bytes. */
const singleBytesMax = 1000;
/** Cases under way at once. */
const parallel = 16;

/**
 * @param options.deviations by the name of a case: what is answered although the RFC says otherwise
 * @param options.isAnyRight not only the first of several right answers is expected
 * @returns a line for each wrong answer
 */
export async function runAll(
  servers: Readonly<Record<string, Server>>,
  cases: readonly RawCase[],
  options: { deviations?: ReadonlyMap<string, string>; isAnyRight?: boolean } = {},
): Promise<string[]> {
  const { deviations = new Map<string, string>(), isAnyRight = false } = options;
  const wrong: string[] = [];
  const jobs = cases.flatMap((one) =>
    Object.entries(servers).flatMap(([where, server]) => [
      { one, where, server, how: "whole", pieceBytes: one.bytes.length },
      { one, where, server, how: "in pieces", pieceBytes: pieceBytesOf(one.bytes.length) },
    ]),
  );
  const work = async (): Promise<void> => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      const { one, where, server, how, pieceBytes } = job;
      const right = deviations.get(one.name) ?? one.right;
      // Whether there is a method that is only unknown is seen when the whole line is there.
      const isOurs = !isAnyRight && (how === "whole" || one.rfc !== "9110 §9.1");
      const outcome = await runCase(server, { ...one, right }, { pieceBytes, isOurs });
      if (outcome.wrong === null) continue;
      const got = `${outcome.statuses}, ${outcome.isOpen ? "open" : "closed"}`;
      wrong.push(
        `${one.name} (RFC ${one.rfc}), ${where}, ${how}: ${outcome.wrong}: ${got}; right: ${right}, ${one.after}`,
      );
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  return wrong;
}

function pieceBytesOf(lengthBytes: number): number {
  return lengthBytes > singleBytesMax ? Math.ceil(lengthBytes / 2) : 1;
}
