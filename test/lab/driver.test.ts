/** The libvirt adapter on real daemons and guests: its contract, every way to lose the daemon or the driver, migration. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { delay, systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";
import { childTransport } from "../../node-agent/libvirt/child-transport.ts";
import { Driver } from "../../node-agent/libvirt/driver.ts";
import { HypervisorError } from "../../node-agent/libvirt/hypervisor.ts";
import type { HypervisorEvent } from "../../node-agent/libvirt/hypervisor.ts";
import { LibvirtHypervisor } from "../../node-agent/libvirt/libvirt-hypervisor.ts";
import { LIMITS } from "../../node-agent/libvirt/supervision.ts";
import type { DriverProcess, DriverTransport } from "../../node-agent/libvirt/transport.ts";
import { RecordedEvents } from "../contract/hypervisor-events.ts";
import { hypervisorContract } from "../contract/hypervisor.ts";
import { guestDomainXml } from "./guest.ts";
import type { LabHost } from "./host.ts";
import { Lab } from "./lab.ts";

const SLOW_MIBPS = 4;
const KEEPALIVE_LOSS_MS = 6_000;
const element = (epoch: number) => `<drover:instance xmlns:drover="https://drover.dev/domain/1" epoch="${epoch}"/>`;
const isConnected = (event: HypervisorEvent) => event.type === "connected";
const isDisconnected = (event: HypervisorEvent) => event.type === "disconnected";

describe("the libvirt driver on real hosts", function () {
  this.timeout(90_000);
  let lab: Lab;

  before(async () => {
    lab = await Lab.start({ hosts: ["a", "b"] });
  });
  after(async () => {
    await lab[Symbol.asyncDispose]();
  });

  const domainXml = ({ name, uuid, metadata }: { name: string; uuid: string; metadata: string }) =>
    guestDomainXml({ name, uuid, guest: lab.guest, consoleLog: join(lab.poolDirectory, `${name}.log`) })
      .replace("</uuid>", `</uuid><metadata>${metadata}</metadata>`);

  /** A started hypervisor whose driver child the test can kill, and which must leave no fault behind but the given. */
  async function connect(host: LabHost, limits = LIMITS) {
    const faults: string[] = [];
    let latest: DriverProcess | undefined;
    const children = childTransport();
    const transport: DriverTransport = { spawn: (listener) => (latest = children.spawn(listener)) };
    const driver = new Driver({ transport, clock: systemClock, random: systemRandom, report: (fault) => faults.push(fault), limits });
    const hypervisor = new LibvirtHypervisor({ uri: host.uri, driver, ownsDriver: true });
    const events = new RecordedEvents(hypervisor);
    await hypervisor.start(AbortSignal.timeout(20_000));
    return {
      hypervisor,
      events,
      faults,
      killDriver: () => latest!.kill(),
      async [Symbol.asyncDispose]() {
        await hypervisor.close();
        await events.end();
      },
    };
  }
  type Connected = Awaited<ReturnType<typeof connect>>;

  async function running({ hypervisor }: Connected) {
    const uuid = systemRandom.uuid();
    const name = `driver-${systemRandom.token(6)}`;
    await hypervisor.define(domainXml({ name, uuid, metadata: element(1) }));
    await hypervisor.create(uuid);
    return {
      uuid,
      name,
      async [Symbol.asyncDispose]() {
        for (const host of lab.hosts()) {
          await host.virsh("destroy", uuid).catch(() => undefined);
          await host.virsh("undefine", uuid).catch(() => undefined);
        }
      },
    };
  }

  async function migrateSlowly({ hypervisor }: Connected, uuid: string, bandwidthMiBps: number) {
    const [live, inactive] = [await hypervisor.xml(uuid, "migratable"), await hypervisor.xml(uuid, "inactive")];
    const raised = (xml: string) => xml.replace(element(1), element(2));
    return hypervisor.migrate(uuid, {
      destinationUri: lab.host("b").directUri,
      migrationUri: `tcp://${lab.host("b").address}`,
      destinationXml: raised(live),
      persistentXml: raised(inactive),
      bandwidthMiBps,
      tls: true,
      tlsDestination: "b",
    });
  }

  /** With every other option that a migration can have. */
  async function moveBack({ hypervisor }: Connected, uuid: string) {
    await hypervisor.migrate(uuid, {
      destinationUri: lab.host("a").directUri,
      destinationXml: await hypervisor.xml(uuid, "migratable"),
      persistentXml: await hypervisor.xml(uuid, "inactive"),
      autoConverge: true,
      parallelConnections: 2,
    });
  }

  async function jobOf({ hypervisor }: Connected, uuid: string, timeoutMs = 10_000) {
    for (const untilMs = systemClock.monotonicMs() + timeoutMs; systemClock.monotonicMs() < untilMs; ) {
      const job = await hypervisor.job(uuid);
      if (job.kind === "migration-out" && (job.memoryTotalBytes ?? 0) > 0) return job;
      await delay(systemClock, 100);
    }
    throw new assert.AssertionError({ message: "No migration was seen to run" });
  }

  /** Fails when the test's own thread stood still for longer than a tick may take. */
  function watchTicks() {
    let lastMs = systemClock.monotonicMs();
    let longestMs = 0;
    const stop = new AbortController();
    const ticking = (async () => {
      for (; !stop.signal.aborted; await delay(systemClock, 10)) {
        longestMs = Math.max(longestMs, systemClock.monotonicMs() - lastMs);
        lastMs = systemClock.monotonicMs();
      }
    })();
    return { end: async () => (stop.abort(), await ticking, longestMs) };
  }

  describe("keeps the contract", () => {
    hypervisorContract(async () => {
      const faults: string[] = [];
      const driver = new Driver({ transport: childTransport(), clock: systemClock, random: systemRandom, report: (fault) => faults.push(fault) });
      return { hypervisor: new LibvirtHypervisor({ uri: lab.host("a").uri, driver, ownsDriver: true }), domainXml, faults };
    });
  });

  it("tells each of two hundred concurrent failures with its own domain's name in it", async () => {
    await using a = await connect(lab.host("a"));
    const uuids = Array.from({ length: 200 }, () => systemRandom.uuid());
    const messages = await Promise.all(uuids.map((uuid) => a.hypervisor.destroy(uuid).catch((error: unknown) => String(error))));
    assert.deepEqual(uuids.filter((uuid, index) => !String(messages[index]).includes(uuid)), []);
  });

  it("connects again when libvirtd was killed and started", async () => {
    await using a = await connect(lab.host("a"));
    await using machine = await running(a);
    await lab.host("a").libvirtd.kill();
    await a.events.next("disconnected", isDisconnected);
    await assert.rejects(a.hypervisor.list(), (error) => error instanceof HypervisorError && error.kind === "connection-lost");
    const from = a.events.all.length;
    await lab.host("a").libvirtd.start();
    await a.events.next("connected", isConnected, { from });
    const [found] = await a.hypervisor.list();
    assert.deepEqual([found?.uuid, found?.state], [machine.uuid, "running"]);
    await a.hypervisor.close();
    assert.deepEqual(a.faults, []);
  });

  it("loses a frozen daemon's calls by keepalive, replaces the driver that hangs in opening, and comes back", async () => {
    await using a = await connect(lab.host("a"));
    const ticks = watchTicks();
    lab.host("a").libvirtd.stop();
    try {
      const startedMs = systemClock.monotonicMs();
      const calls = [a.hypervisor.list(), a.hypervisor.inventory(), a.hypervisor.destroy(systemRandom.uuid())];
      const kinds = (await Promise.allSettled(calls)).map((result) => (result.status === "rejected" ? (result.reason as HypervisorError).kind : "answered"));
      const tookMs = systemClock.monotonicMs() - startedMs;
      assert.deepEqual(kinds, ["connection-lost", "connection-lost", "connection-lost"]);
      assert.ok(tookMs < 2 * KEEPALIVE_LOSS_MS, `the calls took ${tookMs} ms to fail`);
      await a.events.next("the driver given up", (event) => event.type === "disconnected" && event.reason.includes("accepts connections"), { timeoutMs: 15_000 });
    } finally {
      lab.host("a").libvirtd.cont();
    }
    const from = a.events.all.length;
    await a.events.next("connected", isConnected, { from, timeoutMs: 20_000 });
    assert.deepEqual(await a.hypervisor.list(), []);
    assert.ok((await ticks.end()) < 2_000);
  });

  it("loses only the call when the driver is killed in the middle of it", async () => {
    await using a = await connect(lab.host("a"));
    const uuid = systemRandom.uuid();
    await a.hypervisor.define(domainXml({ name: "killed-in-create", uuid, metadata: element(1) }));
    const creating = a.hypervisor.create(uuid);
    await delay(systemClock, 100);
    a.killDriver();
    await assert.rejects(creating, (error) => error instanceof HypervisorError && error.kind === "connection-lost");
    assert.deepEqual(await a.events.next("connected", (event) => isConnected(event) && a.events.all[0] !== event), { type: "connected", generation: 2 });
    for (let tries = 0; tries < 50 && (await a.hypervisor.get(uuid))?.state !== "running"; tries += 1) await delay(systemClock, 100);
    assert.equal((await a.hypervisor.get(uuid))?.state, "running");
    await a.hypervisor.destroy(uuid);
    await a.hypervisor.undefine(uuid);
  });

  it("gives up a call on a machine whose QEMU stands still, while the other machines can be worked on", async () => {
    const limits = { ...LIMITS, deadlinesMs: { ...LIMITS.deadlinesMs, change: 4_000 } };
    await using a = await connect(lab.host("a"), limits);
    await using stuck = await running(a);
    await using other = await running(a);
    await lab.host("a").run("sh", ["-c", `kill -STOP "$(cat /run/libvirt/qemu/${stuck.name}.pid)"`]);
    const hanging = a.hypervisor.suspend(stuck.uuid).then(() => "answered", (error: unknown) => error);
    await delay(systemClock, 200);
    await a.hypervisor.suspend(other.uuid);
    assert.deepEqual((await a.hypervisor.list()).length, 2);
    const error = await hanging;
    assert.ok(error instanceof HypervisorError && error.kind === "timeout", String(error));
    await a.events.next("connected again", (event) => event.type === "connected" && event.generation === 2);
    assert.equal((await a.hypervisor.get(other.uuid))?.state, "paused");
    // libvirt asks such a process to end for ten seconds before it kills it, which the real limits allow for.
    await using patient = await connect(lab.host("a"));
    await patient.hypervisor.destroy(stuck.uuid);
    assert.equal((await patient.hypervisor.get(stuck.uuid))?.state, "shutoff");
  });

  it("moves a running guest with its definition and leaves nothing behind", async () => {
    await using a = await connect(lab.host("a"));
    await using b = await connect(lab.host("b"));
    await using machine = await running(a);
    const { uuid } = machine;
    const moving = migrateSlowly(a, uuid, 32);
    const job = await jobOf(a, uuid);
    assert.ok((job.memoryTotalBytes ?? 0) >= 128 << 20);
    await moving;
    const completed = await a.events.next("job-completed", (event) => event.type === "job-completed" && event.uuid === uuid);
    assert.ok(completed.type === "job-completed" && (completed.stats.downtimeMs ?? 0) > 0 && completed.stats.kind === "migration-out");
    assert.equal(await a.hypervisor.get(uuid), undefined);
    const moved = await b.hypervisor.get(uuid);
    assert.deepEqual([moved?.state, moved?.persistent, moved?.metadata], ["running", true, element(2)]);
    assert.ok((await b.hypervisor.xml(uuid, "inactive")).includes(element(2)));
    assert.deepEqual(b.events.lifecycleOf(uuid).filter((step) => step !== "defined"), ["started", "resumed"]);
    await moveBack(b, uuid);
    assert.equal((await a.hypervisor.get(uuid))?.state, "running");
    assert.equal(await b.hypervisor.get(uuid), undefined);
    await a.hypervisor.close();
    assert.deepEqual(a.faults, []);
  });

  it("aborts a migration and keeps the guest at its source", async () => {
    await using a = await connect(lab.host("a"));
    await using b = await connect(lab.host("b"));
    await using machine = await running(a);
    const moving = migrateSlowly(a, machine.uuid, SLOW_MIBPS);
    const ended = moving.then(() => "succeeded", (error: unknown) => error);
    await jobOf(a, machine.uuid);
    assert.deepEqual(await b.hypervisor.job(machine.uuid), { kind: "migration-in" });
    await a.hypervisor.abortJob(machine.uuid);
    assert.ok((await ended) instanceof HypervisorError);
    const kept = await a.hypervisor.get(machine.uuid);
    assert.deepEqual([kept?.state, kept?.persistent, kept?.metadata], ["running", true, element(1)]);
    assert.equal(await b.hypervisor.get(machine.uuid), undefined);
  });

  it("finds a migration again that went on while its driver was killed", async () => {
    await using a = await connect(lab.host("a"));
    await using b = await connect(lab.host("b"));
    await using machine = await running(a);
    const lost = migrateSlowly(a, machine.uuid, SLOW_MIBPS).then(() => "succeeded", (error: unknown) => error);
    await jobOf(a, machine.uuid);
    const from = a.events.all.length;
    a.killDriver();
    const error = await lost;
    assert.ok(error instanceof HypervisorError && error.kind === "connection-lost");
    await a.events.next("connected", isConnected, { from });
    assert.ok((await a.hypervisor.list()).some(({ uuid, state }) => uuid === machine.uuid && state === "running"));
    assert.equal((await jobOf(a, machine.uuid)).kind, "migration-out");
    await a.hypervisor.setMigrationSpeed(machine.uuid, 1_000);
    const isCompleted = (event: HypervisorEvent) => event.type === "job-completed" && event.uuid === machine.uuid;
    await a.events.next("job-completed", isCompleted, { from, timeoutMs: 30_000 });
    assert.equal((await b.hypervisor.get(machine.uuid))?.state, "running");
    assert.equal(await a.hypervisor.get(machine.uuid), undefined);
  });
});
