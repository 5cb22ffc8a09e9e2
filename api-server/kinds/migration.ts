/** One live move: what is asked for is fixed, what became of it is the controller's. */
import {
  MigrationPhase, MigrationPriority, VirtualMachineInstanceMigration, VirtualMachineInstanceMigrationStatus,
} from "../../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigrationSpec } from "../../gen/drover/v1/migration.ts";
import type { Fault } from "../../lib/errors.ts";
import { type Kind, metaOf } from "./kind.ts";
import { validateSettings } from "./migration-settings.ts";
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
      ...(spec ? validateOverrides(spec) : []),
    ];
  },
  validateChange: unchangedSpec,
};

/** What has two fields is said in one of them. */
function validateOverrides({ settings, bandwidthMibPerSecond, autoConverge }: VirtualMachineInstanceMigrationSpec): Fault[] {
  if (!settings) return [];
  const twice = (path: string, other: string): Fault => ({ path, message: `must be left out where ${other} is given` });
  return [
    ...validateSettings("spec.settings", settings),
    ...(bandwidthMibPerSecond > 0 && settings.bandwidthPerMigration !== undefined ? [twice("spec.bandwidth_mib_per_second", "settings.bandwidth_per_migration")] : []),
    ...(autoConverge && settings.allowAutoConverge !== undefined ? [twice("spec.auto_converge", "settings.allow_auto_converge")] : []),
  ];
}
