/** Doors as the agents use them: they outlive their agents, go with their migration, and tell of whoever came with a stolen key. */
import assert from "node:assert/strict";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { WELCOME } from "../../node-agent/door/grant.ts";
import { encodeFrame, procedure, REMOTE_PROGRAM } from "../../node-agent/door/rpc.ts";
import { doorRemains } from "./doors.ts";
import { Fleet } from "./fleet.ts";
import { Machine } from "./machine.ts";
import { waitFor } from "./process.ts";

const SLOW_MIBPS = 8;
const DESTROY = 12;

describe("the door of a handoff in a fleet", () => {
  let fleet: Fleet;
  let machine: Machine;
  before(async () => {
    fleet = await Fleet.start();
    machine = await Machine.running(fleet, "mover");
  });
  afterEach(function () {
    fleet?.reportFailure(this.currentTest);
  });
  after(() => fleet?.[Symbol.asyncDispose]());

  const gone = () => waitFor("doors and passages to be gone", () => doorRemains(fleet).length === 0 || undefined);

  it("is gone with its migration, and libvirtd never listened", async () => {
    const before = await machine.tick(() => true);
    const migration = await machine.migrate();
    assert.equal((await machine.migrationEnds(migration)).status!.phase, MigrationPhase.SUCCEEDED);
    await machine.assertUnharmed(before);
    await gone();
    for (const host of fleet.lab.hosts()) assert.equal((await host.run("ss", ["-H", "-l", "-t", "-n"])).trim(), "");
  });

  it("outlives both agents, and the migration with it", async () => {
    const before = await machine.tick(() => true);
    const source = await machine.node();
    const migration = await machine.migrate({ bandwidthMiBps: SLOW_MIBPS });
    await machine.migrationIn(migration, MigrationPhase.RUNNING);
    const uuid = await machine.uuid();
    await waitFor("the guest to be on its way", async () => (await fleet.hostsRunning(uuid)).length === 2 || undefined);
    await Promise.all(fleet.agents().map((agent) => agent.kill()));
    await waitFor("the guest to arrive without any agent", async () => {
      const where = await fleet.hostsRunning(uuid);
      return (where.length === 1 && where[0] !== source) || undefined;
    }, { timeoutMs: 60_000 });
    await Promise.all(fleet.agents().map((agent) => agent.start()));
    assert.equal((await machine.migrationEnds(migration)).status!.phase, MigrationPhase.SUCCEEDED);
    await machine.assertUnharmed(before);
    await gone();
  });

  it("shows a stolen certificate nothing, and the node an event", async () => {
    const [source, target] = (await machine.node()) === "a" ? ["a", "b"] : ["b", "a"];
    const migration = await machine.migrate({ to: target, bandwidthMiBps: SLOW_MIBPS });
    await machine.migrationIn(migration, MigrationPhase.RUNNING);
    const { doorAddress } = (await machine.instance())!.status!.migration!.target!;
    for (const thief of [source, target]) assert.equal(await knock(doorAddress, thief), "closed", `with the certificate of ${thief}`);
    const events = await waitFor("the event", async () => {
      const text = await fleet.drover("events", "--for", `node/${target}`);
      return text.includes("DoorRefused") ? text : undefined;
    });
    assert.match(events, /DoorRefused/);
    assert.equal((await machine.migrationEnds(migration)).status!.phase, MigrationPhase.SUCCEEDED);
    await gone();
    for (const thief of [source, target]) assert.equal(await knock(doorAddress, thief), "closed", "without a grant");
  });

  it("is not opened where QEMU could not prove who it is, and preflight says so", async () => {
    const [, target] = (await machine.node()) === "a" ? ["a", "b"] : ["b", "a"];
    const directory = join(fleet.lab.host(target).directory, "etc/pki/qemu");
    renameSync(directory, `${directory}.away`);
    writeFileSync(directory, "no directory");
    try {
      await fleet.agent(target).restart();
      await blockedBy(target, (blocker) => blocker.includes("QEMU has no certificate"));
      assert.match((await fleet.refused("migrate", "mover", "--to", target)).stderr, /QEMU has no certificate/);
    } finally {
      rmSync(directory);
      renameSync(`${directory}.away`, directory);
      await fleet.agent(target).restart();
    }
    await blockedBy(target, (blocker) => blocker === "");
  });

  function blockedBy(node: string, wanted: (blocker: string) => boolean): Promise<true> {
    return waitFor(`what keeps migrations off ${node} to change`, async () => {
      const { status } = (await fleet.api.nodes.getNode({ name: node })).node!;
      return (status?.report && wanted(status.report.migrationBlocker)) || undefined;
    });
  }

  /** Comes with a node's own certificate and asks for a domain's end. */
  function knock(address: string, node: string): Promise<"answered" | "closed"> {
    const { hostname, port } = new URL(`tcp://${address}`);
    const file = (name: string) => readFileSync(join(fleet.lab.host(node).localDirectory, "drover/pki", name));
    return new Promise((resolve) => {
      const socket = connect({ host: hostname, port: Number(port), servername: "door", rejectUnauthorized: false, cert: file("node.pem"), key: file("node.key") });
      socket.on("error", () => resolve("closed")).on("close", () => resolve("closed"));
      let bytes = 0;
      socket.on("data", (data) => {
        bytes += data.length;
        if (bytes === WELCOME.length) return;
        resolve("answered");
        socket.destroy();
      });
      for (const called of [procedure.AUTH_LIST, DESTROY]) {
        socket.write(encodeFrame({ program: REMOTE_PROGRAM, version: 1, procedure: called, type: 0, serial: called, status: 0, body: Buffer.alloc(0) }));
      }
    });
  }
});
