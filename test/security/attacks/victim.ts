/** The api-server under attack, as a process of its own, and a client of it that behaves. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { AuthServiceDefinition } from "../../../gen/drover/v1/auth.ts";
import { Namespace, NamespaceServiceDefinition } from "../../../gen/drover/v1/namespace.ts";
import { RoleBinding, RoleBindingServiceDefinition, SubjectKind } from "../../../gen/drover/v1/role_binding.ts";
import { type ClientTls, connect } from "../../../lib/client.ts";
import { delay, systemClock } from "../../../lib/clock.ts";
import { newRequest } from "../../../lib/pki/keys.ts";
import { REPOSITORY } from "../../lab/guest.ts";
import { Program } from "../../lab/process.ts";

const EVERY_MS = 10;
const CALL_MS = 5_000;
const RSS_EVERY_MS = 100;
const ONCE = { requestId: "", validateOnly: false };

export type Listener = "public" | "agents" | "enrolment";
export type Measured = { calls: number; failed: number; medianMs: number; p99Ms: number; rssBytes: number };
export type Victim = Awaited<ReturnType<typeof startVictim>>;

export async function startVictim(settings: Record<string, unknown> = {}) {
  const directory = mkdtempSync(join(tmpdir(), "drover-victim-"));
  const [config, unix] = [join(directory, "config.yaml"), join(directory, "api.sock")];
  const free = "127.0.0.1:0";
  writeFileSync(config, stringify({
    store: "memory:", pki: { directory: join(directory, "pki") }, listen: { unix, public: free, agents: free, enrolment: free }, ...settings,
  }));
  const program = await Program.start({ command: process.execPath, args: [join(REPOSITORY, "api-server/main.ts"), "--config", config], logFile: join(directory, "log") });
  const ca = join(directory, "pki/ca.pem");
  const ports = await portsOf(program);
  await program.waitForLine(/"serving"/);
  const local = connect({ server: `unix://${unix}` });
  const auth = local.client(AuthServiceDefinition);
  /** A certificate of a user who may read everything. */
  async function viewer(user: string): Promise<Required<ClientTls>> {
    const { csrPem, keyPem } = await newRequest();
    const { certificatePem } = await auth.signUserCertificate({ csrPem, user, groups: ["viewers"], ttlSeconds: 0 });
    const [cert, key] = [join(directory, `${user}.pem`), join(directory, `${user}.key`)];
    writeFileSync(cert, certificatePem);
    writeFileSync(key, keyPem);
    return { ca, cert, key };
  }
  const roleBinding = RoleBinding.create({ metadata: { name: "viewers" }, spec: { role: "viewer", subjects: [{ kind: SubjectKind.GROUP, name: "viewers" }] } });
  await local.client(RoleBindingServiceDefinition).createRoleBinding({ ...ONCE, roleBinding });
  await fill(local.client(NamespaceServiceDefinition));
  const [good, bad] = [await viewer("good"), await viewer("bad")];
  const rssBytes = () => 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${program.pid}/status`, "utf8"))![1]);
  return {
    program, ports, unix, good, bad, viewer, rssBytes,
    /** Calls at a steady pace until the signal aborts. */
    measure: (signal: AbortSignal) => measure(`127.0.0.1:${ports.public}`, good, { signal, rssBytes }),
    async [Symbol.asyncDispose]() {
      local[Symbol.dispose]();
      await program[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true });
    },
  };
}

/** Makes lists worth stalling: some hundred kibibytes. */
async function fill(namespaces: { createNamespace(request: { namespace: Namespace } & typeof ONCE): Promise<unknown> }): Promise<void> {
  for (let n = 0; n < 100; n += 1) {
    await namespaces.createNamespace({ ...ONCE, namespace: Namespace.create({ metadata: { name: `space-${n}`, annotations: { note: "n".repeat(4_000) } } }) });
  }
}

async function portsOf(program: Program): Promise<Record<Listener, number>> {
  const portOf = async (name: Listener) => Number((await program.waitForLine(new RegExp(`"listener":"${name}".*"port":(\\d+)`)))[1]);
  return { public: await portOf("public"), agents: await portOf("agents"), enrolment: await portOf("enrolment") };
}

type Measuring = { signal: AbortSignal; rssBytes: () => number };

async function measure(server: string, tls: ClientTls, { signal, rssBytes }: Measuring): Promise<Measured> {
  using connection = connect({ server, tls });
  const namespaces = connection.client(NamespaceServiceDefinition);
  const timesMs: number[] = [];
  let failed = 0;
  const call = async () => {
    const startMs = systemClock.monotonicMs();
    await namespaces.getNamespace({ name: "default" }, { deadline: new Date(Date.now() + CALL_MS) }).catch(() => (failed += 1));
    timesMs.push(systemClock.monotonicMs() - startMs);
  };
  await call();
  timesMs.length = 0;
  const under: Promise<void>[] = [];
  let rssMost = 0;
  for (let n = 0; !signal.aborted; n += 1) {
    under.push(call());
    if (n % (RSS_EVERY_MS / EVERY_MS) === 0) rssMost = Math.max(rssMost, rssBytes());
    await delay(systemClock, EVERY_MS);
  }
  await Promise.all(under);
  timesMs.sort((a, b) => a - b);
  const at = (part: number) => timesMs[Math.min(timesMs.length - 1, Math.floor(part * timesMs.length))] ?? 0;
  return { calls: timesMs.length, failed, medianMs: at(0.5), p99Ms: at(0.99), rssBytes: rssMost };
}
