/** A log that keeps its lines, for tests that ask what was said. */
import type { Log } from "#base/log.ts";

export interface KeptLog {
  log: Log;
  /** Each call's level and message. */
  lines: { level: string; message: string; facts: Readonly<Record<string, unknown>> }[];
}

export function keptLog(): KeptLog {
  const lines: KeptLog["lines"] = [];
  const at =
    (level: string) =>
    (facts: unknown, message?: string): void => {
      lines.push(
        typeof facts === "string"
          ? { level, message: facts, facts: {} }
          : { level, message: message ?? "", facts: facts as Record<string, unknown> },
      );
    };
  const log = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error"), fatal: at("fatal") };
  return { log, lines };
}
