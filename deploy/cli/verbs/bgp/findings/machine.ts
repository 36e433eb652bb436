/** Checks the machine: service addresses on lo, and kernel settings that would drop packets. */
import { BlockList } from "node:net";
import { type AnnouncementPlan, families, type PlannedRouter } from "../announcement-plan.ts";
import type { DeviceSettings, Facts } from "../machine-facts.ts";
import type { Finding } from "./finding.ts";
import { sameAddress } from "./same-address.ts";

export function* addressFindings({ addresses }: Facts, plan: AnnouncementPlan): Generator<Finding> {
  const wanted = families.flatMap((family) => plan.addresses[family].map((address) => ({ family, address })));
  let missing = 0;
  for (const { family, address } of wanted) {
    const devices = addresses.filter((one) => sameAddress(one.address, address)).map(({ device }) => device);
    if (devices.includes("lo")) continue;
    missing += 1;
    const add = `ip address add ${address}/${family === 4 ? 32 : 128} dev lo`;
    yield devices.length === 0
      ? {
          level: "fail",
          about: "addresses",
          what: `the service address ${address} is not on this machine`,
          mend: `${add} (permanently: nearcast-addresses.service)`,
        }
      : {
          level: "warn",
          about: "addresses",
          what: `the service address ${address} is on ${devices.join(", ")}, and disappears when that link goes down`,
          mend: `${add}; then remove it from ${devices.join(", ")}`,
        };
  }
  if (missing === 0)
    yield { level: "ok", about: "addresses", what: `all ${wanted.length} service addresses are on lo` };
}

export function* kernelFindings(facts: Facts, plan: AnnouncementPlan): Generator<Finding> {
  const all = facts.devices.find(({ device }) => device === "all");
  const others = facts.devices.filter(({ device }) => device !== "all" && device !== "lo");
  const facing = devicesFacing(facts, plan.routers);
  const effective = (key: "rpFilter" | "arpIgnore" | "arpAnnounce", device: DeviceSettings): number =>
    // The kernel takes the stricter of the two (ip-sysctl, conf/all).
    Math.max(all?.[key] ?? 0, device[key] ?? 0);
  const strict = others.filter((device) => effective("rpFilter", device) === 1);
  for (const { device } of strict) {
    const isFacing = facing.size === 0 || facing.has(device);
    const key = all?.rpFilter === 1 ? "all" : device;
    yield {
      level: isFacing ? "fail" : "warn",
      about: "kernel",
      what: `${device} drops packets whose reply takes another interface (rp_filter 1); with anycast, many do`,
      // The greater value counts: 2 for the device is enough, whatever `all` says.
      mend: `sysctl -w net.ipv4.conf.${key}.rp_filter=2 (permanently: deploy/sysctl/90-nearcast.conf)`,
    };
  }
  if (strict.length === 0) yield { level: "ok", about: "kernel", what: "no interface has rp_filter 1" };
  const talkative = others.filter(
    (device) => effective("arpIgnore", device) === 0 && effective("arpAnnounce", device) < 2,
  );
  if (talkative.length > 0 && plan.addresses[4].length > 0) {
    yield {
      level: "warn",
      about: "kernel",
      what: `${talkative.map(({ device }) => device).join(", ")} may answer ARP for addresses that are on lo`,
      mend: "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
    };
  }
}

/** Devices whose network contains one of the routers. */
function devicesFacing({ addresses }: Facts, routers: readonly PlannedRouter[]): Set<string> {
  const facing = new Set<string>();
  for (const { device, cidr } of addresses) {
    const [address = "", length = ""] = cidr.split("/");
    if (length === "" || device === "lo") continue;
    const network = new BlockList();
    network.addSubnet(address, Number(length), familyName(address));
    const isFacing = routers.some((router) => network.check(router.address, familyName(router.address)));
    if (isFacing) facing.add(device);
  }
  return facing;
}

function familyName(address: string): "ipv4" | "ipv6" {
  return address.includes(":") ? "ipv6" : "ipv4";
}
