/** The exit codes of every verb, and the failure that carries one up to main.ts. Scripts depend on these numbers. */

export const exitCodes = {
  ok: 0,
  /** The verb tried and failed, wholly or in part. */
  failed: 1,
  /** The command line, a configuration file or a fleet document must be corrected. */
  usage: 2,
  /** The origin or a node can't be reached. */
  unreachable: 3,
  /** The origin or a node refused the request: no such name, a bad token, not a picture. */
  refused: 4,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitCodesHelp =
  "Exit status: 0 success, 1 failure, 2 wrong usage or configuration, 3 unreachable, 4 refused by the server.";

/** Ends a verb. main.ts prints the message and the lines, then ends the process with the code. */
export class CommandFailure extends Error {
  readonly exitCode: ExitCode;
  /** What was tried, details of the problem, what to do next: one line each. */
  readonly lines: readonly string[];
  /** The server's error code, such as `NOT_FOUND`. */
  readonly code: string | undefined;

  constructor(
    exitCode: ExitCode,
    message: string,
    options: { lines?: readonly string[]; code?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CommandFailure";
    this.exitCode = exitCode;
    this.lines = options.lines ?? [];
    this.code = options.code;
  }
}
