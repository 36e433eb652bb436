/**
 * Asking the responder in tests: queries are put together byte by byte here, answers are read by `dns-packet`, so
 * that the codec under test never judges itself.
 */
import { decode, type Answer } from "dns-packet";

export const typeNumbers: Readonly<Record<string, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  DNAME: 39,
  OPT: 41,
  DS: 43,
  SSHFP: 44,
  TLSA: 52,
  SVCB: 64,
  HTTPS: 65,
  TKEY: 249,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  MAILB: 253,
  MAILA: 254,
  ANY: 255,
  CAA: 257,
};

export interface Asking {
  readonly name?: string;
  readonly type?: string | number;
  readonly class?: number;
  readonly id?: number;
  /** The two flag octets of the header; default 0. */
  readonly flags?: number;
  /** undefined: no OPT record. */
  readonly edns?: {
    readonly udpSize?: number;
    readonly version?: number;
    readonly flags?: number;
    readonly options?: readonly { readonly code: number; readonly data: readonly number[] }[];
  };
  /** `192.0.2.0/24`: an OPT record with this client subnet. */
  readonly subnet?: string;
}

export const u16 = (value: number): number[] => [value >>> 8, value & 0xff];

/** The labels of a name written with dots, and the final zero. */
export function nameBytes(name: string): number[] {
  const labels = name.split(".").filter((label) => label !== "");
  return [...labels.flatMap((label) => [label.length, ...Buffer.from(label, "latin1")]), 0];
}

export function optBytes(edns: NonNullable<Asking["edns"]>): number[] {
  const data = (edns.options ?? []).flatMap((option) => [
    ...u16(option.code),
    ...u16(option.data.length),
    ...option.data,
  ]);
  return [
    0,
    ...u16(41),
    ...u16(edns.udpSize ?? 1232),
    0,
    edns.version ?? 0,
    ...u16(edns.flags ?? 0),
    ...u16(data.length),
    ...data,
  ];
}

/** Option data of a client subnet: IPv4 with dots, IPv6 written out in full groups or with `::` at its end. */
export function subnetData(subnet: string, scope = 0): number[] {
  const [address = "", length = "0"] = subnet.split("/");
  const octets = Math.ceil(Number(length) / 8);
  let bytes = address.split(".").map(Number);
  if (address.includes(":")) {
    const groups = address
      .replace(/::$/, "")
      .split(":")
      .filter((group) => group !== "");
    bytes = [...groups.flatMap((group) => u16(Number.parseInt(group, 16))), ...Array<number>(16).fill(0)];
  }
  return [...u16(address.includes(":") ? 2 : 1), Number(length), scope, ...bytes.slice(0, octets)];
}

export function queryOf(asking: Asking): Buffer {
  const type = typeof asking.type === "number" ? asking.type : (typeNumbers[asking.type ?? "A"] ?? 0);
  let { edns } = asking;
  if (asking.subnet !== undefined) {
    edns = { ...edns, options: [...(edns?.options ?? []), { code: 8, data: subnetData(asking.subnet) }] };
  }
  return Buffer.from([
    ...u16(asking.id ?? 0x1234),
    ...u16(asking.flags ?? 0),
    ...u16(1),
    ...u16(0),
    ...u16(0),
    ...u16(edns === undefined ? 0 : 1),
    ...nameBytes(asking.name ?? "img.cdn.test"),
    ...u16(type),
    ...u16(asking.class ?? 1),
    ...(edns === undefined ? [] : optBytes(edns)),
  ]);
}

export interface Reading {
  readonly id: number;
  /** With the upper bits from the OPT record. */
  readonly rcode: number;
  /** The flags that are set, such as `qr aa rd`. */
  readonly flags: string;
  readonly opcode: number;
  readonly questions: readonly string[];
  /** `img.cdn.test 30 A 127.0.1.1` */
  readonly answers: readonly string[];
  readonly authorities: readonly string[];
  /** Without the OPT record. */
  readonly additionals: readonly string[];
  readonly opt: {
    readonly udpSize: number;
    readonly version: number;
    readonly flags: number;
    readonly options: number[];
  } | null;
  /** Octets of each option in the OPT record, by its code. */
  readonly options: ReadonlyMap<number, Buffer>;
  /** INFO-CODE of the extended error (RFC 8914), or null. */
  readonly extendedError: number | null;
  /** `192.0.2.0/24/16`: address, source and scope prefix length. */
  readonly subnet: string | null;
  readonly length: number;
}

