/**
 * The daisy chain in network namespaces of its own: two nodes on one LAN behind a router, a client with connections to
 * one of them, and the router's mind changes. IPv4 and IPv6.
 *
 *   client ── router ─┬─ a ─┐
 *                     └─ b ─┴ lan
 */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { needs, needsProgram } from "../support/needs.ts";
import { until } from "../support/world.ts";

const script = fileURLToPath(new URL("../../deploy/bird/daisy-chain.sh", import.meta.url));
const fileOf = (name: string): string => fileURLToPath(new URL(`support/${name}`, import.meta.url));
const [service4, service6] = ["198.51.100.80", "2001:db8:a::80"];

/** Reads commands from its standard input, in namespaces where it is root; everything in them ends with it. */
const space = ["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

async function isAllowed(): Promise<boolean> {
  return await new Promise((resolve) => {
    execFile("unshare", [...space, "true"], (error) => resolve(error === null));
  });
}

/** The lines of `setup` make the picture above; route to `a` or `b` is what the router decides. */
const setup = `
set -eu
mount -t tmpfs none /run && mkdir /run/netns && mkfifo "$FIFO"
for ns in client a b; do
  ip netns add $ns
  ip -n $ns link set lo up
  # Without them the first IPv6 packets wait for address detection.
  ip netns exec $ns sh -c '
    echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
    echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter
    echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter'
done
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter
echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
i=1
for ns in client a b; do
  ip link add to-$ns type veth peer name up0 netns $ns
  ip address add 10.0.$i.1/24 dev to-$ns; ip address add 2001:db8:$i::1/64 dev to-$ns nodad; ip link set to-$ns up
  ip -n $ns address add 10.0.$i.2/24 dev up0; ip -n $ns address add 2001:db8:$i::2/64 dev up0 nodad
  ip -n $ns link set up0 up
  ip -n $ns route add default via 10.0.$i.1; ip -n $ns -6 route add default via 2001:db8:$i::1
  i=$((i + 1))
done
ip -n a link add lan type veth peer name lan netns b
for ns in a b; do
  [ $ns = a ] && n=1 || n=2
  ip -n $ns address add 10.9.0.$n/24 dev lan; ip -n $ns address add 2001:db8:9::$n/64 dev lan nodad
  ip -n $ns link set lan up
  ip -n $ns address add ${service4}/32 dev lo; ip -n $ns address add ${service6}/128 dev lo nodad
done
to() {
  ip route replace ${service4} via 10.0.$1.2
  ip -6 route replace ${service6} via 2001:db8:$1::2
}
to 3
ip netns exec a "$NODE" "$SERVER" a &
ip netns exec b "$NODE" "$SERVER" b &
while read -r line; do
  case $line in
    client) ip netns exec client "$NODE" "$CLIENT" ${service4} ${service6} < "$FIFO" & exec 9> "$FIFO" ;;
    ask*) echo "$line" >&9 ;;
    *) eval "$line" && echo "done: $line" ;;
  esac
done
`;

interface Site {
  /** Runs a line of shell there. */
  run: (line: string) => Promise<void>;
  /** Asks on every connection; who answered. */
  ask: () => Promise<string>;
}

async function startSite(t: TestContext): Promise<Site> {
  const child = spawn("unshare", [...space, "sh", "-c", setup], {
    env: {
      ...process.env,
      FIFO: "/run/fifo",
      NODE: process.execPath,
      SERVER: fileOf("daisy-server.ts"),
      CLIENT: fileOf("daisy-client.ts"),
    },
    stdio: "pipe",
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => (said += text));
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  });
  const saying = async (wanted: string): Promise<void> => {
    await until(wanted, async () => await Promise.resolve(said.includes(wanted))).catch((error: unknown) => {
      throw new Error(`it did not say "${wanted}":\n${said}`, { cause: error });
    });
  };
  for (const line of ["a listens 0.0.0.0", "a listens ::", "b listens 0.0.0.0", "b listens ::"]) await saying(line);
  child.stdin.write("client\n");
  await saying("client is connected");
  let asked = 0;
  return {
    async run(line) {
      child.stdin.write(`${line}\n`);
      await saying(`done: ${line}`);
    },
    async ask() {
      const mark = `ask ${++asked}`;
      child.stdin.write(`${mark}\n`);
      await saying(`${mark}: `);
      return new RegExp(`^${mark}: (.*)$`, "m").exec(said)?.[1] ?? "";
    },
  };
}

async function mayRun(t: TestContext): Promise<boolean> {
  return (
    needsProgram(t, "nft") &&
    needsProgram(t, "ip") &&
    needs(t, await isAllowed(), "user namespaces are not allowed here")
  );
}

const settings = (peer: number): string =>
  `PEER4=10.9.0.${peer} PEER6=2001:db8:9::${peer} SERVICE4=${service4} SERVICE6=${service6} PORTS='80, 443'`;
const chained = (ns: string, peer: number, order: "up" | "down"): string =>
  `${settings(peer)} ip netns exec ${ns} ${script} ${order}`;

test("without the chain, connections break when the router leads them to the other node", async (t) => {
  if (!(await mayRun(t))) return;
  const site = await startSite(t);
  assert.equal(await site.ask(), "10 b");
  await site.run("to 2");
  assert.equal(await site.ask(), "10 reset");
});

test("with the chain they live on, there and back, and end when their node dies", async (t) => {
  if (!(await mayRun(t))) return;
  const site = await startSite(t);
  await site.run(chained("a", 2, "up"));
  await site.run(chained("b", 1, "up"));
  assert.equal(await site.ask(), "10 b");
  await site.run("to 2");
  assert.equal(await site.ask(), "10 b", "node a hands them to b");
  await site.run("to 3");
  assert.equal(await site.ask(), "10 b");
  // Nobody has them any more: their clients hear of it at once, whoever gets the segments.
  await site.run("kill $(ip netns pids b)");
  // A question that leaves before the client has seen the FIN is answered by a RST.
  assert.match(await site.ask(), /^(10 closed|10 reset|\d closed, \d reset)$/);
});

test("up can be done again, and down leaves the node as it was", async (t) => {
  if (!(await mayRun(t))) return;
  const site = await startSite(t);
  const snapshot = (to: string): string =>
    `ip netns exec a sh -c "ip rule; ip -6 rule; ip route show table all; nft list ruleset; ` +
    `cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding" > /run/${to}`;
  await site.run(snapshot("before"));
  await site.run(chained("a", 2, "up"));
  await site.run(snapshot("once"));
  await site.run(chained("a", 2, "up"));
  await site.run(snapshot("twice"));
  await site.run("cmp /run/once /run/twice");
  await site.run(chained("a", 2, "down"));
  await site.run(chained("a", 2, "down"));
  await site.run(snapshot("after"));
  await site.run("cmp /run/before /run/after");
  await site.run(`! PEER4=203.0.113.9 SERVICE4=${service4} ip netns exec a ${script} up`);
});
