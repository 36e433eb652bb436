/** One DNS question over UDP, encoded and decoded by dns-packet: a voice that is not our own. */
import packet from "dns-packet";
import { createSocket } from "node:dgram";

export interface Asked {
  rcode: string;
  addresses: string[];
  answer: packet.DecodedPacket;
}

type Type = "A" | "AAAA" | "TXT" | "SOA" | "NS";

/** @param subnet the client's network, such as `133.11.1.0/24`, sent as EDNS client subnet */
export async function ask(
  server: { host: string; port: number },
  name: string,
  options: { type?: Type; subnet?: string; timeoutMs?: number } = {},
): Promise<Asked> {
  const { subnet, ...rest } = options;
  const [ip = "", length = ""] = subnet?.split("/") ?? [];
  const edns = subnet === undefined ? [] : [{ code: 8 as const, ip, sourcePrefixLength: Number(length) }];
  const answer = await exchange(server, name, { ...rest, options: edns });
  const addresses = (answer.answers ?? []).flatMap((one) =>
    one.type === "A" || one.type === "AAAA" ? [one.data] : [],
  );
  return { rcode: (answer as { rcode?: string }).rcode ?? "", addresses, answer };
}

/** Its types know few options; the rest are plain octets. */
type EdnsOption = packet.PacketOpt | { code: number; data: Buffer };

/** The octets of an EDNS option in an answer. */
export function optionOf(answer: packet.DecodedPacket, wanted: number): Buffer | undefined {
  const opt = answer.additionals?.find((record) => record.type === "OPT");
  const options: readonly EdnsOption[] = opt?.type === "OPT" ? opt.options : [];
  const option = options.find(({ code }) => code === wanted);
  return option !== undefined && "data" in option && Buffer.isBuffer(option.data) ? option.data : undefined;
}

/** The same with EDNS options of one's own; the answer as it is. */
export async function exchange(
  server: { host: string; port: number },
  name: string,
  settings: { type?: Type; class?: "IN" | "CH"; options?: readonly EdnsOption[]; timeoutMs?: number } = {},
): Promise<packet.DecodedPacket> {
  const { type = "A", class: inClass = "IN", options = [], timeoutMs = 3000 } = settings;
  const query = packet.encode({
    type: "query",
    id: 1 + Math.floor(Math.random() * 65_534),
    questions: [{ type, name, class: inClass }],
    additionals: [
      {
        type: "OPT",
        name: ".",
        udpPayloadSize: 1232,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: options as packet.PacketOpt[],
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
    return packet.decode(bytes);
  } finally {
    socket.close();
  }
}
