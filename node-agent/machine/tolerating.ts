/** Calls to the hypervisor of which some errors say that there was nothing left to do. */
import { HypervisorError } from "../libvirt/hypervisor.ts";
import type { HypervisorErrorKind } from "../libvirt/hypervisor.ts";

/** The error kinds named are as good as success. */
export async function tolerating(call: Promise<unknown>, ...kinds: HypervisorErrorKind[]): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof HypervisorError) || !kinds.includes(error.kind)) throw error;
  }
}
