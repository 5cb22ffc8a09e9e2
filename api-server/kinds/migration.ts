/** One live move: what is asked for is fixed, what became of it is the controller's. */
import {
  MigrationPhase, MigrationPriority, VirtualMachineInstanceMigration, VirtualMachineInstanceMigrationStatus,
} from "../../gen/drover/v1/migration.ts";
import { type Kind, metaOf } from "./kind.ts";
import { dnsLabel, dnsSubdomain, labels, validateMeta } from "./names.ts";
import { unchangedSpec } from "./unchanged.ts";

export const migrations: Kind<VirtualMachineInstanceMigration> = {
  name: "VirtualMachineInstanceMigration",
  plural: "virtualmachineinstancemigrations",
  field: "migration",
  typeName: "drover.v1.VirtualMachineInstanceMigration",
  namespaced: true,
  codec: VirtualMachineInstanceMigration,
  defaults: (migration) => {
    const { spec } = migration;
    if (!spec || spec.priority !== MigrationPriority.UNSPECIFIED) return migration;
    return { ...migration, spec: { ...spec, priority: MigrationPriority.USER } };
  },
  born(migration, { now }) {
    const status = migration.status ?? VirtualMachineInstanceMigrationStatus.create();
    if (status.phase !== MigrationPhase.UNSPECIFIED) return migration;
    const transitions = [{ phase: MigrationPhase.PENDING, time: now }];
    return { ...migration, status: { ...status, phase: MigrationPhase.PENDING, transitions } };
  },
  withoutStatus: (migration) => ({ ...migration, status: undefined }),
  withStatus: (stored, sent) => ({ ...stored, status: sent.status }),
  validate(migration) {
    const spec = migration.spec;
    return [
      ...validateMeta(metaOf(migration), { namespaced: true }),
      ...(spec ? dnsLabel("spec.vmi_name", spec.vmiName) : []),
      ...(spec?.targetNode ? dnsSubdomain("spec.target_node", spec.targetNode) : []),
      ...(spec ? labels("spec.added_node_selector", spec.addedNodeSelector) : []),
    ];
  },
  validateChange: unchangedSpec,
};
