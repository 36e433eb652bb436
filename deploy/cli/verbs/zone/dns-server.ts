/** Parses a DNS server: an address, with or without a port. */
import { isIP, isIPv6 } from "node:net";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";

/** @param option the option that the text belongs to, for the error message */
export function parseServer(option: string, text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+|[^:]*:[^:]*:.*))(?::(\d{1,5}))?$/.exec(isIPv6(text) ? `[${text}]` : text);
  const host = match?.[1] ?? match?.[2] ?? "";
  const port = Number(match?.[3] ?? 53);
  if (isIP(host) !== 0 && port > 0 && port < 65_536) return { host, port };
  throw new CommandFailure(
    exitCodes.usage,
    `${option}: "${text}" is not an address such as 127.0.0.1:5300 or [::1]:5300`,
  );
}
