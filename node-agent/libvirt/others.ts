/** Whose the uuid and the name are that a domain shall have (pure). */
import { HypervisorError } from "./hypervisor.ts";
import type { Domain } from "./hypervisor.ts";

/**
 * Throws when either is somebody else's, as defining would take that domain over; or when the domain runs, as it would
 * then be given the definition of another run.
 */
export function refuseOthers(
  { uuid, name }: { uuid: string; name: string },
  { sameUuid, sameName }: { sameUuid: Domain | undefined; sameName: Domain | undefined },
): void {
  if (sameUuid && sameUuid.name !== name) throw taken(`The domain "${sameUuid.name}", which is not Drover's, has the uuid ${uuid}`);
  if (sameName && sameName.uuid.toLowerCase() !== uuid.toLowerCase()) throw taken(`A domain with the uuid ${sameName.uuid} has the name "${name}"`);
  if (sameUuid && sameUuid.metadata === undefined) throw taken(`The domain "${name}" is not Drover's`);
  if (sameUuid && sameUuid.state !== "shutoff") throw new HypervisorError("invalid-state", `The domain "${name}" is ${sameUuid.state} already`);
}

const taken = (message: string): HypervisorError => new HypervisorError("already-exists", message);
