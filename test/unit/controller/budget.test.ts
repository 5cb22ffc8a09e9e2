/** The controller beside a real API server, with agents that speak the real protocol: what a start and a move cost. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MIGRATION_BUDGETS } from "../../../controller/migration/budgets.ts";
import { runController } from "../../../controller/controller.ts";
import { clientsOn } from "../../../controller/api.ts";
import type { Clients } from "../../../controller/api.ts";
import { positionOf } from "../../../controller/revision.ts";
import { ListEventsRequest } from "../../../gen/drover/v1/event.ts";
import { ObjectMeta } from "../../../gen/drover/v1/meta.ts";
import { GetVirtualMachineInstanceMigrationRequest, ListVirtualMachineInstanceMigrationsRequest, MigrationPhase } from "../../../gen/drover/v1/migration.ts";
import {
  DeleteVirtualMachineRequest, GetVirtualMachineRequest, ListVirtualMachinesRequest, MigrateVirtualMachineRequest, PrintableStatus, RunStrategy, StartVirtualMachineRequest, StopVirtualMachineRequest, VirtualMachine,
} from "../../../gen/drover/v1/virtual_machine.ts";
import { connect } from "../../../lib/client.ts";
import { systemClock } from "../../../lib/clock.ts";
import { silentLog } from "../../../lib/log.ts";
import { MIGRATION_DEFAULTS } from "../../../lib/migration-policy.ts";
import { systemRandom } from "../../../lib/random.ts";
import { enrol } from "../../contract/enrol.ts";
import { Peer } from "./peer.ts";
import type { Guests } from "./peer.ts";
import { aSpec } from "./world.ts";

const START_COMMITS_MAX = 8;
const DISKLESS_COMMITS_MAX = 5;
const MIGRATION_COMMITS_MAX = 12;

describe("the controller beside a real API server", function () {
  this.timeout(60_000);
  let directory: string;
  let server: ChildProcess;
  let serve: () => void;
  let clients: Clients;
  const guests: Guests = new Map();
  const stop = new AbortController();
  const closing: (() => Promise<void> | void)[] = [];

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "drover-controller-"));
    const [agents, enrolment] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
    await mkdir(join(directory, "store"));
    const config = join(directory, "api.yaml");
    const unix = join(directory, "api.sock");
    const pki = { directory: join(directory, "pki") };
    await writeFile(config, JSON.stringify({ store: `sqlite:${directory}/store/drover.db`, listen: { unix, agents, enrolment }, pki, logLevel: "warn" }));
    const main = join(import.meta.dirname, "../../../api-server/main.ts");
    serve = () => (server = spawn(process.execPath, [main, "--config", config], { stdio: ["ignore", "ignore", "ignore"] }));
    serve();
    const connection = connect({ server: `unix://${unix}` });
    clients = clientsOn(connection);
    await until(async () => (await clients.machines.listVirtualMachines(ListVirtualMachinesRequest.create())).revision !== "");
    const running = runController({ config: { migrations: { fleet: 5, outboundPerNode: 2, inboundPerNode: 2, defaults: MIGRATION_DEFAULTS, budgets: MIGRATION_BUDGETS } }, connection, name: "the test", clock: systemClock, random: systemRandom, log: silentLog, signal: stop.signal });
    closing.push(() => running, () => connection[Symbol.dispose]());
    for (const name of ["a", "b"]) {
      const { token } = await clients.nodes.createNodeToken({ name, ttlSeconds: 0, requestId: "", validateOnly: false });
      const { agent } = await enrol(join(directory, name), { server: enrolment, token });
      const peer = new Peer({ name, server: agents, tls: agent, guests });
      await peer.start();
      closing.unshift(() => peer[Symbol.asyncDispose]());
    }
  });

  after(async () => {
    stop.abort(new Error("The test is over"));
    for (const close of closing) await close();
    const exited = once(server, "exit");
    if (server.exitCode === null && server.kill("SIGTERM")) await exited;
    await rm(directory, { recursive: true, force: true });
  });

  it("starts a machine with one volume in eight commits at most, the verb included", async () => {
    const virtualMachine = VirtualMachine.create({
      metadata: ObjectMeta.create({ name: "web", namespace: "default" }),
      spec: { runStrategy: RunStrategy.MANUAL, template: { spec: aSpec() } },
    });
    await clients.machines.createVirtualMachine({ virtualMachine, requestId: "", validateOnly: false });
    await quiet(clients);
    const before = await revision(clients);
    await clients.machines.startVirtualMachine(StartVirtualMachineRequest.create({ name: "web" }));
    await until(async () => (await machine(clients)).status?.printableStatus === PrintableStatus.RUNNING);
    const commits = (await quiet(clients)) - before - (await eventsSince(clients, before));
    assert.ok(commits <= START_COMMITS_MAX, `${commits} commits`);
    assert.equal(guests.size, 1);
  });

  it("starts a machine that writes to no volume bound from its birth, in five commits at most", async () => {
    const virtualMachine = VirtualMachine.create({
      metadata: ObjectMeta.create({ name: "bare", namespace: "default" }),
      spec: { runStrategy: RunStrategy.MANUAL, template: { spec: aSpec({ disks: [] }) } },
    });
    await clients.machines.createVirtualMachine({ virtualMachine, requestId: "", validateOnly: false });
    const before = await quiet(clients);
    await clients.machines.startVirtualMachine(StartVirtualMachineRequest.create({ name: "bare" }));
    await until(async () => (await machine(clients, "bare")).status?.printableStatus === PrintableStatus.RUNNING);
    const commits = (await quiet(clients)) - before - (await eventsSince(clients, before));
    assert.ok(commits <= DISKLESS_COMMITS_MAX, `${commits} commits`);
    await clients.machines.deleteVirtualMachine(DeleteVirtualMachineRequest.create({ name: "bare" }));
    await until(async () => (await clients.machines.listVirtualMachines(ListVirtualMachinesRequest.create())).virtualMachines.length === 1);
  });

  it("moves it in twelve commits at most, with the record where the guest is", async () => {
    const before = await quiet(clients);
    const source = (await machine(clients)).status!.nodeName;
    const { migration } = await clients.machines.migrateVirtualMachine(MigrateVirtualMachineRequest.create({ name: "web" }));
    const { namespace, name } = migration!.metadata!;
    const read = async () => (await clients.migrations.getVirtualMachineInstanceMigration(GetVirtualMachineInstanceMigrationRequest.create({ namespace, name }))).migration!.status!;
    await until(async () => (await read()).phase === MigrationPhase.SUCCEEDED);
    await until(async () => (await machine(clients)).status?.nodeName !== source);
    const commits = (await quiet(clients)) - before - (await eventsSince(clients, before));
    assert.ok(commits <= MIGRATION_COMMITS_MAX, `${commits} commits`);
    assert.deepEqual([...guests.values()], [(await machine(clients)).status!.nodeName]);
  });

  it("stops it and lets go of everything", async () => {
    await clients.machines.stopVirtualMachine(StopVirtualMachineRequest.create({ name: "web", force: true }));
    await until(async () => (await machine(clients)).status?.printableStatus === PrintableStatus.STOPPED);
    assert.equal(guests.size, 0);
    const { volumes } = await clients.volumes.listVolumes({ pageSize: 10, pageToken: "", labelSelector: "", fieldSelector: "" });
    await until(async () => (await clients.volumes.getVolume({ name: volumes[0]!.metadata!.name })).volume?.status?.holder === undefined);
  });

  it("goes on where it was after the API server was killed", async () => {
    const exited = once(server, "exit");
    server.kill("SIGKILL");
    await exited;
    serve();
    await until(async () => (await machine(clients)).metadata !== undefined);
    await clients.machines.deleteVirtualMachine(DeleteVirtualMachineRequest.create({ name: "web" }));
    await until(async () => (await clients.machines.listVirtualMachines(ListVirtualMachinesRequest.create())).virtualMachines.length === 0);
    await until(async () => {
      const { migrations } = await clients.migrations.listVirtualMachineInstanceMigrations(ListVirtualMachineInstanceMigrationsRequest.create());
      return migrations.length === 0;
    });
  });
});

async function machine(clients: Clients, name = "web"): Promise<VirtualMachine> {
  return (await clients.machines.getVirtualMachine(GetVirtualMachineRequest.create({ name }))).virtualMachine!;
}

async function revision(clients: Clients): Promise<number> {
  const answer = await clients.events.listEvents(ListEventsRequest.create());
  return positionOf(answer.revision)!.number;
}

/** Events are no records of state; folded repeats count as often as they were written. */
async function eventsSince(clients: Clients, before: number): Promise<number> {
  const { events } = await clients.events.listEvents(ListEventsRequest.create({ pageSize: 500 }));
  return events.filter(({ metadata }) => positionOf(metadata!.resourceVersion)!.number > before).length;
}

/** The revision once nothing has been written for a while. */
async function quiet(clients: Clients): Promise<number> {
  for (let last = -1; ; ) {
    const now = await revision(clients);
    if (now === last) return now;
    last = now;
    await pause(1_500);
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => systemClock.after(ms, resolve));

async function until(holds: () => Promise<boolean>): Promise<void> {
  let error: unknown;
  for (let attempt = 0; attempt < 400; attempt += 1) {
    try {
      if (await holds()) return;
    } catch (caught) {
      error = caught;
    }
    await pause(25);
  }
  throw new Error("It did not come to be", { cause: error });
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  return typeof address === "object" && address ? address.port : 0;
}
