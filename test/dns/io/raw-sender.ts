/** UDP packets with a header of one's own, such as source port 0. Needs CAP_NET_RAW. */
import koffi from "koffi";
import { parseIp } from "../../../dns/wire/address.ts";
import type { ListenAddress } from "../../../dns/io/transport.ts";

export interface RawSender {
  send: (packet: { from: ListenAddress; to: ListenAddress; payload: Uint8Array }) => void;
  close: () => void;
}

const AF_INET = 2;
const SOCK_RAW = 3;
const IPPROTO_RAW = 255;
const IPPROTO_UDP = 17;

/** Undefined where the privilege is missing. IPv4 only. */
export function rawSender(): RawSender | undefined {
  const libc = koffi.load(null);
  const close = libc.func("int close(int)");
  const sendto = libc.func("int sendto(int, void *, size_t, int, void *, uint)");
  const descriptor = Number(libc.func("int socket(int, int, int)")(AF_INET, SOCK_RAW, IPPROTO_RAW));
  if (descriptor < 0) return undefined;
  return {
    send({ from, to, payload }) {
      const packet = Buffer.alloc(28 + payload.length);
      packet[0] = 0x45;
      packet.writeUInt16BE(packet.length, 2);
      packet[8] = 64;
      packet[9] = IPPROTO_UDP;
      packet.set(octets(from.host), 12);
      packet.set(octets(to.host), 16);
      packet.writeUInt16BE(from.port, 20);
      packet.writeUInt16BE(to.port, 22);
      packet.writeUInt16BE(8 + payload.length, 24); // the UDP checksum stays 0: none
      packet.set(payload, 28);
      const address = Buffer.alloc(16);
      address.writeUInt16LE(AF_INET, 0);
      address.set(octets(to.host), 4);
      const sent = Number(sendto(descriptor, packet, packet.length, 0, address, address.length));
      if (sent !== packet.length) throw new Error(`sendto returned ${sent}`);
    },
    close: () => {
      close(descriptor);
    },
  };
}

function octets(host: string): Uint8Array {
  return parseIp(host)?.bytes.subarray(0, 4) ?? new Uint8Array(4);
}
