/** What is done to a virtual machine besides reading and writing its record: power, moving, explaining. */
import type { VirtualMachineServiceImplementation } from "../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstanceMigrationSpec } from "../../gen/drover/v1/migration.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import type { Call, Objects, WithCall } from "../objects.ts";
import { migrationOf } from "../subresources/migrate.ts";
import { restart, start, stop } from "../subresources/power.ts";
import type { PowerVerb } from "../subresources/power.ts";
import { actOnMachine } from "./domain-acts.ts";
import type { DomainActParts } from "./domain-acts.ts";
import { explainMachine } from "./explanation.ts";
import type { ExplanationParts } from "./explanation.ts";
import { admitMigration } from "./migration-admission.ts";
import type { AdmissionParts } from "./migration-admission.ts";

type Service = VirtualMachineServiceImplementation<WithCall>;
type Verbs = Pick<
  Service,
  "startVirtualMachine" | "stopVirtualMachine" | "restartVirtualMachine" | "migrateVirtualMachine" | "explainVirtualMachine"
  | "pauseVirtualMachine" | "unpauseVirtualMachine" | "resetVirtualMachine"
>;
export type VirtualMachineVerbsParts = ExplanationParts & AdmissionParts & DomainActParts & { objects: Objects; clock: Clock; random: Random };
type Named = { namespace: string; name: string };

const SUFFIX_LENGTH = 8;

export function virtualMachineVerbs(parts: VirtualMachineVerbsParts): Verbs {
  const { objects, random } = parts;
  return {
    async startVirtualMachine(request, { call }) {
      const verb = await powerVerb(parts, request, call);
      return { virtualMachine: await objects.change(virtualMachines, keyOf(request), (vm) => start(vm, verb), call) };
    },
    async stopVirtualMachine(request, { call }) {
      const verb = { ...(await powerVerb(parts, request, call)), ...endingOf(request) };
      return { virtualMachine: await objects.change(virtualMachines, keyOf(request), (vm) => stop(vm, verb), call) };
    },
    async restartVirtualMachine(request, { call }) {
      const verb = { ...(await powerVerb(parts, request, call)), ...endingOf(request) };
      return { virtualMachine: await objects.change(virtualMachines, keyOf(request), (vm) => restart(vm, verb), call) };
    },
    async migrateVirtualMachine(request, { call }) {
      const { targetNode, addedNodeSelector, settings } = request;
      const vm = await objects.get(virtualMachines, keyOf(request));
      const spec = { ...VirtualMachineInstanceMigrationSpec.create({ vmiName: request.name, targetNode, addedNodeSelector }), settings };
      return { migration: await admitMigration(parts, migrationOf(vm, spec, random.token(SUFFIX_LENGTH)), call) };
    },
    pauseVirtualMachine: async (request, { call }) => ({ event: await actOnMachine(parts, { verb: "pause", key: keyOf(request), call }) }),
    unpauseVirtualMachine: async (request, { call }) => ({ event: await actOnMachine(parts, { verb: "unpause", key: keyOf(request), call }) }),
    resetVirtualMachine: async (request, { call }) => ({ event: await actOnMachine(parts, { verb: "reset", key: keyOf(request), call }) }),
    explainVirtualMachine: (request) => explainMachine(parts, keyOf(request)),
  };
}

const keyOf = ({ namespace, name }: Named) => ({ namespace: namespace || "default", name });
const endingOf = ({ gracePeriodSeconds, force }: { gracePeriodSeconds?: number | undefined; force: boolean }) => ({ gracePeriodSeconds, force });

async function powerVerb({ objects, clock }: VirtualMachineVerbsParts, request: Named, { requestId }: Call): Promise<PowerVerb> {
  const instance = await objects.find(virtualMachineInstances, keyOf(request));
  return { requestId, now: clock.now(), instance };
}
