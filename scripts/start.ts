/**
 * Three programs, their certificates and one pool, below one directory: what it takes to try Drover on one host. A
 * second start finds everything as it was left.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { stringify } from "yaml";
import { signalled } from "../lib/config.ts";
import { REPOSITORY } from "../test/lab/guest.ts";
import { Pki } from "../test/lab/pki.ts";
import { run, waitForSocket } from "../test/lab/process.ts";
import { hindrancesOf, qemuUserOf } from "./start-checks.ts";

const LIBVIRT = "qemu:///system";
const AGENTS = "127.0.0.1:7444";
const USERS = "127.0.0.1:7443";
const START_TIMEOUT_MS = 20_000;

const { values: flags } = parseArgs({ options: { directory: { type: "string", default: join(REPOSITORY, ".drover") } } });
const directory = resolve(flags.directory);
const inside = (...path: string[]) => join(directory, ...path);
const nodeName = hostname().toLowerCase().replaceAll(/[^a-z0-9.-]/g, "-");
const guest = { kernel: inside("pool/vmlinuz"), initrd: inside("pool/initrd.img") };

function installPool(): void {
  mkdirSync(inside("pool"), { recursive: true });
  for (const [file, path] of [["vmlinuz", guest.kernel], ["initrd.img", guest.initrd]] as const) {
    if (!existsSync(path)) copyFileSync(join(REPOSITORY, ".cache/guest", file), path);
  }
}

/** Says all that is in the way before anything runs, and ends where a machine could not start at all. */
async function refuseHindrances(): Promise<void> {
  const user = qemuUserOf(await run("virsh", ["-c", LIBVIRT, "capabilities"]));
  const found = user === undefined ? [] : await hindrancesOf(user, { pool: inside("pool"), device: "/dev/kvm" });
  for (const { message } of found) process.stderr.write(`start: ${message}\n`);
  if (found.some(({ isFatal }) => isFatal)) process.exit(2);
}

function configure(name: string, config: Record<string, unknown>): string {
  const path = inside(`${name}.yaml`);
  writeFileSync(path, stringify(config));
  return path;
}

/** Asked to end also when this program is killed, so that the next start finds its ports free. */
function launch(name: string, config: Record<string, unknown>): ChildProcess {
  const log = openSync(inside("log", `${name}.log`), "a");
  const program = [process.execPath, join(REPOSITORY, name, "main.ts"), "--config", configure(name, config)];
  return spawn("setpriv", ["--pdeathsig", "TERM", "--", ...program], { stdio: ["ignore", log, log] });
}

mkdirSync(inside("log"), { recursive: true, mode: 0o755 });
mkdirSync(inside("store"), { recursive: true, mode: 0o700 });
installPool();
await refuseHindrances();

const pki = await Pki.open(inside("pki"), { serverAddress: "127.0.0.1", nodes: [nodeName] });
const socket = inside("api.sock");
const ended = signalled("SIGINT", "SIGTERM", "SIGHUP");
const children: ChildProcess[] = [];
children.push(launch("api-server", {
  store: `sqlite:${inside("store/drover.db")}`,
  listen: { unix: socket, tcp: USERS, agents: AGENTS },
  agentsTls: pki.apiServer,
}));
await waitForSocket(socket, { timeoutMs: START_TIMEOUT_MS });
children.push(launch("controller", { server: `unix://${socket}` }));
children.push(launch("node-agent", {
  server: AGENTS,
  tls: pki.node(nodeName),
  stateDirectory: inside("node"),
  libvirtUri: LIBVIRT,
  pools: [{ name: "shared", path: inside("pool") }],
  allowEmulation: true,
  canary: guest,
}));

process.stdout.write(`Drover runs on this machine as node "${nodeName}".

  export DROVER_SERVER=${USERS} PATH=${join(REPOSITORY, "bin")}:$PATH
  drover node list
  drover apply -f docs/examples/vm.yaml && drover start demo --wait && drover logs demo

Everything it keeps is below ${directory}, with the logs in ${inside("log")}. Ctrl-C ends Drover; guests run on.
`);

const died = Promise.race(children.map(async (child) => once(child, "exit").then(() => child)));
const first = await Promise.race([ended, died]);
for (const child of children) child.kill("SIGTERM");
const runs = ({ exitCode, signalCode }: ChildProcess) => exitCode === null && signalCode === null;
await Promise.all(children.filter(runs).map((child) => once(child, "exit")));
if (typeof first === "string") process.exit(0);
process.stderr.write(`${first.spawnargs.find((word) => word.endsWith("main.ts"))} ended: see ${inside("log")}\n`);
process.exit(1);
