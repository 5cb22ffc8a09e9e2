/**
 * What trust costs a call: mutual TLS, the decision about rights and the audit, beside the same calls over the unix socket
 * and a bare grpc-js echo in the clear. Rounds are interleaved, so that a busy machine meets all alike.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { AuthServiceDefinition } from "../gen/drover/v1/auth.ts";
import { RoleBinding, RoleBindingServiceDefinition, SubjectKind } from "../gen/drover/v1/role_binding.ts";
import { RunStrategy, VirtualMachine, VirtualMachineServiceDefinition } from "../gen/drover/v1/virtual_machine.ts";
import { connect } from "../lib/client.ts";
import type { Access, Connection } from "../lib/client.ts";
import { newRequest } from "../lib/pki/keys.ts";
import { startEcho } from "./echo.ts";
import { figure } from "./figure.ts";
import type { Figure, Report } from "./figure.ts";
import { underLoad } from "./load.ts";
import type { Measured } from "./load.ts";
import { LocalFleet } from "./local-fleet.ts";
import { bareMachine, NAMESPACE } from "./machines.ts";
import type { Settings } from "./settings.ts";
import { bootstrap, median, quantile } from "./statistics.ts";

const CLIENTS = 16;
const ROUND_MS = 800;
const TTL_SECONDS = 3_600;
const USER = "bench";

const KINDS = ["echo", "get, unix socket", "get, mutual TLS and rights", "create, unix socket", "create, mutual TLS and rights"] as const;
type Kind = (typeof KINDS)[number];

export async function benchTrust({ pairs, say }: Settings): Promise<Report[]> {
  await using fleet = await LocalFleet.start({ agents: [], controller: false, apiServer: { logLevel: "warn" } });
  using local = connect({ server: fleet.unixServer });
  using remote = connect(await userOf(fleet, local));
  const measured = await interleaved({ local, remote }, pairs, say);
  return [{ title: `Trust: what a call costs, ${CLIENTS} at once`, figures: figuresOf(measured) }];
}

/** A user by certificate, whose rights come from a binding. */
async function userOf(fleet: LocalFleet, local: Connection): Promise<Access & { server: string }> {
  const { server, tls } = await fleet.access();
  const { csrPem, keyPem } = await newRequest();
  const asked = { csrPem, user: USER, groups: [], ttlSeconds: TTL_SECONDS, requestId: "", validateOnly: false };
  const { certificatePem } = await local.client(AuthServiceDefinition).signUserCertificate(asked);
  const subject = { kind: SubjectKind.USER, name: USER };
  const roleBinding = RoleBinding.create({ metadata: { name: USER }, spec: { role: "operator", subjects: [subject], namespaces: [NAMESPACE] } });
  await local.client(RoleBindingServiceDefinition).createRoleBinding({ roleBinding, requestId: "", validateOnly: false });
  const [cert, key] = [join(fleet.directory, "user.pem"), join(fleet.directory, "user.key")];
  writeFileSync(cert, certificatePem);
  writeFileSync(key, keyPem, { mode: 0o600 });
  return { server, tls: { ...tls!, cert, key } };
}

async function interleaved({ local, remote }: { local: Connection; remote: Connection }, rounds: number, say: Settings["say"]): Promise<Record<Kind, Measured[]>> {
  using echo = await startEcho();
  const machine = (name: string) => bareMachine({ name, runStrategy: RunStrategy.HALTED, memory: "64Mi" });
  const [unix, tls] = [local, remote].map((connection) => connection.client(VirtualMachineServiceDefinition));
  const { virtualMachine } = await unix!.createVirtualMachine({ virtualMachine: machine("model"), requestId: "", validateOnly: false });
  const bytes = Buffer.from(VirtualMachine.encode(virtualMachine!).finish());
  const get = (api: typeof unix) => () => api!.getVirtualMachine({ namespace: NAMESPACE, name: "model" });
  const create = (api: typeof unix, prefix: string) => (client: number, index: number) =>
    api!.createVirtualMachine({ virtualMachine: machine(`${prefix}-${client}-${index}`), requestId: "", validateOnly: false });
  const measured = Object.fromEntries(KINDS.map((kind) => [kind, []])) as unknown as Record<Kind, Measured[]>;
  for (let round = 0; round <= rounds; round++) {
    const calls: Record<Kind, (client: number, index: number) => Promise<unknown>> = {
      echo: () => echo.call(bytes),
      "get, unix socket": get(unix),
      "get, mutual TLS and rights": get(tls),
      "create, unix socket": create(unix, `u${round}`),
      "create, mutual TLS and rights": create(tls, `t${round}`),
    };
    for (const kind of KINDS) {
      const result = await underLoad({ clients: CLIENTS, forMs: ROUND_MS }, calls[kind]);
      if (round > 0) measured[kind].push(result); // The first one warms up.
    }
    say(`trust ${round}/${rounds}`);
  }
  return measured;
}

/** Time of a call under this load is the load's clients over its rate, so ratios of rates are ratios of times. */
function figuresOf(measured: Record<Kind, Measured[]>): Figure[] {
  const rate = (kind: Kind) => median(measured[kind].map((one) => one.rate));
  const ratio = (name: string, ours: Kind, theirs: Kind): Figure => {
    const ratios = measured[ours].map((one, round) => measured[theirs][round]!.rate / one.rate);
    return { name, unit: "×", ...bootstrap(ratios, median) };
  };
  const rows = KINDS.flatMap((kind) => [
    figure(kind, rate(kind), "/s"),
    figure(`${kind}, p99`, quantile(measured[kind].flatMap(({ timesMs }) => timesMs), 0.99), "ms"),
  ]);
  return [
    ratio("a get with mutual TLS and rights, of the time of the bare echo", "get, mutual TLS and rights", "echo"),
    ratio("a get with mutual TLS and rights, of the time over the unix socket", "get, mutual TLS and rights", "get, unix socket"),
    ratio("an audited create with mutual TLS and rights, of the time of the bare echo", "create, mutual TLS and rights", "echo"),
    ratio("an audited create with mutual TLS and rights, of the time over the unix socket", "create, mutual TLS and rights", "create, unix socket"),
    ...rows,
  ];
}
