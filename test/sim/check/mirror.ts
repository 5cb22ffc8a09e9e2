/** The records as they stand, decoded from the commits themselves: what the checks hold the world against. */
import { Node } from "../../../gen/drover/v1/node.ts";
import { VirtualMachineInstanceMigration } from "../../../gen/drover/v1/migration.ts";
import { VirtualMachine } from "../../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstance } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { Volume } from "../../../gen/drover/v1/volume.ts";
import type { Commit, DurableStore } from "../store/durable.ts";

export type Change<T> = { name: string; before: T | undefined; after: T | undefined; commit: Commit };

class Shelf<T> {
  readonly objects = new Map<string, T>();
  readonly listeners: ((change: Change<T>) => void)[] = [];
  readonly #decode: (bytes: Uint8Array) => T;

  constructor(decode: (bytes: Uint8Array) => T) {
    this.#decode = decode;
  }

  take(name: string, commit: Commit): void {
    const before = this.objects.get(name);
    const after = commit.write.value === null ? undefined : this.#decode(commit.write.value);
    if (after === undefined) this.objects.delete(name);
    else this.objects.set(name, after);
    for (const listener of this.listeners) listener({ name, before, after, commit });
  }
}

export class Mirror {
  readonly machines = new Shelf((bytes) => VirtualMachine.decode(bytes));
  readonly instances = new Shelf((bytes) => VirtualMachineInstance.decode(bytes));
  readonly migrations = new Shelf((bytes) => VirtualMachineInstanceMigration.decode(bytes));
  readonly nodes = new Shelf((bytes) => Node.decode(bytes));
  readonly volumes = new Shelf((bytes) => Volume.decode(bytes));
  readonly tombstones = new Set<string>();
  /** Every commit under a prefix, in order. */
  readonly log: { key: string; revision: string }[] = [];

  constructor(durable: DurableStore) {
    const shelves: Record<string, Pick<Shelf<unknown>, "take">> = {
      virtualmachines: this.machines, virtualmachineinstances: this.instances, virtualmachineinstancemigrations: this.migrations,
      nodes: this.nodes, volumes: this.volumes,
    };
    durable.onCommit((commit) => {
      const { key } = commit.write;
      const [plural = "", ...rest] = key.split("/");
      this.log.push({ key, revision: commit.stored.revision });
      if (plural === "tombstones" && commit.write.value !== null) this.tombstones.add(rest[0]!);
      shelves[plural]?.take(rest.at(-1)!, commit);
    });
  }
}

export const vmUidOf = ({ metadata }: VirtualMachineInstance): string => metadata?.ownerReferences.find(({ kind }) => kind === "VirtualMachine")?.uid ?? metadata?.uid ?? "";

/** The machine's domain, wherever it is. */
export const involvedOf = ({ machines }: Mirror, name: string): string => machines.objects.get(name)?.spec?.template?.spec?.domain?.firmware?.uuid ?? "";

/** The word of an enumeration's value. */
export const wordOf = (enumeration: Record<string, number>, value: number | undefined): string =>
  Object.entries(enumeration).find(([, known]) => known === (value ?? 0))?.[0] ?? String(value);
