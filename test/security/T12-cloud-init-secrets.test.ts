/** T12: whoever wants the secrets in a machine's cloud-init data and is not the guest, nor the host that starts it. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClientError } from "nice-grpc";
import { VirtualMachineVolume } from "../../gen/drover/v1/machine.ts";
import { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { systemRandom } from "../../lib/random.ts";
import { domainXml } from "../../node-agent/domain/domain-xml.ts";
import { runCommand } from "../../node-agent/storage/command.ts";
import { hostStorage } from "../../node-agent/storage/host-storage.ts";
import { EVERYTHING, ONCE, WATCH } from "../contract/auth-server.ts";
import { instance as built, parts, prepared } from "../unit/node-agent/domain/build.ts";
import { runningOn, startInstalled, withUserData } from "./server.ts";
import type { Host, Installed } from "./server.ts";

const CANARY = "canary-user-data-5d0e9c";
const SECOND = "canary-updated-77ab12";
const BROKEN = "canary-refused-19fe44";

describe("T12: secrets in cloud-init data", function () {
  this.timeout(60_000);
  let server: Installed;
  let owner: Host;
  let stranger: Host;
  let running: Awaited<ReturnType<typeof runningOn>>;
  before(async () => {
    server = await startInstalled();
    [owner, stranger] = [await server.host("owner"), await server.host("stranger")];
    running = await runningOn(server, owner, { spec: withUserData(`#cloud-config\npassword: ${CANARY}`) });
    await server.bind("alice", "admin");
  });
  after(() => server?.[Symbol.asyncDispose]());

  const assertClean = (text: string, where: string) => {
    for (const canary of [CANARY, SECOND, BROKEN]) {
      for (const form of [canary, Buffer.from(canary).toString("base64").slice(0, -4), Buffer.from(canary).toString("hex")]) assert.equal(text.includes(form), false, `${canary} in ${where}`);
    }
  };
  const textOf = (answer: Promise<unknown>) => answer.then((value) => JSON.stringify(value), (error: ClientError) => JSON.stringify([error.message, error.details, error]));

  it("reach the host that starts the machine, and nobody else's read, not even an administrator's", async () => {
    assert.ok(JSON.stringify(running.claimed.spec).includes(CANARY), "who is to write them into the seed has them");
    const { metadata } = running.instance;
    const place = { namespace: "default", name: "web" };
    for (const clients of [server.admin, await server.as("alice")]) {
      const reads: [string, Promise<unknown>][] = [
        ["get", clients.machines.getVirtualMachine(place)], ["list", clients.machines.listVirtualMachines(EVERYTHING)],
        ["get instance", clients.instances.getVirtualMachineInstance(place)], ["list instances", clients.instances.listVirtualMachineInstances(EVERYTHING)],
        ["events", clients.events.listEvents(EVERYTHING)],
        ["watch", clients.machines.watchVirtualMachines(WATCH)[Symbol.asyncIterator]().next()],
        ["watch instances", clients.instances.watchVirtualMachineInstances(WATCH)[Symbol.asyncIterator]().next()],
        ["audit", clients.audit.listAuditEntries({ filter: undefined, pageSize: 0, pageToken: "" })],
      ];
      for (const [what, read] of reads) assertClean(await textOf(read), what);
    }
    assertClean(await textOf(server.admin.machines.explainVirtualMachine(place)), "explain");
    const seen = stranger.client.lookupMachine({ namespace: "default", vmName: "web", vmUid: metadata!.ownerReferences[0]!.uid, vmiUid: metadata!.uid, volumes: [] });
    assertClean(await textOf(seen), "another node's lookup");
    for (const args of [["get", "vm", "-o", "yaml"], ["describe", "vm", "web"]]) assertClean(JSON.stringify(await server.drover(args)), args.join(" "));
  });

  it("are written and never read back: an update without them keeps them, one with them answers without", async () => {
    const { virtualMachine } = await server.admin.machines.getVirtualMachine({ namespace: "default", name: "web" });
    const labelled = { ...virtualMachine!, metadata: { ...virtualMachine!.metadata!, labels: { kept: "yes" } } };
    assertClean(await textOf(server.admin.machines.updateVirtualMachine({ ...ONCE, virtualMachine: labelled, updateMask: undefined })), "an update");
    const { virtualMachine: now } = await server.admin.machines.getVirtualMachine({ namespace: "default", name: "web" });
    const changed = VirtualMachine.decode(VirtualMachine.encode(now!).finish());
    const { source } = changed.spec!.template!.spec!.volumes[0]!;
    assert.ok(source?.$case === "cloudInitNoCloud");
    assert.match(source.value.userData!.digest, /^sha256:/, "it is known to be there");
    source.value.userData = { value: SECOND, digest: "" };
    assertClean(await textOf(server.admin.machines.updateVirtualMachine({ ...ONCE, virtualMachine: changed, updateMask: undefined })), "an update of the secret");
  });

  it("are in no refusal", async () => {
    const virtualMachine = VirtualMachine.create({ metadata: { name: "Not A Name" }, spec: { runStrategy: 3, template: { spec: withUserData(BROKEN) } } });
    for (const bad of [virtualMachine, VirtualMachine.create({ ...virtualMachine, metadata: { name: "long" }, spec: { runStrategy: 3, template: { spec: withUserData(`${BROKEN}\u0000`) } } })]) {
      const answer = await textOf(server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: bad }));
      assert.match(answer, /INVALID_ARGUMENT/);
      assertClean(answer, "a refusal");
    }
  });

  it("are neither in the log, at its most talkative, nor readable in the store's files", () => {
    assertClean(server.log(), "the log");
    assertClean(server.storedBytes().toString("latin1"), "the store");
  });

  it("come to a host's disk in one file, for nobody but its owner, and are not in the domain's definition", async () => {
    const directory = mkdtempSync(join(tmpdir(), "drover-seed-"));
    try {
      const storage = hostStorage({ stateDirectory: directory, pools: [], random: systemRandom, run: runCommand, findFirmware: async () => undefined });
      const { volumes } = withUserData(CANARY);
      const made = built({}, { volumes: volumes!.map((volume) => VirtualMachineVolume.fromPartial(volume)) });
      const { disks } = await storage.prepareDisks(made);
      assert.equal(statSync(disks["seed"]!.path).mode & 0o077, 0);
      assert.equal(statSync(join(disks["seed"]!.path, "..")).mode & 0o066, 0, "QEMU's user passes through, and nobody lists");
      assertClean(domainXml(parts({ instance: made, prepared: { ...prepared(), disks }, epoch: 1 })), "the domain");
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
