/** What no host may do: run a machine twice, end one without proof, touch what is not Drover's. */
import { DomainState, Phase } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { parseInstanceMetadata } from "../../../node-agent/domain/metadata.ts";
import type { InstanceMetadata } from "../../../node-agent/domain/metadata.ts";
import type { HostListener, SimHost } from "../hypervisor/host.ts";
import type { World } from "../world/world.ts";
import type { Mirror } from "./mirror.ts";
import { vmUidOf } from "./mirror.ts";
import { involves } from "./records.ts";

/** A commit that named an owner elsewhere: whatever carries less than its epoch, on a host that it does not speak of, is stale for ever. */
type Owned = { node: string; epoch: number; parties: readonly string[] };

export type HostChecks = HostListener & { watch(mirror: Mirror, hosts: () => Iterable<SimHost>, hasEnding: (host: string, vmiUid: string) => boolean): void };

export function hostChecks(world: World): HostChecks {
  let records: Mirror | undefined;
  let allHosts: () => Iterable<SimHost> = () => [];
  let hasEnding: (host: string, vmiUid: string) => boolean = () => false;
  const owned = new Map<string, Owned[]>();
  return {
    watch(mirror, hosts, ending) {
      records = mirror;
      allHosts = hosts;
      hasEnding = ending;
      mirror.instances.listeners.push(({ after }) => {
        if (!after?.status?.nodeName) return;
        const { nodeName: node, epoch, migration } = after.status;
        const parties = [node, ...(migration ? [migration.sourceNode, migration.targetNode] : [])];
        const uid = vmUidOf(after);
        owned.set(uid, [...(owned.get(uid) ?? []).slice(-40), { node, epoch, parties }]);
      });
    },
    changed: () => checkRunners(world, allHosts()),
    condemned(host, uuid, how) {
      const domain = host.domain(uuid)!;
      const identity = parseInstanceMetadata(domain.metadata);
      if (!identity) return world.fail("I14", `${host.name}: ${how} of "${domain.name}", which is not Drover's`);
      if (how === "undefine" && !host.qemus.has(uuid)) return;
      const reason = justification({ host: host.name, identity, crashed: domain.state === "crashed" });
      const last = domain.state === "running" && ![...allHosts()].some((other) => other !== host && other.up && other.qemus.get(uuid)?.state === "running");
      if (reason === "owned elsewhere" && last) return world.fail("I6", `${host.name}: the only guest of "${domain.name}" is destroyed: ${recordOf(identity)}`);
      if (!reason) world.fail("I6", `${host.name}: ${how} of "${domain.name}" (epoch ${identity.epoch}, ${domain.state}/${domain.reason}) without proof: ${recordOf(identity)}`);
    },
  };

  function justification({ host, identity, crashed }: { host: string; identity: InstanceMetadata; crashed: boolean }): string | undefined {
    const { vm, vmUid, vmiUid, epoch } = identity;
    if (records!.tombstones.has(vmiUid)) return "tombstone";
    if (owned.get(vmUid)?.some((one) => one.epoch > epoch && one.node !== host && !one.parties.includes(host))) return "owned elsewhere";
    const record = records!.instances.objects.get(vm);
    if (record?.metadata?.uid !== vmiUid || record.status?.nodeName !== host) return undefined;
    return crashed || mayEnd(record, host) || hasEnding(host, vmiUid) ? "its owner ends it" : undefined;
  }

  function recordOf({ vm }: InstanceMetadata): string {
    const status = records!.instances.objects.get(vm)?.status;
    return status ? `the record names ${status.nodeName} at epoch ${status.epoch}${status.migration ? ", with a migration" : ""}` : "there is no record";
  }
}

/** Deleted, over, or said to be gone. */
function mayEnd(record: VirtualMachineInstance, host: string): boolean {
  const { metadata, status } = record;
  if (involves(record, host) && status?.migration?.source && !status.migration.handedOff) return false;
  const over = status?.phase === Phase.SUCCEEDED || status?.phase === Phase.FAILED || status?.ownerReport?.state === DomainState.GONE;
  return metadata?.deletionTimestamp !== undefined || over;
}

/** I1: by machine, and by the disk that it writes to. */
function checkRunners(world: World, hosts: Iterable<SimHost>): void {
  const machines = new Map<string, string>();
  const disks = new Map<string, string>();
  for (const host of hosts) {
    if (!host.up) continue;
    for (const { uuid, name, state, xml } of host.qemus.values()) {
      if (state !== "running") continue;
      const where = `${name} on ${host.name}`;
      const twin = machines.get(uuid);
      if (twin) return world.fail("I1", `two guests of one machine run: ${twin} and ${where}`);
      machines.set(uuid, where);
      for (const image of imagesOf(xml)) {
        const writer = disks.get(image);
        if (writer) return world.fail("I1", `two guests write to ${image}: ${writer} and ${where}`);
        disks.set(image, where);
      }
    }
  }
}

/** An XML is written once and read at every change. */
const known = new Map<string, readonly string[]>();

function imagesOf(xml: string): readonly string[] {
  const found = known.get(xml) ?? [...xml.matchAll(/<source file="(\/pools\/[^"]+)"/g)].map(([, image]) => image!);
  if (known.size > 500) known.clear();
  known.set(xml, found);
  return found;
}
