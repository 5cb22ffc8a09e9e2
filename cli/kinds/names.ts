/** The words by which people call the kinds; a kind's code is loaded when it is named. */
import type { Kind } from "./kind.ts";
import { UsageError } from "../failure.ts";

type Entry = { names: readonly string[]; load: () => Promise<Kind> };

/** The first name is the one that is printed, as in "virtualmachine/web". */
const KINDS: readonly Entry[] = [
  { names: ["virtualmachine", "virtualmachines", "vm", "vms"], load: async () => (await import("./virtual-machine.ts")).virtualMachines },
  { names: ["virtualmachineinstance", "virtualmachineinstances", "vmi", "vmis"], load: async () => (await import("./virtual-machine-instance.ts")).virtualMachineInstances },
  { names: ["virtualmachineinstancemigration", "virtualmachineinstancemigrations", "vmim", "vmims", "migration", "migrations"], load: async () => (await import("./migration.ts")).migrations },
  { names: ["migrationpolicy", "migrationpolicies", "mp", "mps"], load: async () => (await import("./migration-policy.ts")).migrationPolicies },
  { names: ["node", "nodes", "no"], load: async () => (await import("./node.ts")).nodes },
  { names: ["namespace", "namespaces", "ns"], load: async () => (await import("./namespace.ts")).namespaces },
  { names: ["volume", "volumes", "vol", "vols"], load: async () => (await import("./volume.ts")).volumes },
  { names: ["event", "events", "ev"], load: async () => (await import("./event.ts")).events },
  { names: ["role", "roles"], load: async () => (await import("./role.ts")).roles },
  { names: ["rolebinding", "rolebindings", "rb"], load: async () => (await import("./role-binding.ts")).roleBindings },
];

export const KIND_NAMES = KINDS.map(({ names: [name, , ...short] }) => (short.length === 0 ? name : `${name} (${short.join(", ")})`)).join(", ");

/** What the API calls a kind that people name in any of its words; other words stay as they are. */
export async function kindWord(name: string): Promise<string> {
  return KINDS.some(({ names }) => names.includes(name.toLowerCase())) ? (await kindNamed(name)).kind : name;
}

export async function kindNamed(name: string): Promise<Kind> {
  const entry = KINDS.find(({ names }) => names.includes(name.toLowerCase()));
  if (!entry) throw new UsageError(`there is no kind "${name}"; kinds are ${KIND_NAMES}`);
  return entry.load();
}

/** `KIND NAME...` or `KIND/NAME...`, as people type them. */
export async function targets(args: readonly string[]): Promise<{ kind: Kind; names: string[] }> {
  const [first = "", ...rest] = args;
  if (!first.includes("/")) return { kind: await kindNamed(first), names: [...rest] };
  const pairs = args.map((arg) => arg.split("/"));
  const kinds = new Set(pairs.map(([kind]) => kind));
  if (kinds.size !== 1 || pairs.some((pair) => pair.length !== 2)) throw new UsageError("KIND/NAME cannot be mixed with other forms or kinds");
  return { kind: await kindNamed(pairs[0]![0]!), names: pairs.map(([, name]) => name!) };
}
