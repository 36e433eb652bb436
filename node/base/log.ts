/** Logs: one JSON line each on standard error, so that standard output stays free for a command's own answer. */
import { pino } from "pino";

export type Log = Pick<pino.Logger, "debug" | "info" | "warn" | "error" | "fatal">;

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** @param part the writer, such as `edge fra1` or `origin` */
export function openLog(part: string, level: LogLevel): Log {
  return pino(
    {
      level,
      base: { part },
      timestamp: pino.stdTimeFunctions.isoTime,
      // Logging a request by accident must not leak its secret.
      redact: { paths: ["*.authorization", "*.headers.authorization", "*.token", "token"], censor: "(secret)" },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

export const silentLog: Log = pino({ level: "silent" });
