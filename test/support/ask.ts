/** One DNS question over UDP, encoded and decoded by dns-packet: a voice that is not our own. */
import packet from "dns-packet";
import { createSocket } from "node:dgram";

export interface Asked {
  rcode: string;
  addresses: string[];
  answer: packet.DecodedPacket;
}

/** @param subnet the client's network, such as `133.11.1.0/24`, sent as EDNS client subnet */
export async function ask(
  server: { host: string; port: number },
  name: string,
  options: { type?: "A" | "AAAA" | "TXT" | "SOA" | "NS"; subnet?: string; timeoutMs?: number } = {},
): Promise<Asked> {
  const { type = "A", subnet, timeoutMs = 3000 } = options;
  const [ip = "", length = ""] = subnet?.split("/") ?? [];
  const query = packet.encode({
    type: "query",
    id: 1 + Math.floor(Math.random() * 65_534),
    questions: [{ type, name, class: "IN" }],
    additionals: [
      {
        type: "OPT",
        name: ".",
        udpPayloadSize: 1232,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: subnet === undefined ? [] : [{ code: 8, ip, sourcePrefixLength: Number(length) }],
      },
    ],
  });
  const socket = createSocket(server.host.includes(":") ? "udp6" : "udp4");
  try {
    const bytes = await new Promise<Buffer>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`no answer of ${server.host} within ${timeoutMs} ms`));
      }, timeoutMs);
      socket.once("message", (message) => {
        clearTimeout(timer);
        resolve(message);
      });
      socket.once("error", reject);
      socket.send(query, server.port, server.host);
    });
    const answer = packet.decode(bytes);
    const addresses = (answer.answers ?? []).flatMap((one) =>
      one.type === "A" || one.type === "AAAA" ? [one.data] : [],
    );
    return { rcode: (answer as { rcode?: string }).rcode ?? "", addresses, answer };
  } finally {
    socket.close();
  }
}
