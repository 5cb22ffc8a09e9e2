/** One run of a machine. Its spec is fixed; its status is written by the controller, and merged from agents' reports. */
import {
  VirtualMachineInstance, Phase, VirtualMachineInstanceStatus,
} from "../../gen/drover/v1/virtual_machine_instance.ts";
import { type Kind, metaOf } from "./kind.ts";
import { machineDefaults } from "./machine/defaults.ts";
import { machineIdentifiers } from "./machine/identifiers.ts";
import { mapMachineSecrets } from "./machine/secrets.ts";
import { validateMachine } from "./machine/validate.ts";
import { validateMeta } from "./names.ts";
import { unchangedSpec } from "./unchanged.ts";

/** Stands until the owner says that no domain is left, or a fence was confirmed. */
export const DOMAIN_FINALIZER = "drover.dev/domain";

export const virtualMachineInstances: Kind<VirtualMachineInstance> = {
  name: "VirtualMachineInstance",
  plural: "virtualmachineinstances",
  field: "virtual_machine_instance",
  typeName: "drover.v1.VirtualMachineInstance",
  namespaced: true,
  codec: VirtualMachineInstance,
  defaults(vmi, { uid, random, before }) {
    if (!vmi.spec) return vmi;
    const { namespace, name } = metaOf(vmi);
    const uuid = before?.spec?.domain?.firmware?.uuid;
    return { ...vmi, spec: machineDefaults(vmi.spec, { namespace, name, uid, firmwareUuid: () => uuid || random.uuid() }) };
  },
  born(vmi) {
    const metadata = metaOf(vmi);
    const status = vmi.status ?? VirtualMachineInstanceStatus.create();
    return {
      ...vmi,
      metadata: { ...metadata, finalizers: [...new Set([...metadata.finalizers, DOMAIN_FINALIZER])] },
      status: { ...status, phase: status.phase || Phase.PENDING },
    };
  },
  withoutStatus: (vmi) => ({ ...vmi, status: undefined }),
  withStatus: (stored, sent) => ({ ...stored, status: sent.status }),
  validate(vmi) {
    const metadata = metaOf(vmi);
    return [...validateMeta(metadata, { namespaced: true }), ...(vmi.spec ? validateMachine("spec", vmi.spec, metadata) : [])];
  },
  validateChange: unchangedSpec,
  identifiers: (vmi) => machineIdentifiers("spec", vmi.spec),
  mapSecrets: (vmi, replace) => (vmi.spec ? { ...vmi, spec: mapMachineSecrets(vmi.spec, replace) } : vmi),
  origin({ status }) {
    const { nodeName = "", lastGrantedEpoch = 0, machineGeneration = 0, powerGeneration = 0 } = status ?? {};
    return { grantedEpoch: lastGrantedEpoch, isGrant: nodeName !== "", machineGeneration, powerGeneration };
  },
  gracePeriodSeconds: (vmi) => vmi.spec?.terminationGracePeriodSeconds ?? 0,
};
