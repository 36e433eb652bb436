/**
 * Why a file or a connection failed, in words: Node and undici report a code such as `ENOENT`, which tells operators
 * little. Pure.
 */

export const connectionClosed = "the connection was closed before it answered";

const words: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EADDRINUSE: "the address is in use",
  EADDRNOTAVAIL: "the address is not on this machine",
  EAI_AGAIN: "the DNS lookup failed",
  ECONNREFUSED: "connection refused",
  ECONNRESET: connectionClosed,
  EEXIST: "it already exists",
  EHOSTUNREACH: "no route to the host",
  EIO: "input/output error",
  EISDIR: "it is a directory",
  ELOOP: "too many symbolic links",
  EMFILE: "too many open files",
  ENETUNREACH: "the network is unreachable",
  ENOENT: "no such file",
  ENOSPC: "the disk is full",
  ENOTDIR: "part of its path is not a directory",
  ENOTFOUND: "the host name has no address",
  EPERM: "operation not permitted",
  EPIPE: connectionClosed,
  EROFS: "the file system is read-only",
  ETIMEDOUT: "the connection timed out",
  UND_ERR_BODY_TIMEOUT: "it stopped in the middle of its answer",
  UND_ERR_CONNECT_TIMEOUT: "the connection timed out",
  UND_ERR_HEADERS_TIMEOUT: "it accepts connections but does not answer",
  UND_ERR_SOCKET: connectionClosed,
};

/** The reason for an error code; the code itself when it is not in the table. */
export function codeReason(code: string): string {
  return words[code] ?? code;
}

/** The reason in words; the error's own message when its code has none. For an AggregateError: its first error. */
export function systemReason(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return systemReason(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return "it did not answer in time";
  const { code } = error as NodeJS.ErrnoException;
  return (code === undefined ? undefined : words[code]) ?? error.message;
}
