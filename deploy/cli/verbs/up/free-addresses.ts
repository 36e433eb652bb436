/** Checks that addresses are free before anything starts: a clear message now is better than a log line later. */
import { command } from "#base/command-name.ts";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { hostPort } from "../../settings.ts";
import { otherAddress } from "./process-plan.ts";

export interface Listen {
  /** What needs the address, for people: `HTTP of edge fra1`. */
  what: string;
  host: string;
  port: number;
  transport: "tcp" | "udp";
}

/** Returns the system's error code for each address that can't be bound, such as EADDRINUSE. */
export async function findTaken(wanted: readonly Listen[]): Promise<{ listen: Listen; code: string }[]> {
  const tried = await Promise.all(wanted.map(async (listen) => ({ listen, code: await tryListen(listen) })));
  return tried.flatMap(({ listen, code }) => (code === undefined ? [] : [{ listen, code }]));
}

function tryListen({ host, port, transport }: Listen): Promise<string | undefined> {
  return new Promise((resolve) => {
    const codeOf = (error: Error): string => (error as NodeJS.ErrnoException).code ?? error.message;
    if (transport === "tcp") {
      const server = createServer();
      server.once("error", (error) => {
        resolve(codeOf(error));
      });
      server.listen({ host, port, exclusive: true }, () => {
        server.close(() => {
          resolve(undefined);
        });
      });
      return;
    }
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    socket.once("error", (error) => {
      socket.close();
      resolve(codeOf(error));
    });
    socket.bind({ address: host, port, exclusive: true }, () => {
      socket.close(() => {
        resolve(undefined);
      });
    });
  });
}

/** What is in the way, for people. */
export function takenLine({ listen, code }: { listen: Listen; code: string }): string {
  const at = `${hostPort(listen.host, listen.port)}/${listen.transport} (${listen.what})`;
  if (code === "EADDRINUSE") return `${at} is in use by another program`;
  if (code === "EACCES") return `${at} requires a privilege that this user does not have`;
  if (code === "EADDRNOTAVAIL") return `${at} is not an address of this machine`;
  return `${at}: can't listen there: ${code}`;
}

/**
 * What is in the way and what to do about it, one line each.
 * @param configurations the files that set the ports; undefined: none is written yet
 */
export function takenLines(
  taken: readonly { listen: Listen; code: string }[],
  configurations: string | undefined,
): string[] {
  const lines = taken.map(takenLine);
  if (taken.some(({ code }) => code === "EADDRINUSE")) {
    lines.push(
      `Another \`${command} up\` may be running with a different --data; \`ss -lntup\` shows who uses the port.`,
      "Stop it, or run a second one alongside it with its own directory and address:",
      `  ${command} up --data ./data2 --address ${otherAddress(taken[0]?.listen.host)}`,
      ...(configurations === undefined ? [] : [`or change the ports in ${configurations}.`]),
    );
  }
  const absent = taken.find(({ code }) => code === "EADDRNOTAVAIL")?.listen.host;
  if (absent !== undefined) {
    lines.push(`On macOS, add the address first: sudo ifconfig lo0 alias ${absent}`);
  }
  return lines;
}
