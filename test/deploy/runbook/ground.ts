/**
 * Where the runbook is run: its machines on one network, and the checkout in which releases are built.
 *
 *   a clone of the checkout ──release/──▶ workstation ──scp──▶ origin, fra1, nyc1
 */
import { execFile } from "node:child_process";
import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import type { Block } from "../../support/documents.ts";
import { commit, freshClone, linkPackages } from "../../support/fresh-clone.ts";
import { machineMs } from "../../lab/machine-clock.ts";
import { photograph } from "../../support/pictures.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { editFile } from "./edits.ts";
import { bootMachine, type Machine, type Ran } from "./machine.ts";
import { type Network, openNetwork } from "./network.ts";

const execute = promisify(execFile);
const editorScript = fileURLToPath(new URL("editor.ts", import.meta.url));
const buildTimeoutMs = 600_000;

/** The machines of the runbook's first table; the default route goes by the last address. */
const addressesOf: Readonly<Record<string, readonly string[]>> = {
  origin: ["10.0.0.5/16"],
  fra1: ["10.0.1.1/16", "192.0.2.10/24"],
  nyc1: ["10.0.2.1/16", "198.51.100.10/24"],
  workstation: ["10.0.9.9/16"],
};
const hosts = Object.entries(addressesOf)
  .map(([name, [address = ""]]) => `${address.split("/")[0]} ${name}\n`)
  .join("");
/** A machine that was set up anew has another key; whoever sits here has nobody to fear. */
const sshConfig = "Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n";

export interface Ground {
  network: Network;
  /** Runs a block: on a machine, or (`build`) in the clone. */
  run: (where: string, script: string) => Promise<Ran & { tookMs: number }>;
  /** A new commit comes out, which `git pull` fetches into the clone. */
  publish: () => Promise<void>;
  /** What the next `editor` of this file makes of it. */
  stateEdit: (block: Block) => Promise<void>;
  /** The machine's last words, for whoever wants to know why a block failed. */
  logOf: (where: string) => Promise<string>;
  /** The power goes, and nothing of the machine is left. */
  lose: (name: string) => Promise<void>;
  /** A new machine in the place of a lost one, with nothing on it. */
  replace: (name: string) => Promise<void>;
}

/** Why machines can't be had here; undefined: they can. */
export async function whyNoGround(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "machines of its own need root";
  try {
    await execute("sh", ["-c", "command -v ip nsenter rsync scp setpriv sshd sysctl unshare /lib/systemd/systemd"]);
  } catch {
    return "not all of ip, nsenter, rsync, scp, setpriv, sshd, sysctl, systemd and unshare are installed";
  }
  const tried = "mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w && mount -t cgroup2 cgroup2 /mnt/u";
  try {
    await execute("unshare", ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "sh", "-c", tried]);
    return undefined;
  } catch (error) {
    return `no machine can be made here: ${(error as Error).message}`;
  }
}

export async function openGround(t: TestContext): Promise<Ground> {
  const folder = await temporaryDirectory(t);
  const [upstream, clone] = [join(folder, "upstream"), join(folder, "clone")];
  const network = await openNetwork();
  t.after(network.close);
  const machines = new Map<string, Machine>();
  t.after(async () => {
    await Promise.all([...machines.values()].map(async (machine) => await machine.kill()));
  });
  const key = join(folder, "id_ed25519");
  await Promise.all([
    makeClones(upstream, clone),
    execute("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]),
    makePictures(join(folder, "pictures")),
  ]);

  const boot = async (name: string): Promise<void> => {
    const plugIn = async (pid: number): Promise<void> => {
      await network.plugIn(name, addressesOf[name] ?? [], pid);
    };
    const machine = await bootMachine({ name, plugIn });
    machines.set(name, machine);
    await mkdir(machine.path("/home/operator/.ssh"), { mode: 0o700 });
    await cp(key, machine.path("/home/operator/.ssh/id_ed25519"));
    await cp(`${key}.pub`, machine.path("/home/operator/.ssh/authorized_keys"));
    await machine.write("/home/operator/.ssh/config", sshConfig);
    await machine.write("/etc/hosts", `127.0.0.1 localhost\n${hosts}`);
    await machine.write("/usr/local/bin/editor", `#!/bin/sh\nexec ${process.execPath} ${editorScript} "$@"\n`, 0o755);
    if (name === "workstation") {
      await cp(join(folder, "pictures"), machine.path("/home/operator/pictures"), { recursive: true });
    }
  };
  await Promise.all(Object.keys(addressesOf).map(boot));

  const machineOf = (where: string): Machine => {
    const machine = machines.get(where);
    if (machine === undefined) throw new Error(`the runbook's table has no machine "${where}"`);
    return machine;
  };
  return {
    network,
    async run(where, script) {
      const startMs = machineMs();
      const ran = where === "build" ? await build(clone, script) : await machineOf(where).run(script);
      const tookMs = Math.round(machineMs() - startMs);
      if (where === "build") {
        const release = machineOf("workstation").path("/home/operator/release");
        await rm(release, { recursive: true, force: true });
        await cp(join(clone, "release"), release, { recursive: true });
      }
      return { ...ran, tookMs };
    },
    publish: async () => await commit(upstream, "the next release"),
    async stateEdit({ words: [path = ""], text }) {
      const edit = editFile(basename(path));
      await Promise.all([...machines.values()].map(async (machine) => await machine.write(edit, text)));
    },
    async logOf(where) {
      if (where === "build") return "";
      const script = "journalctl --no-pager --lines 40 --unit 'nearcast-*'; journalctl --no-pager --lines 20";
      return (await machineOf(where).run(script)).output;
    },
    async lose(name) {
      await machineOf(name).kill();
      machines.delete(name);
    },
    replace: boot,
  };
}

/** As `sh -eu` in the clone; npm takes packages from its cache where it has them. */
async function build(clone: string, script: string): Promise<Ran> {
  const env = { ...process.env, npm_config_prefer_offline: "true", npm_config_update_notifier: "false" };
  return await new Promise((resolve) => {
    const options = { cwd: clone, env, timeout: buildTimeoutMs, maxBuffer: 16 * 1024 * 1024 };
    execFile("bash", ["-euc", `exec 2>&1; ${script}`], options, (error, output) => {
      resolve({ status: error === null ? 0 : typeof error.code === "number" ? error.code : -1, output });
    });
  });
}

async function makeClones(upstream: string, clone: string): Promise<void> {
  await freshClone(upstream);
  await execute("git", ["clone", "--quiet", upstream, clone]);
  await linkPackages(clone);
}

async function makePictures(folder: string): Promise<void> {
  await mkdir(folder);
  await writeFile(join(folder, "chair.jpg"), await photograph(1, { width: 640, height: 427 }));
  for (let index = 0; index < 400; index++) {
    const picture = await photograph(100 + index, { width: 48, height: 32 });
    await writeFile(join(folder, `${index}.jpg`), picture);
  }
}
