/**
 * What a copy of disks left in QEMU. A libvirtd that is killed while it copies forgets, once it is back, the block nodes
 * that it had added for the copy (seen with libvirt 9.0), and then refuses every later copy of that disk: "Duplicate nodes".
 * libvirt has no call that removes them, so QEMU is asked itself; libvirt marks the domain with "custom-monitor" for that.
 */
import { array, object, optional, safeParse, string } from "valibot";
import type { DomainHandle } from "./lane.ts";
import type { Pointer } from "./library.ts";

/** As libvirt names a copy's nodes; the first stands on the second, so it goes first. */
const LAYERS = ["format", "storage"] as const;

const NAMED_NODES = object({ return: array(object({ "node-name": optional(string()) })) });

/**
 * Removes what is left of earlier copies of these disks. A node that is in use stays: QEMU refuses. Nothing fails here:
 * whatever is still in the way is told by the migration itself.
 */
export async function removeCopyLeftovers(handle: DomainHandle, devices: readonly string[]): Promise<void> {
  try {
    const answer = safeParse(NAMED_NODES, await askMonitor(handle, { execute: "query-named-block-nodes", arguments: { flat: true } }));
    const nodes = new Set(answer.success ? answer.output.return.map((node) => node["node-name"]) : []);
    for (const name of nodesOfCopies(devices).filter((wanted) => nodes.has(wanted))) {
      await askMonitor(handle, { execute: "blockdev-del", arguments: { "node-name": name } });
    }
  } catch {
    // An older QEMU, or a libvirt that keeps its monitor to itself.
  }
}

function nodesOfCopies(devices: readonly string[]): string[] {
  return devices.flatMap((device) => LAYERS.map((layer) => `migration-${device}-${layer}`));
}

/** QEMU's own answer, also when it is an error. */
async function askMonitor(handle: DomainHandle, command: object): Promise<unknown> {
  const answer: [Pointer | null] = [null];
  await handle.lane.onDomain("virDomainQemuMonitorCommand", handle, JSON.stringify(command), answer, 0);
  return JSON.parse(handle.lane.library.takeString(answer[0]!));
}
