/** The message for operators when an address can't be listened on, for every kind of listener. */
import { NearcastError } from "./errors.ts";
import { systemReason } from "./system-reason.ts";

/**
 * @param what what is listened for, such as `HTTP` or `DNS over UDP`
 * @param cause the system's error
 */
export function listenFailure(what: string, { host, port }: { host: string; port: number }, cause: unknown) {
  return new NearcastError(
    "CANNOT_LISTEN",
    `can't listen for ${what} on ${host} port ${port}: ${systemReason(cause)}`,
    { cause },
  );
}
