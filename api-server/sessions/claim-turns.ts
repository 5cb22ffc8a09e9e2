/**
 * One claim of a node at a time is weighed against what the node has left, or two that fit one by one would both pass. Every
 * instance that a node can have claimed was assigned to it, so only those assigned are read afresh, and only when it matters.
 */
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { isRoomy, roomFor } from "../../lib/capacity.ts";
import type { Around } from "../../lib/capacity.ts";
import { keyOf } from "../kinds/kind.ts";
import { nodes } from "../kinds/node.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import type { Objects } from "../objects.ts";
import { requireRoom } from "../subresources/claim.ts";

export type ClaimTurnsParts = { objects: Objects; assigned: (node: string) => readonly VirtualMachineInstance[] };

export class ClaimTurns {
  readonly #parts: ClaimTurnsParts;
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(parts: ClaimTurnsParts) {
    this.#parts = parts;
  }

  /** Records the claim when the node has room for the instance; throws FailedPrecondition when it has not. */
  take<T>(vmi: VirtualMachineInstance, node: string, record: () => Promise<T>): Promise<T> {
    const before = this.#last.get(node) ?? Promise.resolve();
    const turn = before.then(async () => {
      await this.#weigh(vmi, node);
      return record();
    });
    const settled = turn.then(() => undefined, () => undefined);
    this.#last.set(node, settled);
    void settled.then(() => this.#last.get(node) === settled && this.#last.delete(node));
    return turn;
  }

  async #weigh(vmi: VirtualMachineInstance, name: string): Promise<void> {
    const { objects, assigned } = this.#parts;
    const node = await objects.find(nodes, { name });
    const known = assigned(name);
    if (!node || fitsAtWorst(vmi, { node, others: known })) return;
    const found = await Promise.all(known.map((each) => objects.find(virtualMachineInstances, keyOf(each))));
    requireRoom(vmi, { node, others: found.filter((other) => other !== undefined) });
  }
}

/** Spares the reads where all that was ever promised fits. */
function fitsAtWorst(vmi: VirtualMachineInstance, around: Around): boolean {
  return isRoomy(roomFor(vmi, { ...around, atWorst: true }));
}
