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
import { AuthServiceDefinition } from "../gen/drover/v1/auth.ts";
import { NodeServiceDefinition } from "../gen/drover/v1/node.ts";
import { connect } from "../lib/client.ts";
import type { Connection } from "../lib/client.ts";
import { systemClock } from "../lib/clock.ts";
import { signalled } from "../lib/config.ts";
import { readIdentity } from "../node-agent/join/identity-files.ts";
import { joinFleet } from "../node-agent/join/join.ts";
import { REPOSITORY } from "../test/lab/guest.ts";
import { run, waitForSocket } from "../test/lab/process.ts";
import { hindrancesOf, qemuUserOf } from "./start-checks.ts";

const LIBVIRT = "qemu:///system";
const [USERS, AGENTS, ENROLMENT] = ["127.0.0.1:7443", "127.0.0.1:7444", "127.0.0.1:7445"];
const START_TIMEOUT_MS = 20_000;
const TOKEN_NAME = "start";
const ONCE = { requestId: "", validateOnly: false };

const { values: flags } = parseArgs({ options: { directory: { type: "string", default: join(REPOSITORY, ".drover") } } });
const directory = resolve(flags.directory);
const inside = (...path: string[]) => join(directory, ...path);
const nodeName = hostname().toLowerCase().replaceAll(/[^a-z0-9.-]/g, "-");
const socket = inside("api.sock");
const stateDirectory = inside("node");
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

/** Whether this host is the node that the records know, by a certificate that has not ended. */
async function isNode({ client }: Connection): Promise<boolean> {
  try {
    const { identity, life } = readIdentity(stateDirectory);
    const { node } = await client(NodeServiceDefinition).getNode({ name: nodeName });
    const { incarnation, revoked } = node!.status!.identity!;
    return node!.metadata!.uid === identity.uid && incarnation === identity.incarnation && !revoked && life.notAfter > systemClock.now();
  } catch {
    return false;
  }
}

/** A host that was off for longer than a certificate lives joins again. */
async function becomeNode(connection: Connection): Promise<void> {
  if (await isNode(connection)) return;
  const { token } = await connection.client(NodeServiceDefinition).createNodeToken({ name: nodeName, ttlSeconds: 0, ...ONCE });
  await joinFleet({ server: ENROLMENT, token, stateDirectory, force: true, clock: systemClock });
}

/** The administrator's environment. Each start makes a token anew, as none is ever shown twice. */
async function writeEnvironment({ client }: Connection): Promise<void> {
  const auth = client(AuthServiceDefinition);
  await auth.revokeServiceToken({ name: TOKEN_NAME, ...ONCE }).catch(() => undefined);
  const { token } = await auth.createServiceToken({ name: TOKEN_NAME, role: "admin", namespaces: [], ttlSeconds: 0, ...ONCE });
  const variables = { DROVER_SERVER: USERS, DROVER_CA: inside("pki/ca.pem"), DROVER_TOKEN: token };
  const path = `export PATH='${join(REPOSITORY, "bin")}':$PATH\n`;
  writeFileSync(inside("env"), path + Object.entries(variables).map(([name, value]) => `export ${name}='${value}'\n`).join(""), { mode: 0o600 });
}

mkdirSync(inside("log"), { recursive: true, mode: 0o755 });
mkdirSync(inside("store"), { recursive: true, mode: 0o700 });
installPool();
await refuseHindrances();

const ended = signalled("SIGINT", "SIGTERM", "SIGHUP");
const children: ChildProcess[] = [];
children.push(launch("api-server", {
  store: `sqlite:${inside("store/drover.db")}`,
  pki: { directory: inside("pki") },
  listen: { unix: socket, public: USERS, agents: AGENTS, enrolment: ENROLMENT },
}));
await waitForSocket(socket, { timeoutMs: START_TIMEOUT_MS });
const [ca, cert, key] = ["ca.pem", "controller.pem", "controller.key"].map((file) => inside("pki", file));
children.push(launch("controller", { server: USERS, tls: { ca, cert, key } }));
{
  using connection = connect({ server: `unix://${socket}` });
  await Promise.all([becomeNode(connection), writeEnvironment(connection)]);
}
children.push(launch("node-agent", {
  server: AGENTS,
  stateDirectory,
  libvirtUri: LIBVIRT,
  pools: [{ name: "shared", path: inside("pool") }],
  allowEmulation: true,
  canary: guest,
}));

process.stdout.write(`Drover runs on this machine as node "${nodeName}".

  . ${inside("env")}
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
