/** A real api-server process over a store in memory, and what a caller of it sees: refusals in full, and what is recorded. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentials, Client } from "@grpc/grpc-js";
import { ClientError, Status } from "nice-grpc";
import { BadRequest, ErrorInfo, PreconditionFailure, RetryInfo, RichClientError } from "nice-grpc-error-details";
import { stringify } from "yaml";
import { EventServiceDefinition } from "../../gen/drover/v1/event.ts";
import { MigrationServiceDefinition } from "../../gen/drover/v1/migration.ts";
import { MigrationPolicyServiceDefinition } from "../../gen/drover/v1/migration_policy.ts";
import { NamespaceServiceDefinition } from "../../gen/drover/v1/namespace.ts";
import { NodeServiceDefinition } from "../../gen/drover/v1/node.ts";
import { VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstanceServiceDefinition } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { VolumeServiceDefinition } from "../../gen/drover/v1/volume.ts";
import { connect } from "../../lib/client.ts";
import type { Connection } from "../../lib/client.ts";
import { REPOSITORY } from "../lab/guest.ts";
import { Program } from "../lab/process.ts";

const LISTENING = /"address":"127\.0\.0\.1:0","port":(\d+)/;
const CALL_MS = 10_000;
/** Both libraries have an enum of them. */
const STATUSES: Record<number, Status> = Object.fromEntries(Object.values(Status).filter((code) => typeof code === "number").map((code) => [code, code]));

const clientsOf = (connection: Connection) => ({
  machines: connection.client(VirtualMachineServiceDefinition),
  instances: connection.client(VirtualMachineInstanceServiceDefinition),
  migrations: connection.client(MigrationServiceDefinition),
  policies: connection.client(MigrationPolicyServiceDefinition),
  nodes: connection.client(NodeServiceDefinition),
  volumes: connection.client(VolumeServiceDefinition),
  spaces: connection.client(NamespaceServiceDefinition),
  events: connection.client(EventServiceDefinition),
});
export type Clients = ReturnType<typeof clientsOf>;

export const EVERYTHING = { namespace: "", pageSize: 0, pageToken: "", labelSelector: "", fieldSelector: "" };
export const ONCE = { requestId: "", validateOnly: false };

/** `user` calls over TCP, `admin` over the unix socket; `raw` sends bytes of any kind. */
export async function startServer(settings: Record<string, unknown> = {}) {
  const directory = mkdtempSync(join(tmpdir(), "drover-api-process-"));
  const [config, unix] = [join(directory, "config.yaml"), join(directory, "api.sock")];
  writeFileSync(config, stringify({ store: "memory:", listen: { unix, insecureLoopback: "127.0.0.1:0" }, ...settings }));
  const logFile = join(directory, "log");
  const program = await Program.start({ command: process.execPath, args: [join(REPOSITORY, "api-server/main.ts"), "--config", config], logFile });
  const [, port] = await program.waitForLine(LISTENING);
  await program.waitForLine(/"serving"/);
  const address = `127.0.0.1:${port}`;
  const [remote, local] = [connect({ server: address }), connect({ server: `unix://${unix}` })];
  const raw = new Client(address, credentials.createInsecure());
  const admin = clientsOf(local);
  return {
    program, address, admin,
    user: clientsOf(remote),
    records: () => recordsOf(admin),
    /** The status that an RPC answers to these bytes. */
    send: (path: string, bytes: Buffer) => new Promise<Status>((resolve) => {
      raw.makeUnaryRequest(path, (sent: Buffer) => sent, (got) => got, bytes, { deadline: Date.now() + CALL_MS }, (error) => resolve(STATUSES[error?.code ?? 0] ?? Status.UNKNOWN));
    }),
    async [Symbol.asyncDispose]() {
      raw.close();
      for (const connection of [remote, local]) connection[Symbol.dispose]();
      await program[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true });
    },
  };
}
export type Server = Awaited<ReturnType<typeof startServer>>;

/** All objects of every kind, and the revision, which every commit moves. */
async function recordsOf({ machines, instances, migrations, nodes, volumes, spaces, events }: Clients): Promise<unknown> {
  return Promise.all([
    machines.listVirtualMachines(EVERYTHING),
    instances.listVirtualMachineInstances(EVERYTHING),
    migrations.listVirtualMachineInstanceMigrations(EVERYTHING),
    nodes.listNodes(EVERYTHING),
    volumes.listVolumes(EVERYTHING),
    spaces.listNamespaces(EVERYTHING),
    events.listEvents(EVERYTHING),
  ]);
}

export type Refusal = {
  code: string;
  message: string;
  reason: string;
  metadata: Record<string, string>;
  /** What is said about each field. */
  fields: Map<string, string[]>;
  /** Types of what was not met. */
  preconditions: string[];
  /** When to try again; 0 when it does not say. */
  retryMs: number;
};

/** How a call is refused; fails when it is not. */
export async function refusal(attempt: Promise<unknown>): Promise<Refusal> {
  const error = await attempt.then((answer) => assert.fail(`was not refused: ${JSON.stringify(answer)?.slice(0, 500)}`), (caught: unknown) => caught);
  assert.ok(error instanceof ClientError, String(error));
  const extra = error instanceof RichClientError ? error.extra : [];
  const of = (type: string): unknown => extra.find((detail) => detail.$type === type);
  const info = of(ErrorInfo.$type) as ErrorInfo | undefined;
  const bad = of(BadRequest.$type) as BadRequest | undefined;
  const unmet = of(PreconditionFailure.$type) as PreconditionFailure | undefined;
  const retry = of(RetryInfo.$type) as RetryInfo | undefined;
  const fields = new Map<string, string[]>();
  for (const { field, description } of bad?.fieldViolations ?? []) fields.set(field, [...(fields.get(field) ?? []), description]);
  return {
    code: Status[error.code],
    message: error.details,
    reason: info?.reason ?? "",
    metadata: { ...info?.metadata },
    fields,
    preconditions: (unmet?.violations ?? []).map(({ type }) => type),
    retryMs: 1000 * (retry?.retryDelay?.seconds ?? 0) + (retry?.retryDelay?.nanos ?? 0) / 1_000_000,
  };
}

/** Runs what must leave no trace, and gives its answer. */
export async function leavingNothing<T>(server: Server, act: () => Promise<T>): Promise<T> {
  const before = await server.records();
  const answer = await act();
  assert.deepEqual(await server.records(), before, "something was recorded");
  assert.ok(server.program.isAlive(), "the server is down");
  return answer;
}

/** Refused with exactly these fields named, each with words that fit, and nothing recorded. */
export async function assertInvalid(server: Server, attempt: () => Promise<unknown>, expected: Record<string, RegExp>): Promise<void> {
  const { code, reason, fields, message } = await leavingNothing(server, () => refusal(attempt()));
  assert.equal(code, "INVALID_ARGUMENT", message);
  assert.equal(reason, "INVALID_FIELDS");
  assert.deepEqual([...fields.keys()].sort(), Object.keys(expected).sort(), message);
  for (const [path, words] of Object.entries(expected)) assert.match(fields.get(path)!.join("; "), words, path);
}
