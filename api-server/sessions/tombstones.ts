/** What is left of runs that a confirmed fence gave up: whoever finds a domain of one may destroy it. */
import { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { Conflict } from "../store/store.ts";
import type { Store } from "../store/store.ts";

export class Tombstones {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Repeatable. Names the run and its owner; nothing of what it was made of. */
  async put({ metadata, status }: VirtualMachineInstance): Promise<void> {
    const { uid, name, namespace } = metadata!;
    const { nodeName = "", epoch = 0 } = status ?? {};
    const value = VirtualMachineInstance.encode(VirtualMachineInstance.create({ metadata: { uid, name, namespace }, status: { nodeName, epoch } })).finish();
    try {
      await this.#store.commit({ key: keyOf(uid), expected: null, value });
    } catch (error) {
      if (!(error instanceof Conflict)) throw error;
    }
  }

  async has(uid: string): Promise<boolean> {
    return (await this.#store.get(keyOf(uid))) !== undefined;
  }
}

const keyOf = (uid: string): string => `tombstones/${uid}`;
