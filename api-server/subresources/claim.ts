/** An agent's taking of a machine: the compare-and-set after which, and only after which, it may define and start it. Pure. */
import type { BootIdentity } from "../../gen/drover/v1/meta.ts";
import type { VirtualMachineInstanceSpec } from "../../gen/drover/v1/machine.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import { Phase, VirtualMachineInstanceStatus } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { OwnerClaim, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { VolumeState } from "../../gen/drover/v1/volume.ts";
import type { Volume } from "../../gen/drover/v1/volume.ts";
import { isRoomy, roomFor } from "../../lib/capacity.ts";
import { formatBytes } from "../../lib/quantity.ts";
import { isFinal } from "./phase.ts";
import { refuse, VMI } from "./refusal.ts";

export type Claiming = {
  /** From the certificate. */
  nodeName: string;
  vmiUid: string;
  epoch: number;
  boot: BootIdentity;
  agentInstance: string;
  /** The Volume objects that the record says it holds; undefined for one that does not exist. */
  volumes: (Volume | undefined)[];
};

/** Undefined: the claim stands already. */
export function claim(vmi: VirtualMachineInstance, claiming: Claiming): VirtualMachineInstance | undefined {
  const status = vmi.status ?? VirtualMachineInstanceStatus.create();
  const no = (type: string, message: string) => refuse(type, { plural: VMI, object: vmi }, message);
  if (vmi.metadata?.uid !== claiming.vmiUid) no("NOT_OWNER", `Another instance has the name: ${vmi.metadata?.uid}`);
  if (status.nodeName !== claiming.nodeName) no("NOT_OWNER", `The record names "${status.nodeName}" as owner, not "${claiming.nodeName}"`);
  if (status.epoch !== claiming.epoch) {
    no(claiming.epoch < status.epoch ? "STALE_EPOCH" : "NOT_BOUND", `The record stands at epoch ${status.epoch}, not ${claiming.epoch}`);
  }
  if (isFinal(status.phase)) no("NOT_BOUND", "Its run has ended");
  if (stands(status.claim, claiming)) return undefined;
  if (status.claim && status.reachedRunning) {
    no("CLAIMED_BY_OTHER_BOOT", "It ran under another boot of the host, which no domain survives");
  }
  if (vmi.metadata?.deletionTimestamp) no("DELETING", "It is being deleted");
  if (status.phase !== Phase.SCHEDULED) no("NOT_BOUND", "It has not been bound");
  requireVolumes(vmi, claiming.volumes);
  const { epoch, nodeName, boot, agentInstance } = claiming;
  return { ...vmi, status: { ...status, claim: { epoch, nodeName, boot, agentInstance } } };
}

/** Whoever has taken room already keeps it; a node that has reported nothing yet is not judged. */
export function requireRoom(vmi: VirtualMachineInstance, { node, others }: { node: Node | undefined; others: readonly VirtualMachineInstance[] }): void {
  if (!node?.status?.report) return;
  const room = roomFor(vmi, { node, others });
  if (isRoomy(room)) return;
  const { needed, free, places } = room;
  if (places < 1) refuse("NO_CAPACITY", { plural: VMI, object: vmi }, `"${node.metadata?.name}" has as many machines as it is granted`);
  const [name, left] = [node.metadata?.name, { memory: formatBytes(Math.max(0, free.memoryBytes)), cpus: Math.max(0, free.cpus) }];
  const message =
    needed.memoryBytes > free.memoryBytes
      ? `It needs ${formatBytes(needed.memoryBytes)} of memory and "${name}" has ${left.memory} left`
      : `It needs ${needed.cpus} virtual processors and "${name}" has ${left.cpus} left`;
  refuse("NO_CAPACITY", { plural: VMI, object: vmi }, message);
}

function stands(claim: OwnerClaim | undefined, { nodeName, epoch, boot }: Claiming): boolean {
  return claim !== undefined && claim.nodeName === nodeName && claim.epoch === epoch && sameBoot(claim.boot, boot);
}

export function sameBoot(a: BootIdentity | undefined, b: BootIdentity | undefined): boolean {
  return a !== undefined && b !== undefined && a.kernelBootId === b.kernelBootId && a.pid1StartTime === b.pid1StartTime;
}

function requireVolumes(vmi: VirtualMachineInstance, volumes: (Volume | undefined)[]): void {
  const uid = vmi.metadata?.uid;
  const lost = volumes.findIndex((volume) => volume?.status?.holder?.vmiUid !== uid);
  const held = vmi.status?.heldVolumes ?? [];
  const elsewhere = volumes.findIndex((volume) => (volume?.status?.state ?? VolumeState.UNSPECIFIED) !== VolumeState.UNSPECIFIED);
  if (lost < 0 && elsewhere >= 0) refuse("VOLUME_NOT_HELD", { plural: VMI, object: vmi }, `The bytes of the volume "${held[elsewhere]}" are not there`);
  if (lost >= 0) refuse("VOLUME_NOT_HELD", { plural: VMI, object: vmi }, `It does not hold the volume "${held[lost]}"`);
  const wanted = writableImages(vmi.spec).size;
  if (held.length < wanted) {
    refuse("VOLUME_NOT_HELD", { plural: VMI, object: vmi }, `It holds ${held.length} of the ${wanted} volumes that it writes to`);
  }
}

/** Names of images that the guest may write to: no fewer volumes than these are needed, whatever their pools are. */
function writableImages(spec: VirtualMachineInstanceSpec | undefined): Set<string> {
  const readonly = new Set(
    (spec?.domain?.devices?.disks ?? [])
      .filter(({ device }) => device?.$case === "cdrom" || (device?.$case === "disk" && device.value.readonly))
      .map(({ name }) => name),
  );
  return new Set(
    (spec?.volumes ?? []).flatMap(({ name, source }) =>
      source?.$case === "disk" && !readonly.has(name) ? [source.value.image] : [],
    ),
  );
}
