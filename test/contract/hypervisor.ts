/** What every Hypervisor must do, on whatever it stands. Each adapter's test calls this with a way to make one. */
import assert from "node:assert/strict";
import { systemRandom } from "../../lib/random.ts";
import { HypervisorError } from "../../node-agent/libvirt/hypervisor.ts";
import type { Hypervisor, HypervisorErrorKind } from "../../node-agent/libvirt/hypervisor.ts";
import { RecordedEvents } from "./hypervisor-events.ts";

export type Subject = {
  hypervisor: Hypervisor;
  /** The smallest domain that can be created; `metadata` is the content of its metadata element. */
  domainXml(domain: { name: string; uuid: string; metadata: string }): string;
  /** What the adapter reported as faults of its own, such as a leaked handle. */
  faults: readonly string[];
};

const element = (epoch: number) =>
  `<drover:instance xmlns:drover="https://drover.dev/domain/1" vm="4f0c &amp; &gt;" epoch="${epoch}"/>`;
const rejectsWith = (call: Promise<unknown>, kind: HypervisorErrorKind) =>
  assert.rejects(call, (error) => error instanceof HypervisorError && error.kind === kind, `must reject with ${kind}`);

/** `make` may prepare for long; what it makes is closed here. */
export function hypervisorContract(make: () => Promise<Subject>): void {
  let subject: Subject;
  let hypervisor: Hypervisor;
  let events: RecordedEvents;

  before(async function () {
    this.timeout(60_000);
    subject = await make();
    hypervisor = subject.hypervisor;
    await rejectsWith(hypervisor.list(), "connection-lost");
    events = new RecordedEvents(hypervisor);
    await hypervisor.start(AbortSignal.timeout(20_000));
  });

  after(async () => {
    await hypervisor.close();
    await rejectsWith(hypervisor.list(), "connection-lost");
    await events.end();
    assert.deepEqual(subject.faults, []);
  });

  /** A defined domain that is gone when its scope ends. */
  async function defined(metadata = element(1)) {
    const uuid = systemRandom.uuid();
    const name = `contract-${systemRandom.token(6)}`;
    assert.equal(await hypervisor.define(subject.domainXml({ name, uuid, metadata })), uuid);
    return {
      uuid,
      name,
      async [Symbol.asyncDispose]() {
        if ((await hypervisor.get(uuid))?.state !== "shutoff") await hypervisor.destroy(uuid);
        await hypervisor.undefine(uuid);
      },
    };
  }

  it("tells connected before anything else", () => {
    assert.deepEqual(events.all[0], { type: "connected", generation: 1 });
  });

  it("knows what the host can run", async () => {
    const inventory = await hypervisor.inventory();
    assert.ok(inventory.cpus > 0 && inventory.memoryBytes > 1 << 20);
    assert.ok(inventory.domainTypes.length > 0);
    assert.match(inventory.libvirtVersion, /^\d+\.\d+\.\d+$/);
    for (const machine of Object.values(inventory.machineAliases)) assert.ok(inventory.machineTypes.includes(machine));
  });

  it("leads a domain through its life and tells each step", async () => {
    await using domain = await defined();
    await hypervisor.create(domain.uuid);
    await hypervisor.suspend(domain.uuid);
    const paused = await hypervisor.get(domain.uuid);
    assert.deepEqual([paused?.state, paused?.reason, paused?.persistent], ["paused", "user", true]);
    await hypervisor.resume(domain.uuid);
    assert.equal((await hypervisor.get(domain.uuid))?.state, "running");
    await hypervisor.destroy(domain.uuid);
    const off = await hypervisor.get(domain.uuid);
    assert.deepEqual([off?.state, off?.reason], ["shutoff", "destroyed"]);
    await events.next("stopped", (event) => event.type === "lifecycle" && event.uuid === domain.uuid && event.event === "stopped");
    // A real machine also tells that it resumed when it starts, and that it shut down before it stops.
    const steps = events.lifecycleOf(domain.uuid).filter((step) => step !== "resumed" && step !== "shutdown");
    assert.deepEqual(steps, ["defined", "started", "suspended", "stopped"]);
  });

  it("launches a domain in one call, and answers what it then is", async () => {
    await using before = await defined();
    const launched = await hypervisor.launch({ ...before, xml: subject.domainXml({ ...before, metadata: element(3) }) });
    assert.deepEqual([launched.uuid, launched.state, launched.persistent, launched.metadata], [before.uuid, "running", true, element(3)]);
    assert.deepEqual(await hypervisor.get(before.uuid), launched);
    const again = { ...before, xml: subject.domainXml({ ...before, metadata: element(4) }) };
    await rejectsWith(hypervisor.launch(again), "invalid-state");
    assert.ok((await hypervisor.xml(before.uuid, "inactive")).includes(element(3)), "a running domain keeps its definition");
  });

  it("launches nothing in place of somebody else's domain", async () => {
    await using foreign = await defined(`<other:thing xmlns:other="urn:other"/>`);
    const [uuid, name] = [systemRandom.uuid(), `contract-${systemRandom.token(6)}`];
    for (const taken of [{ ...foreign }, { uuid, name: foreign.name }, { uuid: foreign.uuid, name }]) {
      await rejectsWith(hypervisor.launch({ ...taken, xml: subject.domainXml({ ...taken, metadata: element(1) }) }), "already-exists");
    }
    const left = await hypervisor.get(foreign.uuid);
    assert.deepEqual([left?.name, left?.state, left?.metadata], [foreign.name, "shutoff", undefined]);
    assert.equal(await hypervisor.get(uuid), undefined);
  });

  it("forgets an undefined domain", async () => {
    let gone: string;
    {
      await using domain = await defined();
      gone = domain.uuid;
      assert.equal((await hypervisor.findByName(domain.name))?.uuid, gone);
      assert.ok((await hypervisor.list()).some(({ uuid }) => uuid === gone));
    }
    assert.equal(await hypervisor.get(gone), undefined);
    assert.ok(!(await hypervisor.list()).some(({ uuid }) => uuid === gone));
  });

  it("gives Drover's metadata back as it was given, and replaces it in the running and the defined form", async () => {
    await using domain = await defined();
    assert.equal((await hypervisor.get(domain.uuid))?.metadata, element(1));
    await hypervisor.create(domain.uuid);
    await hypervisor.setMetadata(domain.uuid, element(2));
    const listed = (await hypervisor.list()).find(({ uuid }) => uuid === domain.uuid);
    assert.equal(listed?.metadata, element(2));
    assert.ok((await hypervisor.xml(domain.uuid, "inactive")).includes(element(2)));
    assert.ok((await hypervisor.xml(domain.uuid, "live")).includes(element(2)));
  });

  it("says nothing of other owners' metadata", async () => {
    await using domain = await defined(`<other:thing xmlns:other="urn:other"><drover:instance xmlns:drover="urn:not"/></other:thing>`);
    assert.equal((await hypervisor.get(domain.uuid))?.metadata, undefined);
  });

  it("tells failures apart by what the caller would do", async () => {
    await using domain = await defined();
    const nobody = systemRandom.uuid();
    assert.equal(await hypervisor.get(nobody), undefined);
    assert.equal(await hypervisor.findByName("nobody"), undefined);
    await rejectsWith(hypervisor.destroy(nobody), "no-domain");
    await rejectsWith(hypervisor.destroy(domain.uuid), "invalid-state");
    await hypervisor.create(domain.uuid);
    await rejectsWith(hypervisor.create(domain.uuid), "invalid-state");
    await rejectsWith(hypervisor.define("<domain"), "invalid-xml");
    const same = subject.domainXml({ name: domain.name, uuid: nobody, metadata: element(1) });
    await rejectsWith(hypervisor.define(same), "already-exists");
  });

  it("gives each of a hundred concurrent calls its own answer", async () => {
    await using domain = await defined();
    const kinds = Array.from({ length: 100 }, (_, index) => {
      if (index % 4 === 0) return kindOf(hypervisor.destroy(systemRandom.uuid()), "no-domain");
      if (index % 4 === 1) return kindOf(hypervisor.define("<domain"), "invalid-xml");
      if (index % 4 === 2) return kindOf(hypervisor.destroy(domain.uuid), "invalid-state");
      return kindOf(hypervisor.get(domain.uuid), "answered");
    });
    const wrong = (await Promise.all(kinds)).filter(({ kind, expected }) => kind !== expected);
    assert.deepEqual(wrong, []);
  });
}

async function kindOf(call: Promise<unknown>, expected: HypervisorErrorKind | "answered") {
  return call.then(
    () => ({ kind: "answered", expected }),
    (error: unknown) => ({ kind: error instanceof HypervisorError ? error.kind : String(error), expected }),
  );
}
