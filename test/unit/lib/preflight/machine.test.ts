import assert from "node:assert/strict";
import { DiskCache, VirtualMachineInstanceSpec } from "../../../../gen/drover/v1/machine.ts";
import { ConditionStatus } from "../../../../gen/drover/v1/meta.ts";
import { NodeSessionState } from "../../../../gen/drover/v1/node.ts";
import { CheckReason } from "../../../../gen/drover/v1/preflight.ts";
import { Phase } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { blockersOf, machineFindings } from "../../../../lib/preflight/machine.ts";
import type { MachineInput } from "../../../../lib/preflight/machine.ts";
import { instance, node } from "../../api-server/subresources/records.ts";

const condition = (type: string, status: ConditionStatus) => instance({ status: { conditions: [{ type, status, message: "why" }] } });

describe("whether a machine can be asked to move", () => {
  const input: MachineInput = { instance: instance(), isDeleting: false, open: [], sourceNode: node("a") };
  const cases: [string, Partial<MachineInput>, CheckReason[]][] = [
    ["runs", {}, []],
    ["does not run", { instance: instance({ status: { phase: Phase.SCHEDULED } }) }, [CheckReason.NOT_RUNNING]],
    ["is paused", { instance: condition("Paused", ConditionStatus.TRUE) }, [CheckReason.PAUSED]],
    ["was paused", { instance: condition("Paused", ConditionStatus.FALSE) }, []],
    ["is being stopped", { instance: instance({ deleting: true }) }, [CheckReason.DELETING]],
    ["its machine is being deleted", { isDeleting: true }, [CheckReason.DELETING]],
    ["shall move already", { open: ["web-1"] }, [CheckReason.ALREADY_MIGRATING]],
    ["is tied to its host", { instance: condition("LiveMigratable", ConditionStatus.FALSE) }, [CheckReason.NOT_MIGRATABLE]],
    ["nobody knows whether it is", { instance: condition("LiveMigratable", ConditionStatus.UNKNOWN) }, []],
    ["its node is silent", { sourceNode: node("a", { state: NodeSessionState.SILENT }) }, [CheckReason.SOURCE_NOT_CONNECTED]],
    ["has a device of its host", { hostDevices: { known: ["pci"] } }, [CheckReason.HOST_DEVICE]],
    ["was looked at, and has none", { hostDevices: { known: [] } }, []],
    ["could not be looked at", { hostDevices: { unknown: "no answer" } }, [CheckReason.NOT_KNOWN]],
    ["would have to wait for a slot", { outbound: { open: 2, slots: 2 } }, [CheckReason.OUTBOUND_SLOTS]],
    ["has the last slot", { outbound: { open: 1, slots: 2 } }, []],
    ["its node's record is gone", { sourceNode: undefined }, [CheckReason.SOURCE_NOT_CONNECTED]],
  ];
  for (const [name, fields, reasons] of cases) {
    it(name, () => assert.deepEqual(machineFindings({ ...input, ...fields }).map(({ reason }) => reason), reasons));
  }
});

describe("what ties a machine to its node", () => {
  const disk = (cache: DiskCache) => ({ domain: { devices: { disks: [{ name: "root", cache, device: { $case: "disk" as const, value: {} } }] } } });
  const inPool = { volumes: [{ name: "root", source: { $case: "disk" as const, value: { pool: "default", image: "web.qcow2" } } }] };
  const empty = { volumes: [{ name: "scratch", source: { $case: "emptyDisk" as const, value: { capacity: "1Gi" } } }] };
  const cases: [string, Parameters<typeof VirtualMachineInstanceSpec.create>[0], string, CheckReason[]][] = [
    ["nothing", { ...disk(DiskCache.NONE), ...inPool }, "Haswell", []],
    ["a page cache", { ...disk(DiskCache.WRITEBACK), ...inPool }, "Haswell", [CheckReason.DISK_CACHE]],
    ["a page cache that is written through", { ...disk(DiskCache.WRITETHROUGH), ...inPool }, "Haswell", [CheckReason.DISK_CACHE]],
    ["an empty disk, however it is cached, as it is copied", { ...disk(DiskCache.WRITEBACK), ...empty }, "Haswell", []],
    ["the host's processor", {}, "host-passthrough", [CheckReason.HOST_CPU]],
    ["all that the host's processor can", {}, "maximum", [CheckReason.HOST_CPU]],
  ];
  for (const [name, fields, cpuModel, reasons] of cases) {
    it(name, () => assert.deepEqual(blockersOf({ spec: VirtualMachineInstanceSpec.create(fields), cpuModel }).map(({ reason }) => reason), reasons));
  }
});