/** Reads an answer; throws when `dns-packet` can't. */
export function readAnswer(bytes: Uint8Array): Reading {
  const buffer = Buffer.from(bytes);
  const packet = decode(buffer);
  if (decode.bytes !== buffer.length) throw new Error(`${buffer.length - decode.bytes} octets follow the message`);
  const opt = packet.additionals?.find((one) => one.type === "OPT");
  const subnet = opt?.options.find((option) => option.code === 8);
  const options = new Map<number, Buffer>(opt?.options.map((option) => [option.code, option.data ?? Buffer.alloc(0)]));
  const names = ["cd", "ad", "z", "ra", "rd", "tc", "aa"];
  const bits = [0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400];
  const word = buffer.readUInt16BE(2);
  const flags = [
    ...names.filter((_, index) => (word & (bits[index] ?? 0)) !== 0),
    ...((word & 0x8000) === 0 ? [] : ["qr"]),
  ];
  return {
    id: buffer.readUInt16BE(0),
    rcode: (word & 0x0f) | ((opt?.extendedRcode ?? 0) << 4),
    opcode: (word >>> 11) & 0x0f,
    flags: flags.toReversed().join(" "),
    questions: (packet.questions ?? []).map((one) => `${one.name} ${one.type}`),
    answers: (packet.answers ?? []).map(recordText),
    authorities: (packet.authorities ?? []).map(recordText),
    additionals: (packet.additionals ?? []).filter((one) => one.type !== "OPT").map(recordText),
    opt:
      opt === undefined
        ? null
        : {
            udpSize: opt.udpPayloadSize,
            version: opt.ednsVersion,
            flags: opt.flags,
            options: opt.options.map((option) => option.code),
          },
    options,
    extendedError: options.get(15)?.readUInt16BE(0) ?? null,
    subnet:
      subnet !== undefined && "ip" in subnet
        ? `${subnet.ip}/${subnet.sourcePrefixLength}/${subnet.scopePrefixLength}`
        : null,
    length: buffer.length,
  };
}

function recordText(record: Answer): string {
  if (record.type === "OPT") return "OPT";
  return `${record.name} ${record.ttl} ${record.type} ${dataText(record.data)}`;
}

function dataText(data: unknown): string {
  if (typeof data === "string") return data;
  if (Buffer.isBuffer(data)) return data.toString("hex");
  if (Array.isArray(data)) return data.map((one) => JSON.stringify(String(one))).join(" ");
  return Object.values(data as Record<string, unknown>)
    .map((value) => (Buffer.isBuffer(value) ? value.toString("hex") : String(value)))
    .join(" ");
}

/** An HTTPS or SVCB record, read octet by octet (RFC 9460 §2.2). */
export interface ServiceReading {
  readonly ttlSeconds: number;
  readonly priority: number;
  readonly target: string;
  /** Octets by key; the order is that of the record. */
  readonly params: ReadonlyMap<number, Buffer>;
}

/** The records of an answer to a question for HTTPS or SVCB, none of which is reached through an alias. */
export function readServices(query: Uint8Array, answer: Uint8Array): ServiceReading[] {
  const bytes = Buffer.from(answer);
  const services: ServiceReading[] = [];
  const questionLength = query.indexOf(0, 12) + 1 + 4;
  let at = questionLength;
  for (let left = bytes.readUInt16BE(6); left > 0; left--) {
    if (bytes.readUInt16BE(at) !== 0xc00c) throw new Error("the owner is not the question");
    const ttlSeconds = bytes.readUInt32BE(at + 6);
    const end = at + 12 + bytes.readUInt16BE(at + 10);
    const priority = bytes.readUInt16BE(at + 12);
    const labels: string[] = [];
    at += 14;
    for (let size = bytes.readUInt8(at); size !== 0; size = bytes.readUInt8(at)) {
      labels.push(bytes.toString("latin1", at + 1, at + 1 + size));
      at += 1 + size;
    }
    at++;
    const params = new Map<number, Buffer>();
    while (at < end) {
      const length = bytes.readUInt16BE(at + 2);
      params.set(bytes.readUInt16BE(at), bytes.subarray(at + 4, at + 4 + length));
      at += 4 + length;
    }
    if (at !== end) throw new Error("a parameter is longer than its record");
    services.push({ ttlSeconds, priority, target: labels.join("."), params });
  }
  return services;
}
