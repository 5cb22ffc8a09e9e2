import assert from "node:assert/strict";
import { TaintEffect, TolerationOperator, VirtualMachineInstanceSpec } from "../../../../gen/drover/v1/machine.ts";
import { KvmState, NodeSessionState } from "../../../../gen/drover/v1/node.ts";
import { nodeFindings } from "../../../../lib/preflight/node.ts";
import type { NodeInput } from "../../../../lib/preflight/node.ts";
import { node } from "../../api-server/subresources/records.ts";

const spec = (fields: Parameters<typeof VirtualMachineInstanceSpec.create>[0] = {}) => VirtualMachineInstanceSpec.create({ domain: {}, ...fields });
const disk = { name: "root", source: { $case: "disk" as const, value: { pool: "default", image: "web.qcow2" } } };
const taint = { key: "only", value: "gpu", effect: TaintEffect.NO_SCHEDULE };

describe("what a node is like, seen from a machine", () => {
  const cases: [string, Partial<NodeInput>, string[]][] = [
    ["a plain machine on a plain node", {}, []],
    ["a node that never connected", { node: node("b", { state: NodeSessionState.UNSPECIFIED }) }, ["node is not connected"]],
    ["a silent and cordoned node", { node: node("b", { state: NodeSessionState.SILENT, spec: { unschedulable: true } }) }, ["node is not connected", "node is cordoned"]],
    ["a node without libvirt", { node: node("b", { report: { hypervisorConnected: false } }) }, ["hypervisor is not reachable"]],
    ["a taint", { node: node("b", { spec: { taints: [taint] } }) }, ["node has a taint that is not tolerated"]],
    ["a taint of preference", { node: node("b", { spec: { taints: [{ ...taint, effect: TaintEffect.PREFER_NO_SCHEDULE }] } }) }, []],
    ["a tolerated taint", { node: node("b", { spec: { taints: [taint] } }), instance: spec({ tolerations: [{ key: "only", operator: TolerationOperator.EXISTS }] }) }, []],
    ["another value than is tolerated", { node: node("b", { spec: { taints: [taint] } }), instance: spec({ tolerations: [{ key: "only", value: "cpu" }] }) }, ["node has a taint that is not tolerated"]],
    ["a missing label", { instance: spec({ nodeSelector: { zone: "a" } }) }, ["node lacks a required label (zone=a)"]],
    ["a label that is there", { node: node("b", { labels: { zone: "a" } }), instance: spec({ nodeSelector: { zone: "a" } }) }, []],
    ["no KVM and no leave to emulate", { node: node("b", { report: { allowEmulation: false } }) }, ["no usable accelerator"]],
    ["emulation by the administrator's leave", { node: node("b", { report: { allowEmulation: false }, spec: { allowEmulation: true } }) }, []],
    ["a missing pool", { node: node("b", { report: { pools: [] } }), instance: spec({ volumes: [disk] }) }, ["node lacks a pool"]],
    ["a broken pool", { node: node("b", { report: { pools: [{ name: "default", id: "pool-1", error: "not mounted" }] } }), instance: spec({ volumes: [disk] }) }, ["node lacks a pool"]],
    ["a missing bridge and network", {
      instance: spec({ networks: [{ name: "lan", source: { $case: "bridge", value: { bridgeName: "br0" } } }, { name: "net", source: { $case: "libvirt", value: { networkName: "default" } } }] }),
    }, ["node lacks a bridge", "node lacks a libvirt network"]],
    ["a frozen machine type", { hardware: { cpuModel: "", machineType: "pc-q35-9.0", macAddresses: {} } }, ["node lacks the machine type"]],
    ["an asked alias", { instance: spec({ domain: { machine: { type: "pc" } } }) }, ["node lacks the machine type"]],
    ["a named CPU model", { instance: spec({ domain: { cpu: { model: "Skylake-Server" } } }) }, ["node lacks the CPU model"]],
    ["host-passthrough", { instance: spec({ domain: { cpu: { model: "host-passthrough" } } }) }, ["node lacks the CPU model"]],
    ["a move onto another pool of the same name", {
      purpose: "migrate", sourceNode: node("a", { report: { pools: [{ name: "default", id: "pool-2" }] } }), instance: spec({ volumes: [disk] }),
    }, ["pool is not shared with the source"]],
    ["a move onto the same pool", { purpose: "migrate", sourceNode: node("a"), instance: spec({ volumes: [disk] }) }, []],
    ["a move from KVM to emulation", { purpose: "migrate", sourceNode: node("a", { report: { kvm: KvmState.VERIFIED } }) }, ["accelerator differs from the source's"]],
    ["a node that is no target", { purpose: "migrate", sourceNode: node("a"), node: node("b", { report: { migrationBlocker: "no certificate" } }) }, ["node cannot receive migrations"]],
    ["a start there all the same", { node: node("b", { report: { migrationBlocker: "no certificate" } }) }, []],
  ];
  for (const [name, input, reasons] of cases) {
    it(name, () => {
      const faults = [...nodeFindings({ instance: spec(), node: node("b"), purpose: "start", ...input })];
      assert.deepEqual(faults.map(({ why }) => why), reasons);
      assert.ok(faults.every(({ message }) => message.length > 0));
    });
  }
});
