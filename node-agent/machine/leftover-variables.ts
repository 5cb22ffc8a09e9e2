/**
 * Removes the firmware variables of machines that are gone. A node is not told when a machine is deleted that does not
 * run here any more, so it asks, now and then; and asks twice, as nothing brings the variables back.
 */
import type { LookupMachineResponse } from "../../gen/drover/agent/v1/agent.ts";
import type { Logger } from "../../lib/log.ts";
import type { ControlPlane } from "../control-plane.ts";
import type { VariablesOwner } from "../storage/firmware-variables.ts";
import type { Storage } from "../storage/storage.ts";
import { instanceUid, machineUid } from "./observed.ts";

export type LeftoverVariablesOptions = {
  storage: Pick<Storage, "firmwareVariables">;
  controlPlane: Pick<ControlPlane, "lookUp">;
  /** The store that this node belongs to; another one's silence on a machine says nothing. */
  storeId: () => string | undefined;
  /** Something of the machine is on this node. */
  isHere: (vmUid: string) => boolean;
  log: Logger;
};

export class LeftoverVariables {
  readonly #options: LeftoverVariablesOptions;
  #missing = new Set<string>();

  constructor(options: LeftoverVariablesOptions) {
    this.#options = options;
  }

  async sweep(): Promise<void> {
    const { storage, log } = this.#options;
    const { firmwareVariables } = storage;
    const missing = new Set<string>();
    for (const owner of await firmwareVariables.owners()) {
      if (!(await this.#isMissing(owner))) continue;
      missing.add(owner.vmUid);
      if (!this.#missing.has(owner.vmUid)) continue;
      log.info(owner, "removing the firmware variables of a machine that is gone");
      await firmwareVariables.remove(owner.vmUid);
    }
    this.#missing = missing;
  }

  async #isMissing({ namespace, vm, vmUid }: VariablesOwner): Promise<boolean> {
    const { isHere, controlPlane, storeId } = this.#options;
    if (isHere(vmUid)) return false;
    const answer = await controlPlane.lookUp({ namespace, vmName: vm, vmUid, vmiUid: "", volumes: [] });
    return answer.storeId === storeId() && !knows(answer, vmUid);
  }
}

/** A machine that has run has an epoch as long as it is on record; another one of the same name says nothing. */
function knows({ instance, lastEpoch }: LookupMachineResponse, vmUid: string): boolean {
  return lastEpoch > 0 || (instance !== undefined && (instanceUid(instance) === vmUid || machineUid(instance) === vmUid));
}
