/** The roles that are always there. What they allow is said here, also for stores that an older version began. */
import type { Rule } from "./policy.ts";

const READ = ["get", "list", "watch"];
const rule = (verbs: readonly string[], kinds: readonly string[]): Rule => ({ verbs, kinds, names: [] });

const MACHINES = ["VirtualMachine", "VirtualMachineInstance", "VirtualMachineInstanceMigration", "Volume", "Event"];

const viewer: readonly Rule[] = [
  rule(READ, [...MACHINES, "Node", "Namespace", "MigrationPolicy"]),
  rule(["explain", "check-migration"], ["VirtualMachine"]),
];

/** Whoever may do everything may also sign certificates for anybody. */
export const ADMIN = "admin";

export const BUILT_IN_ROLES: ReadonlyMap<string, readonly Rule[]> = new Map([
  [ADMIN, [rule(["*"], ["*"])]],
  ["operator", [rule(["*"], MACHINES), rule([...READ, "cordon", "uncordon", "drain"], ["Node"]), rule(READ, ["Namespace", "MigrationPolicy"])]],
  ["viewer", viewer],
]);
